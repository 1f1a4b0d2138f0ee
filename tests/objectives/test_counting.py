"""Counts against scikit-learn's."""

import torch
from sklearn import metrics as reference

from reuse.objectives.counting import accuracy, confusion, macro_f1


def test_confusion_has_labels_down_and_predictions_across() -> None:
    draw = torch.Generator().manual_seed(0)
    predicted, labels = torch.randint(4, (90,), generator=draw), torch.randint(3, (90,), generator=draw)
    counts = confusion(predicted, labels, 5)
    assert counts.tolist() == reference.confusion_matrix(labels, predicted, labels=range(5)).tolist()
    assert accuracy(counts) == reference.accuracy_score(labels, predicted)


def test_nothing_counted_is_no_success() -> None:
    nothing = torch.zeros(3)
    assert macro_f1(nothing, nothing, nothing) == 0
