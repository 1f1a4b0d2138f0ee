"""Samples of several tensors each, for models that take more than one input: tokens and their mask, image and numbers.

They are given as a dictionary of arrays, by the names of the model's arguments, or as a tuple, in their order. In files
they are called `x/NAME`. They are taken as they are: nothing is standardised.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reuse.data.digests import digest_bytes, digest_rows, seed_of, stack_digests
from reuse.data.inputs import Inputs
from reuse.data.preprocessing import Preprocessing
from reuse.data.raw import Options, refuse_image_options, refuse_other_kind
from reuse.errors import DataError
from reuse.layout import Layout, RowTensor, names_of

SEPARATOR = "/"  # between x and the name of an argument, in files


@dataclass(frozen=True)
class SeveralSamples:
    """Rows of several arrays.

    Attributes:
        arrays: each `(n, ...)`, of the types that models compute with, by the argument that takes it, in the order of
            these names; by "0", "1", … where they are given by position.
        by_name: whether they are given by name.
        name: what the user called the data, for messages.
    """

    arrays: Mapping[str, np.ndarray]
    by_name: bool
    name: str = ""

    @property
    def layout(self) -> Layout:
        """The tensors of a row."""
        return tuple(
            RowTensor(called if self.by_name else "", array.shape[1:], str(array.dtype))
            for called, array in self.arrays.items()
        )

    def fit(self, rows: np.ndarray, options: Options) -> tuple[Preprocessing, tuple[str, ...]]:  # noqa: ARG002 - nothing is learned
        """Return the preprocessing: what the arrays are."""
        refuse_image_options(options, "several arrays a row")
        listed = ", ".join(f"{name} {array.shape[1:]} {array.dtype}" for name, array in self.arrays.items())
        notes = (f"several inputs a row, taken as they are: {listed}",)
        return Preprocessing("several", tensors=self.layout), notes

    def inputs(self, rows: np.ndarray, preprocessing: Preprocessing) -> tuple[Inputs, tuple[str, ...]]:
        """Return `rows` as the preprocessing has them, in its types.

        Raises:
            DataError: an array is missing, or of another shape.
        """
        refuse_other_kind(preprocessing, "several", self.name)
        expected = preprocessing.tensors
        given = [self.arrays.get(name) for name in names_of(expected)] or list(self.arrays.values())
        fits = self.by_name == bool(names_of(expected)) and len(given) == len(expected)
        if not fits or any(a is None or a.shape[1:] != t.shape for a, t in zip(given, expected, strict=True)):
            wanted, found = (", ".join(map(str, layout)) for layout in (expected, self.layout))
            raise DataError(f"{self.name or 'x'} holds {found} a row, and the model takes {wanted}: give these")
        typed = [a.astype(t.kind, copy=False) for a, t in zip(given, expected, strict=True) if a is not None]
        return SeveralInputs(typed, expected, rows), ()


class SeveralInputs(Inputs):
    """Some rows of several arrays.

    Args:
        arrays: each `(n, ...)`.
        layout: what they are.
        rows: which of their rows.
    """

    def __init__(self, arrays: Sequence[np.ndarray], layout: Layout, rows: np.ndarray) -> None:
        super().__init__(len(rows))
        self._arrays, self._layout, self._rows = arrays, layout, rows
        self.shape, self.dtype = layout[0].shape, layout[0].dtype

    @property
    def layout(self) -> Layout:
        """The tensors of one sample, and how a model takes them."""
        return self._layout

    def _prepare(self, indices: np.ndarray) -> Tensor:
        return self._prepare_each(indices)[0]

    def _prepare_each(self, indices: np.ndarray) -> tuple[Tensor, ...]:
        return tuple([torch.from_numpy(array[self._rows[indices]]) for array in self._arrays])

    def _digest(self) -> np.ndarray:
        each = np.concatenate([digest_rows(array, self._rows) for array in self._arrays], axis=1)
        seed = seed_of(str(names_of(self._layout)))
        return stack_digests(digest_bytes(row.tobytes(), seed) for row in each)


def gathered(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Return named arrays in which inputs of several arrays are one dictionary, by name, or by "0", "1", ….

    These are dictionaries and tuples of arrays, and arrays that are called `x/NAME`. A tuple of arrays may be rows too:
    it is where they are as many as the targets, or, without any, vectors.

    Raises:
        DataError: a name is no text.
    """
    found: dict[str, Any] = {}
    unnamed = [called for called in arrays if not isinstance(called, str)]
    if unnamed:
        raise DataError(f"an array is called {unnamed[0]!r}, which is no text: call the inputs 'x' and the targets 'y'")
    for called, given in arrays.items():
        role, separator, name = called.partition(SEPARATOR)
        if separator and name and re.fullmatch("x(_[a-z]+)?", role.lower()):
            found.setdefault(role, {})[name] = given
        elif isinstance(given, Mapping):
            found[called] = dict(_named(given))
        else:
            y = arrays.get(f"y{called[1:]}")
            found[called] = dict(_named(given)) if _are_inputs(given, y) else given
    return found


