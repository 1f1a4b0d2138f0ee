"""Accuracy and F1 from counts of right and wrong answers, so that they add up over batches."""

import torch
from torch import Tensor


def class_counts(predicted: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Count for each class the rows rightly given it, the rows given it, and its rows.

    A matrix of all pairs would take gigabytes for the thousands of classes that some data sets have.

    Args:
        predicted: class numbers, `(batch,)`.
        labels: class numbers, `(batch,)`.
        num_classes: how many classes there are.

    Returns:
        Counts `(3, num_classes)`. `bincount` would wait for the device.
    """
    right = (predicted == labels).to(labels.dtype)
    ones = torch.ones_like(labels)
    counts = ones.new_zeros(3 * num_classes)
    places = torch.cat([labels, num_classes + predicted, 2 * num_classes + labels])
    return counts.index_add_(0, places, torch.cat([right, ones, ones])).view(3, num_classes)


def accuracy(right: Tensor, labelled: Tensor) -> float:
    """Return the share of rows that are right, from counts by class."""
    return float(right.sum()) / max(float(labelled.sum()), 1.0)


def macro_f1(true_positives: Tensor, predicted: Tensor, labelled: Tensor) -> float:
    """Return the mean F1 over the classes that occur, as a label or as a prediction.

    A class that occurs in neither says nothing about the network, so it is left out, as scikit-learn's `f1_score` does.

    Args:
        true_positives: rows rightly given each class, `(classes,)`.
        predicted: rows given each class, `(classes,)`.
        labelled: rows of each class, `(classes,)`.
    """
    occurrences = (predicted + labelled).double()
    present = occurrences > 0
    if not present.any():
        return 0.0
    return float((2 * true_positives.double()[present] / occurrences[present]).mean())
