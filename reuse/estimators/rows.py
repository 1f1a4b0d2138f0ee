"""Rows of an estimator as a network takes them: prepared as those that it learned from, else as they are."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from reuse.data.arrays import as_samples
from reuse.data.preprocessing import Preprocessing
from reuse.runs.raw_rows import prepare

BYTE_MAXIMUM = 255.0
IMAGES, SEQUENCES = 4, 3  # dimensions of arrays


def as_they_are(x: np.ndarray, *, reads_steps: bool) -> Preprocessing:
    """Return the preprocessing that leaves rows as they are, but for bytes of images, which become 0 to 1.

    Nothing in it is fitted, so that the rows of all folds are the same rows; what is to be fitted, such as the scale of
    columns, stands before the estimator in a pipeline.

    Args:
        x: vectors `(rows, columns)`, images `(rows, [channels,] height, width)`, or sequences `(rows, steps, columns)`.
        reads_steps: whether three dimensions are sequences and not grey images.
    """
    if x.ndim < SEQUENCES:
        return Preprocessing("vectors")
    if x.ndim == SEQUENCES and reads_steps:
        return Preprocessing("sequences")
    _, channels, height, width = as_samples(x[:1]).shape
    is_bytes = x.dtype == np.uint8
    look = {"divisor": BYTE_MAXIMUM} if is_bytes else {"signed": True}
    return Preprocessing("images", image_size=(height, width), channels=channels, **look)


def prepared(x: Any, preprocessing: Preprocessing) -> Tensor:
    """Return rows prepared for a network, `(rows, *shape)`."""
    inputs = prepare(x, preprocessing)
    return inputs.gather(torch.arange(len(inputs)))[0]