def are_rows_of_several(given: Any) -> bool:
    """Return whether what is given to a model of several inputs is these alone, without a word on what is x and y."""
    if isinstance(given, Mapping):
        return not any(re.match("x(_[a-z]+)?(/|$)", str(called).lower()) for called in given)
    return isinstance(given, tuple | list) and not isinstance(given[0], Mapping | tuple | list)


def rows_of_several(x: Mapping[str, Any], name: str) -> int:
    """Return how many rows several arrays have.

    Raises:
        DataError: they have different numbers of rows, or there are none.
    """
    lengths = {called: len(array) if np.ndim(array) else 0 for called, array in x.items()}
    if len(set(lengths.values())) != 1 or not max(lengths.values()):
        listed = ", ".join(f"{called} {length}" for called, length in lengths.items())
        raise DataError(f"{name} holds arrays of {listed or 'no'} rows: each must have one entry for every row")
    return next(iter(lengths.values()))


def several_samples(given: Mapping[str, Any], name: str) -> SeveralSamples:
    """Return the inputs of all splits as samples of several tensors, one split after the other.

    Args:
        given: dictionaries of arrays, as `gathered` returns them, by `x`, `x_train`, ….
        name: what the user called the data.

    Raises:
        DataError: the splits have different arrays, or one that no model computes with.
    """
    first = next(iter(given.values()))
    if any(not isinstance(x, Mapping) or x.keys() != first.keys() for x in given.values()):
        raise DataError(f"{name}: splits hold different inputs: give each of them the same arrays")
    by_name = not all(map(str.isdecimal, first))
    arrays = {}
    for called in sorted(first, key=str if by_name else int):  # the order of a dictionary is no property of the data
        each = [_as_input(x[called], f"{split}{SEPARATOR}{called}") for split, x in given.items()]
        if len({(array.shape[1:], array.dtype) for array in each}) > 1:
            raise DataError(f"{name}: {called} has different shapes or types in different splits: give all alike")
        arrays[called] = each[0] if len(each) == 1 else np.concatenate(each)
    return SeveralSamples(arrays, by_name, name)


def _are_inputs(given: Any, targets: Any) -> bool:
    if not isinstance(given, tuple) or not given or not all(isinstance(array, np.ndarray | Tensor) for array in given):
        return False
    lengths = {len(array) if array.ndim else 0 for array in given}
    if len(lengths) > 1 or (targets is not None and not np.ndim(targets)):
        return False
    return given[0].ndim > 1 if targets is None else len(targets) in lengths and len(targets) != len(given)


def _named(given: Any) -> Iterator[tuple[str, Any]]:
    pairs = given.items() if isinstance(given, Mapping) else enumerate(given)
    yield from ((str(called), array) for called, array in pairs)


def _as_input(given: Any, name: str) -> np.ndarray:
    """Return an array in a type that models compute with: int64, float32 or bool.

    Raises:
        DataError: other values, or one that is missing or infinite.
    """
    try:
        array = np.asarray(given)
    except ValueError as error:
        raise DataError(f"{name} is not an array ({error}): give every row the same length") from error
    if array.dtype.kind not in "biuf":
        raise DataError(f"{name} holds {array.dtype} values: expected numbers, as the model takes them")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array))[0][0])
        raise DataError(f"{name} holds a value in row {row} (from 0) that is no number: fill it in or remove the row")
    return array.astype({"b": "bool", "f": "float32"}.get(array.dtype.kind, "int64"), copy=False)
