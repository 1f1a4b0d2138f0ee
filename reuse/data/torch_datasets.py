"""Datasets of torch as data: each sample is read once, and stays in memory."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from reuse.data.array_files import source_of_arrays
from reuse.data.raw import Options, RawData
from reuse.data.samples import SampleForm, form_of, stacked
from reuse.errors import DataError, UsageError
from reuse.layout import InputNames


def is_dataset(given: Any) -> bool:
    """Return whether something is a Dataset of torch, iterable ones included."""
    return isinstance(given, Dataset)


def read_dataset(dataset: Any, options: Options) -> RawData:
    """Return the samples of a Dataset as rows; of a tuple the last part is the target, of a dictionary its `label`.

    Raises:
        DataError: it is empty, or samples have several forms.
        UsageError: a sample differs when it is read again.
    """
    name = type(dataset).__name__
    samples = list(_read(dataset))
    if not samples:
        raise DataError(f"{name} has no samples: give some")
    if not isinstance(dataset, IterableDataset):
        _refuse_random(dataset, samples[0], name)
    form = form_of(samples[0], None, InputNames(takes_any=True))
    parts = [form.take_apart(sample) for sample in samples]
    arrays: dict[str, Any] = {"x": _inputs([inputs for inputs, _ in parts], form)}
    if form.target is not None:
        arrays["y"] = np.asarray([_plain(target) for _, target in parts])
    classes = getattr(dataset, "classes", None)
    return source_of_arrays(arrays, name, options, class_names=tuple(map(str, classes or ())))


def _read(dataset: Any) -> Iterable[Any]:
    return dataset if isinstance(dataset, IterableDataset) else (dataset[number] for number in range(len(dataset)))


def _refuse_random(dataset: Any, first: Any, name: str) -> None:
    """Raise where samples are changed at random, as all of them would stay as they were read."""
    if _bytes(dataset[0]) != _bytes(first):
        raise UsageError(
            f"a sample of {name} differs when it is read a second time, and is read once here: give it without random "
            "changes, and say augment, or train on reuse.cached(model, dataset, views=5) in a loop of your own"
        )


def _bytes(sample: Any) -> Any:
    if isinstance(sample, tuple | list):
        return [_bytes(part) for part in sample]
    if isinstance(sample, dict):
        return {key: _bytes(part) for key, part in sample.items()}
    if isinstance(sample, Image):
        return sample.tobytes()
    if isinstance(sample, Tensor | np.ndarray):
        return torch.as_tensor(sample).detach().cpu().numpy().tobytes()
    return sample


def _inputs(rows: list[tuple[Any, ...]], form: SampleForm) -> Any:
    """Return the inputs side by side: pictures as a list, tensors stacked, several by name or in order."""
    if isinstance(rows[0][0], Image) and len(rows[0]) == 1:
        return [row[0] for row in rows]
    tensors = [tensor.detach().cpu().numpy() for tensor in stacked(rows)]
    if form.by_name and len(tensors) > 1:
        return dict(zip(map(str, form.inputs), tensors, strict=True))
    return tensors[0] if len(tensors) == 1 else tuple(tensors)


def _plain(target: Any) -> Any:
    return target.detach().cpu().numpy() if isinstance(target, Tensor) else target
