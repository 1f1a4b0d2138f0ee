"""Accuracy and F1 from counts of right and wrong answers, so that they add up over batches."""

import torch
from torch import Tensor


def confusion(predicted: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Count the rows of each (label, predicted) pair.

    Args:
        predicted: class numbers, `(batch,)`.
        labels: class numbers, `(batch,)`.
        num_classes: how many classes there are.

    Returns:
        Counts `(num_classes, num_classes)`, labels down, predictions across. `bincount` would wait for the device.
    """
    ones = torch.ones_like(labels)
    counts = ones.new_zeros(num_classes * num_classes)
    return counts.index_add_(0, labels * num_classes + predicted, ones).view(num_classes, num_classes)


def accuracy(counts: Tensor) -> float:
    """Return the share of rows on the diagonal of a confusion matrix."""
    return float(counts.diagonal().sum()) / max(float(counts.sum()), 1.0)


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
