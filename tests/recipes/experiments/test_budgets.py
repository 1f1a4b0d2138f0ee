"""As many epochs as fit into a budget of processor time, and pictures of differences."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from reuse.recipes.experiments import budgets, plot_differences, pretrain_stages_within, pretrain_within


@pytest.mark.parametrize(("minutes", "epochs"), [(0.0, [1]), (1.0, [1]), (6.0, [1, 5]), (6.5, [1, 6])])
def test_as_many_epochs_as_fit_go_on_from_the_one_that_is_measured(
    minutes: float, epochs: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An epoch takes a minute, and what is around all epochs a quarter."""
    seconds, trained = [0.0], []

    def pretrain(method: str, *, epochs: int, early_stopping: bool, **settings: Any) -> SimpleNamespace:
        assert (method, early_stopping) == ("byol", False)
        goes_on = settings == {"resume": str(tmp_path)}
        assert goes_on or settings == {"data": "digits", "out": tmp_path}
        seconds[0] += 60.0 * (epochs - goes_on) + 15.0
        trained.append(epochs)
        lines = [json.dumps({"epoch": number, "seconds": 120.0}) + "\n" for number in range(1, epochs + 1)]
        (tmp_path / "history.jsonl").write_text("".join(lines))  # by the wall, of a machine that others use
        return SimpleNamespace(run=str(tmp_path))

    monkeypatch.setattr(budgets, "process_time", lambda: seconds[0])
    monkeypatch.setattr(budgets, "perf_counter", lambda: 2 * seconds[0])
    monkeypatch.setattr(budgets.reuse, "pretrain", pretrain)
    run, taken = pretrain_within(minutes, "byol", tmp_path, data="digits")
    assert run == str(tmp_path)
    assert trained == epochs
    assert taken == epochs[-1] + 0.25 * len(epochs)
    assert taken <= max(minutes, 1.25)


@pytest.mark.parametrize(("minutes", "epochs"), [(0.0, [3]), (5.9, [3]), (9.5, [3, 6]), (12.5, [3, 9])])
def test_stages_share_the_epochs_that_fit_beside_those_of_a_first_run(
    minutes: float, epochs: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An epoch of each of three stages takes three minutes together; the first run counts too."""
    seconds, trained = [0.0], []

    def pretrain(method: str, *, epochs: int, early_stopping: bool, out: Path, data: str) -> SimpleNamespace:
        assert (method, early_stopping, data) == ("stacked", False, "digits")
        seconds[0] += 60.0 * epochs
        trained.append((epochs, out))
        return SimpleNamespace(run=str(out))

    monkeypatch.setattr(budgets, "process_time", lambda: seconds[0])
    monkeypatch.setattr(budgets.reuse, "pretrain", pretrain)
    run, taken = pretrain_stages_within(minutes, "stacked", tmp_path, 3, data="digits")
    assert [each for each, _ in trained] == epochs
    assert len({out for _, out in trained}) == len(epochs)
    assert run == str(trained[-1][1])
    assert taken == sum(epochs) <= max(minutes, 3)


def test_differences_become_a_picture(tmp_path: Path) -> None:
    panels = {"one": {"a": (1.0, 0.5, 1.5), "b": (-0.2, -1.0, 0.6)}, "two": {"a": (0.0, -1.0, 1.0)}}
    plot_differences(panels, tmp_path / "pictures" / "few.png")
    assert (tmp_path / "pictures" / "few.png").read_bytes().startswith(b"\x89PNG")
