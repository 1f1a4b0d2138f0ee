"""Keys of samples that are known without reading them: given ones, and digests of the files of image folders."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import Subset

from reuse.data.digests import digest_bytes, seed_of, stack_digests
from reuse.data.file_digests import FileDigests
from reuse.errors import DataError, UsageError
from reuse.hints import Hints

Keys = Callable[[int], Any] | Sequence[Any]
"""A key for each sample: a function of its number, or a sequence."""

SMALL = (bool, int, float, complex, type(None), torch.dtype, torch.device, nn.Module)
FEW = 16  # values of a container that count as a setting; a longer one holds the samples


@dataclass(frozen=True)
class KnownRows:
    """What is known of the samples of a Dataset without reading them.

    Attributes:
        keys: `(rows, 16)` uint8; equal ones stand for equal samples.
        targets: of the samples; None: they must be read.
        made_by: what makes a sample of what its key stands for, as values that a fingerprint describes.
    """

    keys: np.ndarray
    targets: list[Any] | None
    made_by: Any

    def version(self, number: int) -> np.ndarray:
        """Return the keys of a version of the samples that is changed at random; 0: of the samples as they are."""
        if not number:
            return self.keys
        return stack_digests(digest_bytes(key.tobytes(), seed_of(f"version {number}")) for key in self.keys)


def known_rows(dataset: Any, key: Keys | None, hints: Hints | None) -> KnownRows | None:
    """Return what is known of the samples of a Dataset without reading them; None where their content is their key.

    Keys are those that are given, those that a method `reuse_keys` of the Dataset returns, or, for a folder of images
    of torchvision, digests of the files. A `Subset` has those of its Dataset.

    Args:
        dataset: map-style.
        key: for each sample a text, number or bytes that changes whenever the sample does.
        hints: which know the digests of files that did not change.

    Raises:
        UsageError: there are not as many keys as samples, or a key is none.
        DataError: a file cannot be read.
    """
    if key is None and hasattr(dataset, "reuse_keys"):
        key = dataset.reuse_keys()
    if key is not None:
        every = [key(number) for number in range(len(dataset))] if callable(key) else list(key)
        if len(every) != len(dataset):
            raise UsageError(f"there are {len(every)} keys for {len(dataset)} samples: give one for each")
        return KnownRows(stack_digests(map(_digest, every)), _targets(dataset), made_by(dataset))
    if isinstance(dataset, Subset):
        whole = known_rows(dataset.dataset, None, hints)
        return None if whole is None else _taken(whole, dataset)
    if _is_folder(dataset):
        return _folder_rows(dataset, hints)
    return None


def made_by(dataset: Any) -> dict[str, Any]:
    """Return what a Dataset makes its samples with: its class, and those of its attributes that are no samples.

    Functions, transforms and settings count; long containers, arrays and paths do not.
    """
    settings = {name: value for name, value in getattr(dataset, "__dict__", {}).items() if _is_setting(value)}
    return {"class": type(dataset), "settings": settings}


def _is_setting(value: Any) -> bool:
    if isinstance(value, str):
        return not os.path.exists(value)  # noqa: PTH110 - which takes any text
    if isinstance(value, tuple | list):
        return len(value) <= FEW and all(map(_is_setting, value))
    if isinstance(value, dict):
        return len(value) <= FEW and all(map(_is_setting, value.values()))
    return (
        isinstance(value, SMALL)
        or (callable(value) and not isinstance(value, torch.Tensor))
        or isinstance(value, nn.Module)
    )


def _digest(key: Any) -> bytes:
    if not isinstance(key, str | bytes | int | np.integer):
        raise UsageError(f"a key is of type {type(key).__name__}: give a text, a number or bytes for each sample")
    content = key if isinstance(key, bytes) else str(key).encode()
    return digest_bytes(content, seed_of("given key"))


def _targets(dataset: Any) -> list[Any] | None:
    targets = getattr(dataset, "targets", None)
    if targets is None or len(targets) != len(dataset):
        return None
    change = getattr(dataset, "target_transform", None)
    return [target if change is None else change(target) for target in targets]


def _taken(whole: KnownRows, part: "Subset[Any]") -> KnownRows:
    indices = list(part.indices)
    targets = None if whole.targets is None else [whole.targets[index] for index in indices]
    return KnownRows(whole.keys[indices], targets, [type(part), whole.made_by])


def _is_folder(dataset: Any) -> bool:
    """Return whether a Dataset is torchvision's folder of files, with that class's own way of reading a sample."""
    folder = getattr(sys.modules.get("torchvision.datasets"), "DatasetFolder", None)
    return folder is not None and isinstance(dataset, folder) and type(dataset).__getitem__ is folder.__getitem__


def _folder_rows(dataset: Any, hints: Hints | None) -> KnownRows:
    paths = [Path(path) for path, _ in dataset.samples]
    files = FileDigests(hints, seed_of("file of a sample"))
    digests = files.recall(paths)
    for path in paths:
        if path not in digests:
            try:
                digests[path] = files.read(path)[1]
            except OSError as error:
                raise DataError(f"{path} cannot be read: {error.strerror}") from error
    files.keep()
    return KnownRows(stack_digests(digests[path] for path in paths), _targets(dataset), made_by(dataset))
