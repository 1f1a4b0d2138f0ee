"""Checkpoints: one whole generation at any moment, readable without running code."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reuse.errors import RunError
from reuse.layers.freezing import freeze, unfreeze
from reuse.runs import checkpoints
from reuse.runs.checkpoints import load_checkpoint, load_newest, save_checkpoint, save_start
from reuse.runs.folder import RunFolder


def network() -> nn.Module:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    model.register_buffer("unsaved", torch.randn(3), persistent=False)
    return model


def state(epoch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return states as the trainer and early stopping give them, with the epoch in every tensor."""
    weights = {"2.weight": torch.full((2, 4), float(epoch)), "2.bias": torch.zeros(2)}
    trainer = {"epoch": epoch, "optimizer_class": "SGD", "optimizer": {"2.weight": {"momentum": torch.ones(2) * epoch}}}
    counters = {"best": 1 / epoch if epoch else float("inf"), "best_epoch": epoch, "waited": 0}
    random = {"random": {"cpu": torch.get_rng_state()}}
    return {**trainer, **random, "weights": weights}, {**counters, "weights": weights}


def run_folder(path: str = "run") -> RunFolder:
    return RunFolder.create("finetune", path)


def tensors(model: nn.Module) -> dict[str, Tensor]:
    return {name: t.detach().clone() for name, t in checkpoints.all_tensors(model).items()}


def test_the_start_holds_every_tensor_of_the_model() -> None:
    model, other, run = network(), network(), run_folder()
    freeze(model, "0,1")
    freeze(other, "0,1")
    save_start(run, model)
    load_newest(run, other)
    torch.testing.assert_close(tensors(other), tensors(model), rtol=0, atol=0)
    assert load_checkpoint(run) is None


def test_the_newest_generation_is_loaded_over_the_frozen_tensors() -> None:
    model, other, run = network(), network(), run_folder()
    for each in (model, other):
        freeze(each, "0,1")
    model.unsaved = other.unsaved = None  # type: ignore[assignment]
    save_start(run, model)
    for epoch in (3, 99_999):
        save_checkpoint(run, *state(epoch))
    older = run.path / "checkpoint" / "epoch-99999"
    shutil.copytree(older, "kept")
    save_checkpoint(run, *state(100_000))
    shutil.copytree("kept", older)  # as a kill before its removal leaves it
    loaded = load_checkpoint(run)
    assert loaded is not None
    for part, written in zip(loaded, state(100_000), strict=True):
        assert part.keys() == written.keys()
        assert {n: v for n, v in part.items() if isinstance(v, int | float | str)}.items() <= written.items()
        torch.testing.assert_close(part["weights"], written["weights"], rtol=0, atol=0)
    torch.testing.assert_close(loaded[0]["optimizer"], state(100_000)[0]["optimizer"], rtol=0, atol=0)
    load_newest(run, other)
    assert torch.equal(other[2].weight, torch.full((2, 4), 100_000.0))
    assert torch.equal(other[0].weight, model[0].weight)
    save_checkpoint(run, *state(100_001))
    assert [path.name for path in (run.path / "checkpoint").glob("epoch-*")] == ["epoch-100001"]


def test_what_comes_to_rest_is_kept_and_what_moves_again_is_not_taken_from_there() -> None:
    model, run = network(), run_folder()
    freeze(model, "0")
    save_start(run, model)
    freeze(model, "1")
    load_newest(run, model)
    (run.path / "checkpoint" / "start.safetensors").unlink()
    weights = {"2.weight": torch.ones(2, 4), "2.bias": torch.ones(2)}
    save_checkpoint(run, {**state(1)[0], "weights": weights}, {**state(1)[1], "weights": weights})
    other = network()
    freeze(other, "0,1")
    load_newest(run, other)
    assert torch.equal(other[1].weight, model[1].weight)
    unfreeze(other)
    moved = {**weights, "1.weight": torch.full((4,), 7.0)}
    save_checkpoint(run, {**state(2)[0], "weights": moved}, {**state(2)[1], "weights": moved})
    load_newest(run, other)
    assert torch.equal(other[1].weight, torch.full((4,), 7.0))


