"""Counts against scikit-learn's."""

import torch
from sklearn import metrics as reference

from reuse.objectives.counting import accuracy, class_counts, macro_f1


def test_the_counts_of_each_class_are_the_sums_of_a_confusion_matrix() -> None:
    draw = torch.Generator().manual_seed(0)
    predicted, labels = torch.randint(4, (90,), generator=draw), torch.randint(3, (90,), generator=draw)
    right, given, labelled = class_counts(predicted, labels, 5)
    matrix = reference.confusion_matrix(labels, predicted, labels=range(5))
    assert right.tolist() == matrix.diagonal().tolist()
    assert given.tolist() == matrix.sum(0).tolist()
    assert labelled.tolist() == matrix.sum(1).tolist()
    assert accuracy(right, labelled) == reference.accuracy_score(labels, predicted)
    assert macro_f1(right, given, labelled) == reference.f1_score(labels, predicted, average="macro")


def test_a_hundred_thousand_classes_are_counted_in_little_memory() -> None:
    labels = torch.arange(100_000)
    assert class_counts(labels, labels, len(labels)).nbytes == 3 * labels.nbytes


def test_nothing_counted_is_no_success() -> None:
    nothing = torch.zeros(3)
    assert macro_f1(nothing, nothing, nothing) == 0
