"""Rows of an estimator as a network takes them: prepared as those that it learned from, else as they are."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reuse.data.arrays import as_samples
from reuse.data.preprocessing import Preprocessing
from reuse.runs.raw_rows import prepare
from reuse.setup.data import preprocessing_for

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


def timm_preparation(spec: str, x: np.ndarray, image_size: int | Sequence[int] | None) -> Preprocessing | None:
    """Return the preprocessing of images that timm says a model takes, None for any other model or other rows.

    Args:
        spec: of the model.
        x: the rows.
        image_size: to which they are resized, as timm does; None: they stay as large as they are, and whole.
    """
    if x.ndim != IMAGES:
        return None
    _, channels, *pixels = as_samples(x[:1]).shape
    own = preprocessing_for(spec, image_size or pixels, channels)
    return own if own is None or image_size is not None else replace(own, crop_pct=None)


def prepared(x: Any, preprocessing: Preprocessing) -> Tensor:
    """Return rows prepared for a network, `(rows, *shape)`."""
    inputs = prepare(x, preprocessing)
    return inputs.gather(torch.arange(len(inputs)))[0]
