"""Keys of samples that are known without reading them: given ones, and digests of the files of image folders."""

import enum
import math
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Sequence, Sized
from dataclasses import dataclass
from io import IOBase
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from torch.utils.data import ConcatDataset, Subset
from torch.utils.data import Dataset as TorchDataset

from reuse.data.digests import digest_bytes, seed_of, stack_digests
from reuse.data.file_digests import FileDigests
from reuse.errors import DataError, UsageError
from reuse.fingerprinting.parts import attributes_of
from reuse.hints import Hints

Keys = Callable[[int], Any] | Sequence[Any]
"""A key for each sample: a function of its number, or a sequence."""

SMALL = (bool, int, float, complex, bytes, type(None), range, slice, enum.Enum, np.generic, torch.dtype, torch.device)
FEW = 16  # values of a container that count as a setting; a longer one holds the samples
CONTAINERS, DEPTH = (tuple, list, dict, set, frozenset, deque), 3  # which Datasets are looked for in, one in another
PLACES = ("root", "path", "dir", "folder", "file")  # what attributes are called that say where samples lie
OF_TARGETS = frozenset({"classes", "class_to_idx", "samples", "imgs", "targets", "target_transform"})


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


def made_by(dataset: Any, around: tuple[int, ...] = ()) -> dict[str, Any]:
    """Return what a Dataset makes its samples with: its class, and those of its attributes that are no samples.

    Functions, transforms and settings count, and what other Datasets in it are made with, however many; long
    containers, arrays of more than a few numbers or of one for each sample, and paths do not. A `Subset` is made with
    what its Dataset is.

    Args:
        dataset: map-style.
        around: identities of Datasets that it lies in.
    """
    if type(dataset) is Subset:
        return made_by(dataset.dataset, around)
    if id(dataset) in around:
        return {"class": type(dataset)}

    def inner(other: Any) -> dict[str, Any]:
        return made_by(other, (*around, id(dataset)))

    named = {name: value for name, value in attributes_of(dataset).items() if name not in _left_out(dataset)}
    few = {name: value for name, value in named.items() if not _is_one_each(value, dataset)}
    settings = {name: _as_made(value, inner) for name, value in few.items() if _is_setting(value, _is_place(name))}
    rest = {name: list(map(inner, datasets_in(value))) for name, value in few.items() if name not in settings}
    return {"class": type(dataset), "settings": settings | {name: inside for name, inside in rest.items() if inside}}


def datasets_in(value: Any) -> list[Any]:
    """Return the Datasets in a container of any length, and in containers in it, in the order of all but sets."""
    found, parts = list[Any](), [value]
    for _ in range(DEPTH):
        containers = [part for part in parts if isinstance(part, CONTAINERS)]
        parts = [part for container in containers for part in _holding_parts(container)]
        found += filter(_is_dataset, parts)
    return found


def _left_out(dataset: Any) -> frozenset[str]:
    """Return the attributes that say which samples there are and what their targets are."""
    if isinstance(dataset, Subset):
        return frozenset({"indices"})
    if isinstance(dataset, ConcatDataset):
        return frozenset({"cumulative_sizes"})
    return OF_TARGETS if _is_folder(dataset) else frozenset()


def _is_one_each(value: Any, dataset: Any) -> bool:
    return isinstance(value, np.ndarray | torch.Tensor) and value.ndim > 0 and len(value) == len(dataset)


def _is_place(name: str) -> bool:
    return any(word in name.lower() for word in PLACES)


def _as_made(value: Any, inner: Callable[[Any], dict[str, Any]]) -> Any:
    """Return a value with what Datasets are made with in the place of them."""
    if _is_dataset(value):
        return inner(value)
    if type(value) in {tuple, list}:
        return type(value)(_as_made(part, inner) for part in value)
    if type(value) is dict:
        return {name: _as_made(part, inner) for name, part in value.items()}
    if not datasets_in(value):
        return value
    if isinstance(value, dict):
        return [type(value), {name: _as_made(part, inner) for name, part in value.items()}]
    if isinstance(value, set | frozenset):
        holding = list(_holding_parts(value))
        return [type(value), value.difference(holding), *(_as_made(part, inner) for part in holding)]
    return [type(value), *(_as_made(part, inner) for part in value)]


def _is_dataset(value: Any) -> bool:
    return _may_be_dataset(type(value)) or hasattr(value, "reuse_keys")


def _may_be_dataset(kind: type) -> bool:
    return issubclass(kind, TorchDataset) or hasattr(kind, "reuse_keys")


def _holding_parts(container: Any) -> Iterable[Any]:
    """Return the Datasets and containers in a container; those of a set in the order of their names and lengths."""
    parts = container.values() if isinstance(container, dict) else container
    kinds = tuple(kind for kind in set(map(type, parts)) if _may_be_dataset(kind) or issubclass(kind, CONTAINERS))
    holding = (part for part in parts if isinstance(part, kinds)) if kinds else ()
    return sorted(holding, key=_name_and_length) if isinstance(container, set | frozenset) else holding


def _name_and_length(value: Any) -> tuple[str, int]:
    """Return what tells most Datasets from others: sets have no order."""
    try:
        return type(value).__qualname__, len(value)
    except (TypeError, NotImplementedError):  # streams have no length
        return type(value).__qualname__, 0


def _is_setting(value: Any, is_place: bool, around: tuple[int, ...] = ()) -> bool:
    """Return whether a value is few small ones; what refers back to what it lies in is none."""
    if id(value) in around:
        return False

    def is_part(part: Any) -> bool:
        return _is_setting(part, is_place, (*around, id(value)))

    match value:
        case str():
            is_path = is_place or os.sep in value
            return not (is_path and os.path.exists(value))  # noqa: PTH110 - which takes any text
        case tuple() | list() | set() | frozenset() | deque():
            return len(value) <= FEW and all(map(is_part, value))
        case dict():
            return len(value) <= FEW and all(map(is_part, value.values()))
        case np.ndarray() | torch.Tensor():
            return math.prod(value.shape) <= FEW
        case _ if isinstance(value, SMALL) or callable(value) or _is_dataset(value):
            return True
        case PurePath() | IOBase():
            return False
    if isinstance(value, Sized) and len(value) > FEW:
        return False
    parts = attributes_of(value)  # compiled classes often have none: they are described by what pickle says of them
    return len(parts) <= FEW and all(map(is_part, parts.values()))


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
    changed = whole.made_by if type(part) is Subset else [_by_itself(part), whole.made_by]
    return KnownRows(whole.keys[indices], targets, changed)


def _by_itself(part: "Subset[Any]") -> dict[str, Any]:
    """Return what a Subset makes its samples with, less its Dataset."""
    own = made_by(part)
    return own | {"settings": {name: value for name, value in own["settings"].items() if name != "dataset"}}


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
