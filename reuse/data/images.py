"""Images in files: checked, digested and decoded once, kept as uint8 where they all fit in memory."""

import os
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from reuse.data.digests import DIGEST_BYTES, digest_bytes, seed_of
from reuse.data.inputs import Inputs
from reuse.data.preprocessing import Preprocessing
from reuse.data.raw import Options, refuse_other_kind
from reuse.data.resizing import resize_picture
from reuse.devices import free_memory
from reuse.errors import DataError

DECODED_SHARE = 4  # one part in four of the free memory may hold decoded images
LISTED = 5  # files named in an error
BROKEN = (OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError, struct.error, zlib.error,
          Image.DecompressionBombError)  # fmt: skip
_SEED = seed_of("image file")

Result = TypeVar("Result")


@dataclass(frozen=True)
class ImageFile:
    """One encoded image: its name for messages, and where its bytes are."""

    name: str
    content: Path | bytes

    def read(self) -> bytes:
        """Return the encoded bytes."""
        return self.content if isinstance(self.content, bytes) else self.content.read_bytes()


@dataclass(frozen=True)
class ImageSamples:
    """Image files that were all decoded once.

    Attributes:
        files: the files, in the order of the rows.
        preprocessing: their size, channels and scale.
        pixels: uint8 `(n, channels, height, width)`, or None where they do not fit in memory.
        digests: uint8 `(n, 16)`, of the files' bytes.
        broken: what is wrong with the files that cannot be used, by row.
    """

    files: Sequence[ImageFile]
    preprocessing: Preprocessing
    pixels: np.ndarray | None
    digests: np.ndarray
    broken: dict[int, str]

    def usable(self) -> tuple[np.ndarray, tuple[str, ...]]:
        """Return the rows that are not broken, and a line on each of the others, which are set aside."""
        rows = np.setdiff1d(np.arange(len(self.files)), list(self.broken)).astype(np.int64)
        return rows, tuple(f"set aside: {self.files[row].name} ({reason})" for row, reason in self.broken.items())

    def fit(self, rows: np.ndarray, options: Options) -> tuple[Preprocessing, tuple[str, ...]]:  # noqa: ARG002 - nothing is fitted
        """Return the preprocessing that the images were read with."""
        return self.preprocessing, ()

    def inputs(self, rows: np.ndarray, preprocessing: Preprocessing) -> tuple[Inputs, tuple[str, ...]]:  # noqa: ARG002
        """Return `rows`; their pixels are those of the preprocessing that they were read with."""
        return ImageInputs(self, rows), ()


class ImageInputs(Inputs):
    """Some images, normalised (and decoded, where they are not in memory) when they are asked for."""

    def __init__(self, samples: ImageSamples, rows: np.ndarray) -> None:
        super().__init__(len(rows))
        self._samples, self._rows = samples, rows
        preprocessing = samples.preprocessing
        assert preprocessing.image_size is not None
        self.shape = (preprocessing.channels or 3, *preprocessing.image_size)

    def _prepare(self, indices: np.ndarray) -> Tensor:
        rows, samples = self._rows[indices], self._samples
        if samples.pixels is not None:
            pixels = samples.pixels[rows]
        else:
            pixels = np.empty((len(rows), *self.shape), np.uint8)
            for place, picture in enumerate(_in_threads(self._decode, rows)):
                pixels[place] = picture
        return samples.preprocessing.normalise(torch.from_numpy(pixels))

    def names(self) -> list[str]:
        """Return the files."""
        return [self._samples.files[row].name for row in self._rows]

    def _decode(self, row: int) -> np.ndarray:
        """Return the pixels of a row, which are those that its digest stands for: the file is read again."""
        file = self._samples.files[row]
        try:
            content = file.read()
            picture = decode(content, self._samples.preprocessing)
        except BROKEN as error:
            raise DataError(f"image {file.name} could be read before and cannot now: {_reason(error)}") from error
        if digest_bytes(content, _SEED) != self._samples.digests[row].tobytes():
            raise DataError(
                f"image {file.name} was written to since it was first read: begin again when nothing changes the images"
            )
        return picture

    def _digest(self) -> np.ndarray:
        digests: np.ndarray = self._samples.digests[self._rows]
        return digests


