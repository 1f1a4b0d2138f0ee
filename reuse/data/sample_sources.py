"""What samples can be read from, and what only looks like it."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader

from reuse.data.frames import is_frame
from reuse.errors import UsageError

SIDE_BY_SIDE = "give a Dataset of samples, such as torch.utils.data.TensorDataset(x, y)"


def refuse_no_samples(dataset: Any) -> None:
    """Raise where something gives no samples, though it may be read by number or one after the other.

    Raises:
        UsageError: the message says what to give instead.
    """
    if isinstance(dataset, DataLoader):
        raise UsageError("the dataset is a DataLoader, which gives batches: give its Dataset, loader.dataset")
    if isinstance(dataset, Mapping):
        held = ", ".join(map(repr, dataset))
        raise UsageError(
            f"the dataset is a dictionary of {held}: give one of its data sets; where it holds arrays side by side, "
            f"{SIDE_BY_SIDE}"
        )
    if isinstance(dataset, tuple) and _are_columns(dataset):
        raise UsageError(f"the dataset is a tuple of {len(dataset)} arrays side by side: {SIDE_BY_SIDE}")
    if is_frame(dataset) and hasattr(dataset, "columns"):  # a data set of Hugging Face is read by number
        raise UsageError(f"the dataset is a data frame: {SIDE_BY_SIDE}, of tensors of its columns")
    if isinstance(dataset, Iterator):
        raise UsageError("the dataset is an iterator, which can be read only once: give a Dataset or a list")
    if not (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")) and not hasattr(dataset, "__iter__"):
        called = ", or what it returns" if callable(dataset) else ""
        raise UsageError(
            f"the dataset is of type {type(dataset).__name__}: give a torch Dataset, a sequence of samples, or an "
            f"object whose __iter__ yields them{called}"
        )


def _are_columns(parts: tuple[Any, ...]) -> bool:
    """Return whether arrays have as many rows as each other, and otherwise other shapes or types: no samples do."""
    if not all(isinstance(part, Tensor | np.ndarray) and part.ndim for part in parts):
        return False
    return len({len(part) for part in parts}) == 1 and len({(part.shape[1:], str(part.dtype)) for part in parts}) > 1
