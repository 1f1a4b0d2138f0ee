"""Run folders and caches that the first format left behind are read, and gone on with, by today's code."""

import json
import shutil
from pathlib import Path

import pytest
import torch

import reuse
from finished_runs import history

FIXTURE = Path(__file__).parent / "fixtures" / "first_format"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of what the first format left behind, in the working directory."""
    shutil.copytree(FIXTURE, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_an_interrupted_run_ends_as_it_would_have_ended_then(folder: Path) -> None:
    result = reuse.finetune(resume="interrupted")
    expected = [json.loads(line) for line in (folder / "finished-history.jsonl").read_text().splitlines()]
    told = history("interrupted")
    assert len(told) == len(expected) == result.epochs == 6
    for now, then in zip(told, expected, strict=True):
        assert now["train"]["loss"] == pytest.approx(then["train"]["loss"], rel=1e-5)
        assert now["valid"]["loss"] == pytest.approx(then["valid"]["loss"], rel=1e-5)
        assert now["learning_rate"] == pytest.approx(then["learning_rate"], rel=1e-12)
    assert [(phase["epoch"], phase["frozen"]) for phase in result.phases] == [
        (1, ["hidden1", "hidden2"]),
        (5, ["hidden1"]),
    ]


def test_a_pretraining_run_goes_on(folder: Path) -> None:
    result = reuse.pretrain(resume="pretrained", epochs=3)
    assert [line["epoch"] for line in history("pretrained")] == [1, 2, 3]
    assert result.settings["model"] == "mlp:8,4"


def test_a_cache_is_listed_and_whole(folder: Path) -> None:
    cache = reuse.ActivationCache(folder / "cache")
    assert sorted(entry.description["frontier"] for entry in cache.entries()) == ["hidden1", "hidden2"]
    assert {entry.rows for entry in cache.entries()} == {420}
    assert cache.verify() == []


def test_a_cache_is_found_by_the_same_layers(folder: Path) -> None:
    made = json.loads(next((folder / "cache").glob("*/prefix.json")).read_text())["components"]
    if made["versions/torch"] != torch.__version__.partition("+")[0]:
        pytest.skip(f"the cache is of torch {made['versions/torch']}, and what another version computes is not in it")
    result = reuse.finetune(
        "pretrained", freeze="hidden1,hidden2", labels=60, epochs=2, seed=1, cache_dir="cache", cache_kind="disk"
    )
    assert result.cache is not None
    here = json.loads((Path(result.cache["path"]) / "prefix.json").read_text())["components"]
    there = {
        path.parent.name: json.loads(path.read_text())["components"] for path in folder.glob("cache/*/prefix.json")
    }
    odd = {key: [n for n in here.keys() | found.keys() if here.get(n) != found.get(n)] for key, found in there.items()}
    assert result.cache["hit"], odd