def decode(content: bytes, preprocessing: Preprocessing) -> np.ndarray:
    """Return an encoded image as uint8 `(channels, height, width)`, turned as its EXIF orientation says."""
    with Image.open(BytesIO(content)) as image:
        return resize_picture(ImageOps.exif_transpose(image), preprocessing)


def read_images(files: Sequence[ImageFile], name: str, options: Options) -> ImageSamples:
    """Return image files as samples: every one is read, digested and decoded.

    Args:
        files: the files, in the order of the rows.
        name: what the user called the data set.
        options: `image_size`, `channels` (3 unless given), `preprocessing`, and `skip_bad`: set broken images aside.

    Raises:
        DataError: broken images, unless they are to be skipped; sizes that differ where no size is asked for.
    """
    wanted = options.preprocessing or Preprocessing(
        "images", 255.0, image_size=options.size, channels=options.channels or 3
    )
    refuse_other_kind(wanted, "images", name)
    first = _first_readable(files, wanted, name)
    num_bytes = len(files) * first.nbytes
    fits = num_bytes <= free_memory(torch.device("cpu")) // DECODED_SHARE
    pixels = np.empty((len(files), *first.shape), np.uint8) if fits else None
    digests = np.zeros((len(files), DIGEST_BYTES), np.uint8)
    broken: dict[int, str] = {}
    odd: dict[int, tuple[int, ...]] = {}

    def check(row: int) -> None:
        try:
            content = files[row].read()
            digests[row] = np.frombuffer(digest_bytes(content, _SEED), np.uint8)
            picture = decode(content, wanted)
        except BROKEN as error:
            broken[row] = _reason(error)
            return
        if picture.shape != first.shape:
            odd[row] = picture.shape
        elif pixels is not None:
            pixels[row] = picture

    for _ in _in_threads(check, range(len(files))):
        pass
    _refuse_broken(files, broken, options.skip_bad)
    _refuse_odd(files, odd, first.shape)
    size = (int(first.shape[1]), int(first.shape[2]))
    return ImageSamples(files, replace(wanted, image_size=size), pixels, digests, dict(sorted(broken.items())))


def _first_readable(files: Sequence[ImageFile], preprocessing: Preprocessing, name: str) -> np.ndarray:
    """Return the first image that decodes: its shape is the one that all must have."""
    reason = "there is none"
    for file in files:
        try:
            return decode(file.read(), preprocessing)
        except BROKEN as error:
            reason = f"{file.name}: {_reason(error)}"
    raise DataError(f"{name} holds no image that can be read ({reason})")


def _refuse_broken(files: Sequence[ImageFile], broken: dict[int, str], skip_bad: bool) -> None:
    if broken and not skip_bad:
        listed = "; ".join(f"{files[row].name}: {broken[row]}" for row in sorted(broken)[:LISTED])
        more = f" and {len(broken) - LISTED} more" if len(broken) > LISTED else ""
        raise DataError(f"{len(broken)} broken images ({listed}{more}): mend them, or set them aside with --skip-bad")


def _refuse_odd(files: Sequence[ImageFile], odd: dict[int, tuple[int, ...]], expected: tuple[int, ...]) -> None:
    if odd:
        listed = ", ".join(f"{files[row].name} is {odd[row][1]}×{odd[row][2]}" for row in sorted(odd)[:LISTED])
        more = f" and {len(odd) - LISTED} more" if len(odd) > LISTED else ""
        raise DataError(
            f"images differ in height×width: the first is {expected[1]}×{expected[2]}, {listed}{more}: "
            "say with --image-size which size all shall have"
        )


def _reason(error: BaseException) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return "not an image" if isinstance(error, UnidentifiedImageError) else text


def _in_threads(work: Callable[[int], Result], rows: Iterable[int]) -> Iterator[Result]:
    """Yield `work(row)` in order; Pillow decodes outside the interpreter lock, so threads help."""
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        yield from pool.map(work, rows)
