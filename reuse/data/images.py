"""Images in files: checked, digested and decoded once, kept as uint8 where they all fit in memory."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from reuse.data.digests import digest_bytes, seed_of
from reuse.data.file_digests import FileDigests
from reuse.data.inputs import Inputs
from reuse.data.pictures import MOST_PIXELS, decode, reason, without_pillows_warnings
from reuse.data.preprocessing import Preprocessing
from reuse.data.raw import Options
from reuse.errors import DataError
from reuse.files import read_bytes

IMAGE_SEED = seed_of("image file, composed on one ground")

Result = TypeVar("Result")


@dataclass(frozen=True)
class ImageFile:
    """One encoded image: its name for messages, and where its bytes are."""

    name: str
    content: Path | bytes

    def read(self) -> bytes:
        """Return the encoded bytes."""
        return self.content if isinstance(self.content, bytes) else read_bytes(self.content)

    def read_with_digest(self, digesting: FileDigests) -> tuple[bytes, bytes]:
        """Return the encoded bytes and their digest."""
        if isinstance(self.content, Path):
            return digesting.read(self.content)
        return self.content, digest_bytes(self.content, digesting.seed)


class CheckedImages(Protocol):
    """Images as the first look at them left them; see `ImageCheck`."""

    digests: np.ndarray
    pixels: np.ndarray | None
    is_decoded: np.ndarray

    def prove(self, rows: np.ndarray) -> None:
        """Note that images have decoded as they promised."""

    def refuse_promises(self) -> None:
        """Raise what is wrong with those whose headers alone have been read."""


@dataclass(frozen=True)
class ImageSamples:
    """Image files that were all looked at, in this process or, as their digests say, in an earlier one.

    Attributes:
        files: the files, in the order of the rows.
        preprocessing: their size, channels and scale.
        checked: their digests, and the pixels that are there; the others are decoded when they are asked for.
        broken: what is wrong with the files that cannot be used, by row.
        max_pixels: most pixels of one file.
        notes: lines worth printing.
    """

    files: Sequence[ImageFile]
    preprocessing: Preprocessing
    checked: CheckedImages
    broken: dict[int, str]
    max_pixels: int = MOST_PIXELS
    notes: tuple[str, ...] = ()

    def usable(self) -> tuple[np.ndarray, tuple[str, ...]]:
        """Return the rows that are not broken, and lines on the others, which are set aside, and on all."""
        rows = np.setdiff1d(np.arange(len(self.files)), list(self.broken)).astype(np.int64)
        set_aside = (f"set aside: {self.files[row].name} ({why})" for row, why in self.broken.items())
        return rows, (*self.notes, *set_aside)

    def fit(self, rows: np.ndarray, options: Options) -> tuple[Preprocessing, tuple[str, ...]]:  # noqa: ARG002 - nothing is fitted
        """Return the preprocessing that the images were read with."""
        return self.preprocessing, ()

    def inputs(self, rows: np.ndarray, preprocessing: Preprocessing) -> tuple[Inputs, tuple[str, ...]]:  # noqa: ARG002
        """Return `rows`; their pixels are those of the preprocessing that they were read with."""
        return ImageInputs(self, rows), ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of each image."""
        assert self.preprocessing.image_size is not None
        return (self.preprocessing.channels or 3, *self.preprocessing.image_size)

    def take(self, rows: np.ndarray, *, keep: bool = True) -> np.ndarray:
        """Return the pixels of some rows, uint8 `(rows, channels, height, width)`.

        Args:
            rows: in any order, repeats allowed.
            keep: whether what had to be decoded is kept for the next time, where there is room.
        """
        checked = self.checked
        there = checked.is_decoded[rows]
        lacking = np.unique(rows[~there])
        with without_pillows_warnings():
            decoded = in_threads(self._decode, lacking)
            if checked.pixels is not None and keep:
                for row, picture in zip(lacking, decoded, strict=True):
                    checked.pixels[row], checked.is_decoded[row] = picture, True
                checked.prove(lacking)
                kept: np.ndarray = checked.pixels[rows]
                return kept
            taken = np.empty((len(rows), *self.shape), np.uint8)
            for row, picture in zip(lacking, decoded, strict=True):
                taken[rows == row] = picture
        checked.prove(lacking)
        if checked.pixels is not None:
            taken[there] = checked.pixels[rows[there]]
        return taken

    def _decode(self, row: int) -> np.ndarray:
        """Return the pixels of a row, which are those that its digest stands for: the file is read again."""
        file = self.files[row]
        try:
            content = file.read()
            picture = decode(content, self.preprocessing, self.max_pixels)
            if picture.shape != self.shape:
                raise ValueError(f"it is {picture.shape[1]}×{picture.shape[2]}")
        except Exception as error:
            self.checked.refuse_promises()
            raise DataError(
                f"image {file.name} could be read before and cannot now: {reason(error, file.name)}"
            ) from error
        if digest_image(content) != self.checked.digests[row].tobytes():
            raise DataError(
                f"image {file.name} was written to since it was first read: begin again when nothing changes the images"
            )
        return picture


class ImageInputs(Inputs):
    """Some images, normalised (and decoded, where they are not in memory) when they are asked for."""

    def __init__(self, samples: ImageSamples, rows: np.ndarray) -> None:
        super().__init__(len(rows))
        self._samples, self._rows = samples, rows
        self.shape = samples.shape

    def gather_once(self, indices: Tensor) -> tuple[Tensor, ...]:
        """Return the images at `indices`, whose pixels are not kept."""
        if self._resident is not None:
            return self.gather(indices)
        return (self._taken(indices.numpy(), keep=False),)

    def _prepare(self, indices: np.ndarray) -> Tensor:
        return self._taken(indices, keep=True)

    def _taken(self, indices: np.ndarray, *, keep: bool) -> Tensor:
        samples = self._samples
        if len(indices) == 0:
            return torch.empty((0, *self.shape))
        return samples.preprocessing.normalise(torch.from_numpy(samples.take(self._rows[indices], keep=keep)))

    def names(self) -> list[str]:
        """Return the files."""
        return [self._samples.files[row].name for row in self._rows]

    def _digest(self) -> np.ndarray:
        digests: np.ndarray = self._samples.checked.digests[self._rows]
        return digests


def digest_image(content: bytes) -> bytes:
    """Return the digest of an encoded image."""
    return digest_bytes(content, IMAGE_SEED)


def in_threads(work: Callable[[int], Result], rows: Iterable[int]) -> Iterator[Result]:
    """Yield `work(row)` in order; Pillow decodes outside the interpreter lock, so threads help."""
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        yield from pool.map(work, rows)
