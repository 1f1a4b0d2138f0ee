"""`reuse rank`: a table, best first, what each score would have chosen, and the command to type next; or JSON."""

from pathlib import Path
from typing import Any

import click
import pytest

from reuse.cli.ranking import rank
from reuse.settings.ranking import RankArguments
from reuse.settings.setting import settings_of


@pytest.fixture
def call(reuse: Any, pretrained: Path, tmp_path: Path) -> Any:
    def ranked(*arguments: object) -> Any:
        return reuse("rank", pretrained, "mlp:12", *arguments, "--cache-dir", tmp_path / "cache")

    return ranked


def test_a_table_and_what_to_type_next(call: Any, pretrained: Path) -> None:
    answer = call("--data", "digits", "--labels", 200, "--folds", 3)
    assert answer.code == 0, answer.err
    heading, *lines = answer.out.splitlines()
    assert heading.split()[:8] == ["model", "layer", "width", "bytes", "a", "row", "accuracy", "dropped"]
    assert heading.split()[8:] == ["LogME", "LEEP", "NCE", "H-score", "shrunk", "H", "PARC", "SFDA", "1-NN"]
    contenders = [line.split()[:2] for line in lines[:3]]
    assert sorted(contenders) == sorted(
        [[str(pretrained), "hidden1"], [str(pretrained), "features"], ["mlp:12", "features"]]
    )
    assert all("±" in line and "–" in line for line in lines[:3])
    assert lines[3] == f"–: no LEEP and NCE, as there are no classes of its own in {pretrained}, mlp:12"
    assert lines[4].startswith("LogME would have chosen ")
    assert any(line.startswith("a static list (largest model, last layer) would have chosen ") for line in lines)
    assert "of 9 probes solved; rows computed: 200 of " in lines[-2]
    assert lines[-1].startswith("best: ")
    assert "; next: reuse finetune " in lines[-1]
    assert "careful: mlp:12 has random weights" in answer.err


def test_json_and_that_nothing_is_computed_again(call: Any) -> None:
    settings = ("--data", "digits", "--labels", 200, "--folds", 2, "--scores", "none", "--json")
    first, again = call(*settings), call(*settings)
    assert first.code == again.code == 0, first.err + again.err
    assert set(first.json["rows"].values()) == {200}
    assert set(again.json["rows"].values()) == {0}
    assert [row["accuracy"] for row in again.json["table"]] == [row["accuracy"] for row in first.json["table"]]
    assert first.json["choices"][-1]["by"] == "largest model, last layer"
    assert "logme" not in first.json["table"][0]


def test_refuses(call: Any, reuse: Any, tmp_path: Path) -> None:
    call("--data", "digits", "--folds", 1).is_refused("2 folds")
    call("--data", "digits", "--layers", "hiden1").is_refused("hiden1", "hidden1")
    call("--data", "digits", "--scores", "logmee").is_refused("logme")
    call("--data", "california-housing-2", "--scores", "leep").is_refused("california-housing")
    call().is_refused("data")
    reuse("rank", "--data", "digits").is_refused("SOURCE")
    reuse("rank", tmp_path / "none", "--data", "digits").is_refused("none")


def test_every_setting_is_an_option_with_a_help() -> None:
    options = {option.name: option for option in rank.params}
    assert settings_of(RankArguments).keys() - {"reporter"} <= options.keys()
    assert all(option.help for option in options.values() if isinstance(option, click.Option))


def test_quiet_prints_the_best_and_what_is_to_be_known_of_it(call: Any, pretrained: Path) -> None:
    answer = call("--data", "digits", "--labels", 200, "--folds", 3, "--quiet")
    assert answer.out.startswith("best: ")
    assert answer.out.count("\n") == 1
    assert answer.err.splitlines() == [
        "careful: mlp:12 has random weights",
        f"–: no LEEP and NCE, as there are no classes of its own in {pretrained}, mlp:12",
    ]
