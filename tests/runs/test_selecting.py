"""Targets of other data in the numbering of a run."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from reuse.data.loading import load
from reuse.errors import DataError
from reuse.runs.selecting import Selected, targets_for


def selected(targets: Tensor | None, task: str, classes: tuple[str, ...] = ()) -> Selected:
    inputs: Any = None
    return Selected("other", inputs, targets, task, classes, np.arange(4), ())


def test_classes_are_renumbered_by_name() -> None:
    given = selected(torch.tensor([0, 1, 2, 1]), "classification", ("ant", "bee", "cow"))
    assert targets_for(given, "classification", ("cow", "dog", "bee", "ant")).tolist() == [3, 2, 0, 2]


def test_only_classes_that_have_rows_must_be_known() -> None:
    given = selected(torch.tensor([0, 2]), "classification", ("ant", "bee", "cow"))
    assert targets_for(given, "classification", ("ant", "cow")).tolist() == [0, 1]
    with pytest.raises(DataError, match="does not know: cow; it knows ant, bee"):
        targets_for(given, "classification", ("ant", "bee"))


def test_labels_are_put_in_order_and_none_may_be_missing() -> None:
    values = torch.tensor([[0.0, 1.0], [1.0, 1.0]])
    given = selected(values, "multilabel", ("red", "blue"))
    assert targets_for(given, "multilabel", ("blue", "red")).tolist() == [[1.0, 0.0], [1.0, 1.0]]
    with pytest.raises(DataError, match="green"):
        targets_for(given, "multilabel", ("blue", "red", "green"))
    with pytest.raises(DataError, match="red"):
        targets_for(given, "multilabel", ("blue",))


def test_few_whole_numbers_are_numbers_to_a_regression() -> None:
    data = load({"x": np.eye(6), "y": np.array([7, -2, 7, 30, -2, 7])}, valid_fraction=0, test_fraction=0)
    given = selected(data.train.targets, data.task, data.classes)
    assert data.task == "classification"
    assert targets_for(given, "regression", ()).tolist() == [[7.0], [-2.0], [7.0], [30.0], [-2.0], [7.0]]
    with pytest.raises(DataError, match="predicts numbers"):
        targets_for(selected(torch.tensor([0]), "classification", ("cat",)), "regression", ())


@pytest.mark.parametrize(("theirs", "ours"), [("regression", "classification"), ("multilabel", "regression")])
def test_another_task_is_refused(theirs: str, ours: str) -> None:
    with pytest.raises(DataError, match=f"{theirs}.*{ours}"):
        targets_for(selected(torch.zeros(4, 1), theirs), ours, ("a", "b"))


def test_without_targets_nothing_can_be_measured() -> None:
    with pytest.raises(DataError, match="no labels"):
        targets_for(selected(None, "unlabelled"), "classification", ("a", "b"))
