"""A cache folder that somebody removes while a run fills it, as by `rm -r`: the run goes on and is right."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import reuse
from listening import Listener
from reuse.caching import files
from reuse.caching.probe_record import write_probe
from reuse.caching.probing import Probe

TRAIN = {"data": "rows.npz", "labels": 60, "epochs": 2, "cache_dir": "cache", "cache_kind": "disk", "freeze": "hidden1"}
OPERATIONS = ("make_folder", "create", "allocate", "write_at", "append", "fsync", "fsync_folder", "rename", "touch")


@pytest.fixture
def wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, float]]:
    """What a training that nobody disturbs comes to, in a folder of its own with what it reads."""
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    np.savez("rows.npz", x=draw.random((200, 8), np.float32), y=draw.integers(0, 3, 200))
    reuse.pretrain(data="rows.npz", model="mlp:20,10", epochs=1, out="base")
    found = reuse.finetune("base", out="undisturbed", **TRAIN).metrics
    shutil.rmtree("cache")
    return found


@pytest.mark.parametrize("times", [1, 1000])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_cache_that_is_removed_while_it_is_filled_costs_no_run(
    wanted: dict[str, dict[str, float]], monkeypatch: pytest.MonkeyPatch, operation: str, times: int
) -> None:
    real, left = getattr(files, operation), [times]

    def removing(*arguments: object) -> object:
        if left[0]:
            left[0] -= 1
            shutil.rmtree("cache", ignore_errors=True)
        return real(*arguments)

    monkeypatch.setattr(files, operation, removing)
    listener = Listener()
    assert reuse.finetune("base", out="disturbed", reporter=listener, **TRAIN).metrics == wanted
    assert left[0] < times
    # Before the first of these nothing was there yet that is missed.
    assert listener.said("goes on without a cache") == (times > 1 or operation not in {"create", "rename", "touch"})


def test_a_cache_that_is_removed_while_it_is_looked_up_is_empty(
    wanted: dict[str, dict[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from reuse.caching import index

    reuse.finetune("base", out="filled", **TRAIN)
    real = index.read_header

    def removing(path: Path) -> object:
        header = real(path)
        shutil.rmtree("cache", ignore_errors=True)
        return header

    monkeypatch.setattr(index, "read_header", removing)
    assert reuse.finetune("base", out="disturbed", **TRAIN).metrics == wanted


def test_a_probe_that_cannot_be_kept_makes_no_difference(tmp_path: Path) -> None:
    """Also in a folder that is gone: a library's own error is that of the disk."""
    ones = torch.ones(2, 3)
    write_probe(tmp_path / "gone", Probe((ones,), False, (ones + 1,), (ones + 2,), "here", True))
    assert not (tmp_path / "gone").exists()
