"""As many epochs as fit into a budget of processor time, and pictures of differences."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from reuse.recipes.experiments import budgets, plot_differences, pretrain_within


@pytest.mark.parametrize(("minutes", "epochs"), [(0.0, [1]), (1.0, [1]), (6.0, [1, 5])])
def test_as_many_epochs_as_fit_beside_the_one_that_is_measured(
    minutes: float, epochs: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds, trained = [0.0], []

    def pretrain(method: str, *, out: Path, epochs: int, early_stopping: bool, **settings: Any) -> SimpleNamespace:
        assert (method, early_stopping, settings) == ("byol", False, {"data": "digits"})
        seconds[0] += 60.0 * epochs
        trained.append(epochs)
        return SimpleNamespace(run=str(out))

    monkeypatch.setattr(budgets, "process_time", lambda: seconds[0])
    monkeypatch.setattr(budgets.reuse, "pretrain", pretrain)
    run, taken = pretrain_within(minutes, "byol", tmp_path / "run", data="digits")
    assert trained == epochs
    assert taken == sum(epochs)
    assert Path(run).name == ("run" if len(epochs) == 1 else "run-5")


def test_differences_become_a_picture(tmp_path: Path) -> None:
    panels = {"one": {"a": (1.0, 0.5, 1.5), "b": (-0.2, -1.0, 0.6)}, "two": {"a": (0.0, -1.0, 1.0)}}
    plot_differences(panels, tmp_path / "pictures" / "few.png")
    assert (tmp_path / "pictures" / "few.png").read_bytes().startswith(b"\x89PNG")
