"""Images in files: checked, digested and decoded once, kept as uint8 where they all fit in memory."""

import math
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
from reuse.data.file_digests import FileDigests
from reuse.data.image_findings import Finding, ImageFindings, Shape
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

    def read_with_digest(self, digesting: FileDigests) -> tuple[bytes, bytes]:
        """Return the encoded bytes and their digest."""
        if isinstance(self.content, Path):
            return digesting.read(self.content)
        return self.content, digest_bytes(self.content, digesting.seed)


@dataclass(frozen=True)
class ImageSamples:
    """Image files that were all decoded once, in this process or, as their digests say, in an earlier one.

    Attributes:
        files: the files, in the order of the rows.
        preprocessing: their size, channels and scale.
        pixels: uint8 `(n, channels, height, width)`, or None where they do not fit in memory.
        is_decoded: bool `(n,)`, which of the pixels are there; the others are decoded when they are asked for.
        digests: uint8 `(n, 16)`, of the files' bytes.
        broken: what is wrong with the files that cannot be used, by row.
    """

    files: Sequence[ImageFile]
    preprocessing: Preprocessing
    pixels: np.ndarray | None
    is_decoded: np.ndarray
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

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Return the pixels of some rows, uint8 `(rows, channels, height, width)`."""
        if self.pixels is None:
            return np.stack(list(_in_threads(self._decode, rows)))
        lacking = np.unique(rows[~self.is_decoded[rows]])
        for row, picture in zip(lacking, _in_threads(self._decode, lacking), strict=True):
            self.pixels[row] = picture
            self.is_decoded[row] = True
        taken: np.ndarray = self.pixels[rows]
        return taken

    def _decode(self, row: int) -> np.ndarray:
        """Return the pixels of a row, which are those that its digest stands for: the file is read again."""
        file = self.files[row]
        try:
            content = file.read()
            picture = decode(content, self.preprocessing)
        except BROKEN as error:
            raise DataError(f"image {file.name} could be read before and cannot now: {_reason(error)}") from error
        if digest_bytes(content, _SEED) != self.digests[row].tobytes():
            raise DataError(
                f"image {file.name} was written to since it was first read: begin again when nothing changes the images"
            )
        return picture


class ImageInputs(Inputs):
    """Some images, normalised (and decoded, where they are not in memory) when they are asked for."""

    def __init__(self, samples: ImageSamples, rows: np.ndarray) -> None:
        super().__init__(len(rows))
        self._samples, self._rows = samples, rows
        preprocessing = samples.preprocessing
        assert preprocessing.image_size is not None
        self.shape = (preprocessing.channels or 3, *preprocessing.image_size)

    def _prepare(self, indices: np.ndarray) -> Tensor:
        samples = self._samples
        if len(indices) == 0:
            return torch.empty((0, *self.shape))
        return samples.preprocessing.normalise(torch.from_numpy(samples.take(self._rows[indices])))

    def names(self) -> list[str]:
        """Return the files."""
        return [self._samples.files[row].name for row in self._rows]

    def _digest(self) -> np.ndarray:
        digests: np.ndarray = self._samples.digests[self._rows]
        return digests


def decode(content: bytes, preprocessing: Preprocessing) -> np.ndarray:
    """Return an encoded image as uint8 `(channels, height, width)`, turned as its EXIF orientation says."""
    with Image.open(BytesIO(content)) as image:
        return resize_picture(ImageOps.exif_transpose(image), preprocessing)


def read_images(files: Sequence[ImageFile], name: str, options: Options) -> ImageSamples:
    """Return image files as samples: every one is read, digested and decoded, or known from an earlier run.

    Args:
        files: the files, in the order of the rows.
        name: what the user called the data set.
        options: `image_size`, `channels` (3 unless given), `preprocessing`, `skip_bad`: set broken images aside, and
            `hints`, where what is known of files is remembered.

    Raises:
        DataError: broken images, unless they are to be skipped; sizes that differ where no size is asked for.
    """
    wanted = options.preprocessing or Preprocessing(
        "images", 255.0, image_size=options.size, channels=options.channels or 3
    )
    refuse_other_kind(wanted, "images", name)
    check = _Check(files, wanted, FileDigests(options.hints, _SEED), ImageFindings(options.hints, wanted))
    first = check.first_shape(name)
    shapes = dict(enumerate(_in_threads(check.look, range(len(files)))))
    check.digesting.keep()
    check.findings.keep()
    broken = {row: reason for row, reason in shapes.items() if isinstance(reason, str)}
    _refuse_broken(files, broken, options.skip_bad)
    _refuse_odd(files, {row: s for row, s in shapes.items() if not isinstance(s, str) and s != first}, first)
    preprocessing = replace(wanted, image_size=(first[1], first[2]))
    return ImageSamples(files, preprocessing, check.pixels, check.is_decoded, check.digests, broken)


def _room(rows: int, shape: Shape) -> np.ndarray | None:
    """Return room for decoded images, which takes memory as it is filled; None where there is too little."""
    fits = rows * math.prod(shape) <= free_memory(torch.device("cpu")) // DECODED_SHARE
    return np.empty((rows, *shape), np.uint8) if fits else None


class _Check:
    """The first look at every file: its digest, and whether and in which shape it decodes."""

    def __init__(
        self, files: Sequence[ImageFile], wanted: Preprocessing, digesting: FileDigests, findings: ImageFindings
    ) -> None:
        self.files, self.wanted, self.digesting, self.findings = files, wanted, digesting, findings
        self.digests, self.is_decoded = np.zeros((len(files), DIGEST_BYTES), np.uint8), np.zeros(len(files), bool)
        self.pixels: np.ndarray | None = None
        self._digests = digesting.recall([file.content for file in files if isinstance(file.content, Path)])
        self._found = findings.find(self._digests.values())
        self._looks: dict[int, Finding] = {}
        self._first: np.ndarray | None = None

    def first_shape(self, name: str) -> Shape:
        """Return the shape of the first image that decodes, which all must have."""
        reason = "there is none"
        for row, file in enumerate(self.files):
            shape = self._looks[row] = self.look(row)
            if not isinstance(shape, str):
                self.pixels = _room(len(self.files), shape)
                if self._first is not None:
                    self._put(row, self._first)
                return shape
            reason = f"{file.name}: {shape}"
        raise DataError(f"{name} holds no image that can be read ({reason})")

    def look(self, row: int) -> Finding:
        """Return the shape of an image or what is wrong with it; digest and pixels are kept."""
        if row in self._looks:
            return self._looks[row]
        digest, finding = self._known(self.files[row])
        if finding is None:
            try:
                content, digest = self.files[row].read_with_digest(self.digesting)
            except OSError as error:  # not of its content: it may be there the next time
                return _reason(error)
            finding = self.findings.find([digest]).get(digest) or self._decode(row, content)
            self.findings.new[digest] = finding
        self.digests[row] = np.frombuffer(digest, np.uint8)
        return finding

    def _known(self, file: ImageFile) -> tuple[bytes, Finding | None]:
        digest = self._digests.get(file.content, b"") if isinstance(file.content, Path) else b""
        return digest, self._found.get(digest)

    def _decode(self, row: int, content: bytes) -> Finding:
        try:
            picture = decode(content, self.wanted)
        except BROKEN as error:
            return _reason(error)
        if self._first is None:
            self._first = picture
        self._put(row, picture)
        return picture.shape

    def _put(self, row: int, picture: np.ndarray) -> None:
        if self.pixels is not None and picture.shape == self.pixels.shape[1:]:
            self.pixels[row], self.is_decoded[row] = picture, True


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
