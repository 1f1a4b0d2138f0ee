"""Samples that are rows of an array: feature vectors `(n, features)` and images `(n, [channels,] height, width)`."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from reuse.data.digests import digest_rows
from reuse.data.inputs import BLOCK_ROWS, Inputs
from reuse.data.known_rows import FileRows
from reuse.data.preprocessing import Preprocessing
from reuse.data.raw import Options, refuse_image_options, refuse_other_kind
from reuse.data.resizing import resize_arrays
from reuse.data.scales import BYTE_MAXIMUM, PixelValues, divisor_like
from reuse.errors import DataError

CHANNEL_COUNTS = (1, 3, 4)
# How a place in a row is called, by the dimensions of a row.
PLACES = {1: "column {}", 2: "step {}, feature {}", 3: "channel, line, pixel ({}, {}, {})"}


@dataclass(frozen=True)
class ArraySamples:
    """Rows of one array.

    Attributes:
        raw: `(n, features)` or `(n, channels, height, width)`, as `as_samples` returns it.
        divisor: the largest raw value of an image, where it is known; else 255 for uint8 and the training
            maximum otherwise.
        name: what the user called the data, for messages.
        known: what is known of the rows of the file that holds them; None: nothing.
    """

    raw: np.ndarray
    divisor: float | None = None
    name: str = ""
    known: FileRows | None = None

    def fit(self, rows: np.ndarray, options: Options) -> tuple[Preprocessing, tuple[str, ...]]:
        """Return the preprocessing: columns standardised on `rows`, or images scaled to [0, 1]."""
        if self.raw.ndim == 2:
            refuse_image_options(options, "an array of feature vectors")
            return self._fit_vectors(rows), ()
        divisor, is_signed, notes = self._fit_divisor(rows)
        _, channels, height, width = self.raw.shape
        size = options.size or (height, width)
        channels = options.channels or channels
        return Preprocessing("images", divisor, image_size=size, channels=channels, signed=is_signed or None), notes

    def inputs(self, rows: np.ndarray, preprocessing: Preprocessing) -> tuple[Inputs, tuple[str, ...]]:
        """Return `rows` preprocessed."""
        kind = "vectors" if self.raw.ndim == 2 else "images"
        refuse_other_kind(preprocessing, kind, self.name)
        if kind == "vectors" and preprocessing.mean and len(preprocessing.mean) != self.raw.shape[1]:
            expected, given = len(preprocessing.mean), self.raw.shape[1]
            raise DataError(f"{given} features a row, and the preprocessing expects {expected}: give the same columns")
        divisor = None if kind == "vectors" else self._divisor(preprocessing)
        return ArrayInputs(self.raw, rows, preprocessing, divisor, self.known), ()

    def _divisor(self, preprocessing: Preprocessing) -> float:
        """Return what brings these images to the scale of `preprocessing`, which may count otherwise."""
        return divisor_like(self._values, preprocessing, self.name) if self.divisor is None else self.divisor

    @cached_property
    def _values(self) -> PixelValues:
        return PixelValues.of(self.raw)

    def _fit_vectors(self, rows: np.ndarray) -> Preprocessing:
        from sklearn.preprocessing import (
            StandardScaler,  # scikit-learn takes a second to import, and not every command needs it
        )

        scaler = StandardScaler()
        for start in range(0, len(rows), BLOCK_ROWS):
            scaler.partial_fit(self.raw[rows[start : start + BLOCK_ROWS]].astype(np.float64))
        return Preprocessing("vectors", mean=tuple(scaler.mean_.tolist()), std=tuple(scaler.scale_.tolist()))

    def _fit_divisor(self, rows: np.ndarray) -> tuple[float, bool, tuple[str, ...]]:
        """Return the divisor, whether values are taken as they are since some are below 0, and notes."""
        if self.divisor is not None:
            return self.divisor, False, ()
        if self.raw.dtype == np.uint8:
            return BYTE_MAXIMUM, False, ()
        found = self._values_of(rows)
        if found.lowest < 0:
            return 1.0, True, (f"images hold values from {found.lowest:g} to {found.highest:g}: taken as they are",)
        if found.count_to_255:
            return BYTE_MAXIMUM, False, (f"images hold values up to {found.highest:g}: divided by 255",)
        if found.highest <= 1:
            return 1.0, False, ()
        return (
            found.highest,
            False,
            (f"images are divided by {found.highest:g}, the largest value of the training split",),
        )

    def _values_of(self, rows: np.ndarray) -> PixelValues:
        blocks = [PixelValues.of(self.raw[rows[s : s + BLOCK_ROWS]]) for s in range(0, len(rows), BLOCK_ROWS)]
        lowest, highest = min(block.lowest for block in blocks), max(block.highest for block in blocks)
        return replace(blocks[0], lowest=lowest, highest=highest)


class ArrayInputs(Inputs):
    """Some rows of an array, preprocessed when they are asked for.

    Args:
        raw: the array.
        rows: which of its rows.
        preprocessing: how they are prepared.
        divisor: what they are divided by, where they count otherwise than the preprocessing says; None: they do not.
        known: what is known of the rows of the file that holds them; None: nothing.
    """

    def __init__(
        self,
        raw: np.ndarray,
        rows: np.ndarray,
        preprocessing: Preprocessing,
        divisor: float | None = None,
        known: FileRows | None = None,
    ) -> None:
        super().__init__(len(rows))
        self._known = known
        own = preprocessing.divisor if divisor is None else divisor
        self._raw, self._rows, self._preprocessing = raw, rows, replace(preprocessing, divisor=own)
        self._scale = "" if own == preprocessing.divisor else f"divided by {own:g}"
        self.shape = tuple(self._prepare(np.arange(min(1, len(rows)))).shape[1:])

    def _prepare(self, indices: np.ndarray) -> Tensor:
        rows = self._rows[indices]
        raw = self._raw[rows] if self._known is None else self._known.check(self._raw, rows, self._scale)
        samples = torch.from_numpy(_as_torch_type(raw))
        if self._preprocessing.kind == "images":
            return self._preprocessing.normalise(resize_arrays(samples, self._preprocessing))
        return self._preprocessing.normalise(samples)

    def _digest(self) -> np.ndarray:
        if self._known is not None:
            return self._known.digests(self._raw, self._rows, self._scale)
        return digest_rows(self._raw, self._rows, self._scale)


def as_samples(x: object, name: str = "x") -> np.ndarray:
    """Return an array as samples: `(n, features)` or `(n, channels, height, width)`.

    Three dimensions are grey images. Four are images whose channels (1, 3 or 4) come first or last; where both could
    be, they come first, as in torch. Other numbers of channels come last where height and width before them are equal,
    and larger.

    Raises:
        DataError: not numbers, not 2 to 4 dimensions, no rows, or a value that is missing or infinite.
    """
    try:
        array = np.asarray(x)
    except ValueError as error:
        raise DataError(f"{name} is not an array ({error}): give every row the same length") from error
    if array.dtype.kind not in "biuf":
        raise DataError(f"{name} holds {array.dtype} values: expected numbers (tables with strings: give a .csv)")
    if array.size == 0:
        raise DataError(f"{name} has shape {array.shape}: expected at least one row and one feature")
    if array.ndim not in (2, 3, 4):
        alone = f"; one row alone is {name}[None]" if array.ndim == 1 else ""
        raise DataError(
            f"{name} has shape {array.shape}: expected (rows, features) or (rows, [channels,] height, width){alone}"
        )
    if array.ndim == 3:
        array = array[:, None]
    if array.ndim == 4 and _are_channels_last(*array.shape[1:]):
        array = np.moveaxis(array, 3, 1)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    refuse_unusable(array, name)
    return array


def _are_channels_last(first: int, second: int, third: int) -> bool:
    if first in CHANNEL_COUNTS or third in CHANNEL_COUNTS:
        return first not in CHANNEL_COUNTS
    return first == second and third < first


def refuse_unusable(array: np.ndarray, name: str) -> None:
    """Raise where a value of an array `(n, features)`, of images or of sequences is missing or infinite."""
    if array.dtype.kind != "f":
        return
    for start in range(0, len(array), BLOCK_ROWS):
        block = array[start : start + BLOCK_ROWS]
        with np.errstate(all="ignore"):
            if np.isfinite(block.sum()):  # so is each of them, and a sum takes half the time; one may be too large
                continue
        finite = np.isfinite(block)
        if not finite.all():
            row, *place = np.argwhere(~finite)[0].tolist()
            where = PLACES[len(place)].format(*place)
            value = array[(start + row, *place)]
            raise DataError(
                f"{name} holds {value} in row {start + row} (from 0), {where}: fill it in or remove the row"
            )


def _as_torch_type(block: np.ndarray) -> np.ndarray:
    """Return `block` in a type that torch computes with; only uint8 and floating point stay what they are."""
    return block if block.dtype in (np.uint8, np.float32, np.float64) else block.astype(np.float64)