def test_what_rests_again_after_having_moved_is_stored_as_it_is_now() -> None:
    model, run = network(), run_folder()
    freeze(model, "0,1")
    save_start(run, model)
    (run.path / "checkpoint" / "start.safetensors").unlink()
    live = {"1.weight": torch.full((4,), 7.0), "2.weight": torch.ones(2, 4)}  # 1 has trained since
    save_checkpoint(run, {**state(1)[0], "weights": live}, {**state(1)[1], "weights": live})
    load_newest(run, model)
    rest = {"2.weight": torch.zeros(2, 4)}
    save_checkpoint(run, {**state(2)[0], "weights": rest}, {**state(2)[1], "weights": rest})
    load_newest(run, model)
    assert torch.equal(model[1].weight, torch.full((4,), 7.0))


class PowerCut(BaseException):
    """Stands for a kill: nothing catches it."""


@contextmanager
def cut_at(moment: int) -> Iterator[list[str]]:
    """Let the file operation number `moment`, and all after it, not happen; yields the names of those that did."""
    done: list[str] = []

    def counted(operation: Callable[..., Any], name: str) -> Callable[..., Any]:
        def do(*arguments: Any, **keywords: Any) -> Any:
            if len(done) + 1 >= moment:
                raise PowerCut
            done.append(name)
            return operation(*arguments, **keywords)

        return do

    places = [(Path, "replace"), (Path, "mkdir"), (Path, "unlink"), (os, "unlink"), (os, "rmdir"), (torch, "save")]
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in places:
            patch.setattr(owner, name, counted(getattr(owner, name), name))
        yield done


@pytest.mark.parametrize("previous", [0, 4, 5])
def test_a_kill_between_any_two_file_operations_leaves_a_whole_generation(previous: int) -> None:
    """Before generation 5 there is none, an older one, or the same one (written at the end, after a resume)."""
    moments = 0
    for moment in range(1, 60):
        run = run_folder(f"run-{moment}")
        model = network()
        freeze(model, "0,1")
        model.unsaved = None  # type: ignore[assignment]
        save_start(run, model)
        if previous:
            save_checkpoint(run, *state(previous))
        with cut_at(moment) as done:
            try:
                save_checkpoint(run, *state(5))
                finished = True
            except PowerCut:
                finished = False
        loaded = load_checkpoint(run)
        load_newest(run, model)
        if loaded is None:
            assert previous == 0
        else:
            epoch = loaded[0]["epoch"]
            assert epoch in {previous, 5} - {0}
            torch.testing.assert_close(loaded[0]["weights"], state(epoch)[0]["weights"], rtol=0, atol=0)
            assert torch.equal(model[2].weight, loaded[0]["weights"]["2.weight"])
        save_checkpoint(run, *state(6))  # and the next one clears up
        left = sorted(path.name for path in (run.path / "checkpoint").iterdir())
        assert left == ["epoch-00006", "frozen.safetensors"]
        moments += 1
        if finished:
            assert "replace" in done or previous == 5
            break
    assert moments > (1 if previous == 5 else 5)


def test_damage_is_named_and_code_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_folder()
    save_start(run, network())
    save_checkpoint(run, *state(1))
    file = run.path / "checkpoint" / "epoch-00001" / "state.pt"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RunError, match=r"state\.pt is damaged: its checksum is not"):
        load_checkpoint(run)
    (file.parent / "checksums.json").unlink()  # as of a version that wrote none
    with pytest.raises(RunError, match=r"state\.pt is damaged"):
        load_checkpoint(run)

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (Path("executed"),))

    torch.save({"trainer": Evil(), "stopping": {}}, file)
    with pytest.raises(RunError, match=r"state\.pt is damaged"):
        load_checkpoint(run)
    assert not Path("executed").exists()
    whole_state = {
        name: {n: v for n, v in part.items() if n != "weights"}
        for name, part in zip(("trainer", "stopping"), state(1), strict=True)
    }
    for other in ({}, [1], {**whole_state, "trainer": 3}, {**whole_state, "stopping": {"best": 1.0, "waited": 0}}):
        torch.save(other, file)
        with pytest.raises(RunError, match=r"state\.pt is damaged: it holds no (trainer|stopping) state with \w+"):
            load_checkpoint(run)
    torch.save(whole_state, file)
    assert load_checkpoint(run) is not None
    shutil.rmtree(run.path / "checkpoint")
    with pytest.raises(RunError, match=r"frozen\.safetensors is missing"):
        load_newest(run, network())
