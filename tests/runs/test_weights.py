"""The weights of a run: one copy of what stayed frozen for all runs that hold the same, and nothing lost by sharing."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import reuse
from reuse.errors import RunError
from reuse.layers.weights import load_weights
from reuse.runs.models import load_model
from reuse.runs.weights import WORTH_SHARING

RNG = torch.Generator().manual_seed(0)
ROWS = {"x": torch.randn(60, 700, generator=RNG).numpy(), "y": (torch.arange(60) % 3).numpy()}
QUICK: dict[str, Any] = {"data": ROWS, "epochs": 2, "device": "cpu"}
FROZEN_BYTES = 4 * (700 * 600 + 600)


@pytest.fixture
def source() -> str:
    return reuse.pretrain(model="mlp:600,4", out="source", **QUICK).run


def own_bytes(run: str, seen: set[int]) -> int:
    """Return the bytes on disk that a run adds to those of others, whose files' numbers are in `seen`."""
    stats = [path.stat() for path in Path(run).rglob("*") if path.is_file()]
    new = {stat.st_ino: stat.st_size for stat in stats if stat.st_ino not in seen}
    seen.update(new)
    return sum(new.values())


def test_runs_on_the_same_frozen_layers_share_one_copy_of_them(source: str) -> None:
    assert FROZEN_BYTES > WORTH_SHARING
    seen: set[int] = set()
    own_bytes(source, seen)
    runs = [reuse.finetune(source, freeze="hidden1", seed=seed, compare=False, **QUICK).run for seed in range(3)]
    sizes = [own_bytes(run, seen) for run in runs]
    assert FROZEN_BYTES < sizes[0] < FROZEN_BYTES + 200_000
    assert max(sizes[1:]) < 200_000


def test_a_shared_run_reads_as_any_other_and_outlives_the_others(source: str) -> None:
    runs = [reuse.finetune(source, freeze="hidden1", seed=seed, compare=False, **QUICK) for seed in range(2)]
    rows = reuse.load(ROWS, preprocessing=load_model(runs[1].run).preprocessing).test.inputs
    before = load_model(runs[1].run).values(rows)
    shutil.rmtree(runs[0].run)
    assert torch.equal(load_model(runs[1].run).values(rows), before)
    weights = load_weights(f"{runs[1].run}/weights.safetensors")
    assert torch.equal(
        weights["hidden1.linear.weight"], load_file(f"{source}/weights.safetensors")["hidden1.linear.weight"]
    )
    again = reuse.finetune(runs[1].run, restore="*", freeze="!output", compare=False, **QUICK)
    assert again.fresh == ()
    assert reuse.finetune(resume=runs[1].run, data=ROWS, epochs=3).epochs == 3


def test_what_thaws_is_no_part_of_the_shared_copy(source: str) -> None:
    still = reuse.finetune(source, freeze="hidden1", compare=False, **QUICK).run
    thawed = reuse.finetune(source, freeze="hidden1", unfreeze="1:hidden1", compare=False, **QUICK).run
    assert not (Path(thawed) / "frozen.safetensors").exists()
    first, second = (load_weights(f"{run}/weights.safetensors")["hidden1.linear.weight"] for run in (still, thawed))
    assert torch.equal(first, load_file(f"{source}/weights.safetensors")["hidden1.linear.weight"])
    assert not torch.equal(first, second)


def test_a_run_that_lost_its_frozen_part_says_so(source: str) -> None:
    run = reuse.finetune(source, freeze="hidden1", compare=False, **QUICK).run
    (Path(run) / "frozen.safetensors").unlink()
    with pytest.raises(RunError, match=r"frozen\.safetensors the rest, which is not beside it: put it there"):
        load_model(run)


def test_without_links_each_run_has_a_file_of_its_own(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError("links are not supported")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    runs = [reuse.finetune(source, freeze="hidden1", compare=False, **QUICK).run for _ in range(2)]
    assert all((Path(run) / "frozen.safetensors").stat().st_nlink == 1 for run in runs)
    assert load_model(runs[1]) is not None
