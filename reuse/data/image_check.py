"""The look at each image file: its digest, and whether and in which shape it decodes."""

import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from reuse.data.digests import DIGEST_BYTES
from reuse.data.file_digests import FileDigests
from reuse.data.image_findings import ImageFinding, ImageFindings, Shape
from reuse.data.images import ImageFile, in_threads
from reuse.data.pictures import (
    TooManyPixelsError,
    holds_more,
    is_deep,
    opened,
    pixels_of,
    reason,
    shape_of,
    value_range,
)
from reuse.data.preprocessing import Preprocessing
from reuse.devices import free_memory
from reuse.errors import DataError, UnusableImagesError
from reuse.listing import some_of
from reuse.reporting import Reporter
from reuse.units import format_count, verb_of

DECODED_SHARE = 4  # one part in four of the free memory may hold decoded images
LISTED = 5  # files named in an error
KEPT_SECONDS = 2.0  # between two times that it is remembered what has been decoded by then


class ImageCheck:
    """The look at every file; it may be at the headers alone, and what these promise be seen when pixels are needed.

    Args:
        files: the files, in the order of the rows.
        wanted: how they are decoded.
        digesting: what is known of files.
        findings: what is known of images.
        is_late: whether images are decoded when they are asked for, and not at this first look.
        reporter: told of the images that are looked at.

    Attributes:
        digests: uint8 `(n, 16)`, of the files' bytes.
        pixels: what was decoded, uint8 `(n, channels, height, width)`; None where that does not fit in memory.
        is_decoded: bool `(n,)`, which of the pixels are there.
        found: what is known of each image.
    """

    def __init__(
        self,
        files: Sequence[ImageFile],
        wanted: Preprocessing,
        digesting: FileDigests,
        findings: ImageFindings,
        is_late: bool = False,
        reporter: Reporter | None = None,
    ) -> None:
        self._reporter = Reporter() if reporter is None else reporter
        self.files, self.wanted, self.digesting, self.findings = files, wanted, digesting, findings
        self.is_late, self.found = is_late, list[ImageFinding]()
        self.digests, self.is_decoded = np.zeros((len(files), DIGEST_BYTES), np.uint8), np.zeros(len(files), bool)
        self.pixels: np.ndarray | None = None
        self._digests = digesting.recall([file.content for file in files if isinstance(file.content, Path)])
        self._found = findings.find(self._digests.values())
        self._looks: dict[int, ImageFinding] = {}
        self._first: np.ndarray | None = None
        self._lock, self._kept = threading.Lock(), time.monotonic()

    def first_shape(self, name: str) -> Shape:
        """Return the shape of the first image that decodes, which all must have."""
        why = "there is none"
        for row, file in enumerate(self.files):
            finding = self._looks[row] = self.look(row)
            if not finding.reason:
                self.pixels = _room(len(self.files), finding.shape)
                if self._first is not None:
                    self._put(row, self._first)
                return finding.shape
            why = f"{file.name}: {finding.reason}"
            why += f", more than {self.findings.max_pixels:,}: see --max-pixels" if finding.is_large else ""
        raise DataError(f"{name} holds no image that can be read ({why})")

    def look_at_all(self) -> None:
        """Find out about each image; threads are for those of which nothing is known."""
        known = [row in self._looks or self._known(file)[1] is not None for row, file in enumerate(self.files)]
        unknown = iter(self._told([row for row, is_known in enumerate(known) if not is_known]))
        self.found = [self.look(row) if is_known else next(unknown) for row, is_known in enumerate(known)]
        next(unknown, None)  # lets go of the threads and of what is shown
        self.digesting.keep()
        self.findings.keep()

    def _told(self, rows: Sequence[int]) -> Iterator[ImageFinding]:
        """Yield what a look at some images shows, and tell of each."""
        with self._reporter.rows(len(rows), "reading images", "image") as progress:
            for finding in in_threads(self.look, rows):
                progress.advance(1)
                yield finding

    def refuse(self, *, skip_bad: bool = False) -> None:
        """Refuse images that cannot be used or are of another shape than the first.

        Args:
            skip_bad: whether those that cannot be used are set aside.

        Raises:
            UnusableImagesError: there are some; the message names them.
        """
        broken = {row: finding for row, finding in enumerate(self.found) if finding.reason}
        _refuse_broken(self.files, broken, self.findings.max_pixels, skip_bad)
        shapes = {row: finding.shape for row, finding in enumerate(self.found) if finding.shape}
        first = next(iter(shapes.values()))
        _refuse_odd(self.files, {row: shape for row, shape in shapes.items() if shape != first}, first)

    def prove(self, rows: np.ndarray) -> None:
        """Note that images have decoded as they promised."""
        with self._lock:
            promised = [int(row) for row in rows if self.found[row].is_promised]
            for row in promised:
                self.found[row] = replace(self.found[row], is_promised=False)
                self.findings.new[self.digests[row].tobytes()] = self.found[row]
            if promised and (self._kept + KEPT_SECONDS < time.monotonic() or not self._any_promised()):
                self.findings.keep()
                self._kept = time.monotonic()

    def refuse_promises(self) -> None:
        """Look at all images whose headers alone have been read, now that one of them is not what it promised.

        Raises:
            UnusableImagesError: as `refuse`, the same as if all had been decoded at first.
        """
        with self._lock:
            if self._any_promised():
                self.is_late = False
                self._looks = {row: found for row, found in enumerate(self.found) if not found.is_promised}
                self.look_at_all()
            self.refuse()

    def _any_promised(self) -> bool:
        return any(finding.is_promised for finding in self.found)

    def look(self, row: int) -> ImageFinding:
        """Return what decoding shows of an image, or its header promises; digest and pixels are kept."""
        if row in self._looks:
            return self._looks[row]
        file = self.files[row]
        digest, finding = self._known(file)
        if finding is None:
            try:
                content, digest = file.read_with_digest(self.digesting)
            except OSError as error:  # not of its content: it may be there the next time
                return ImageFinding(reason=reason(error, file.name))
            finding = self._of_digest(digest) or self._look_into(row, content)
            self.findings.new[digest] = finding
        self.digests[row] = np.frombuffer(digest, np.uint8)
        return finding

    def _known(self, file: ImageFile) -> tuple[bytes, ImageFinding | None]:
        digest = self._digests.get(file.content, b"") if isinstance(file.content, Path) else b""
        return digest, self._enough(self._found.get(digest))

    def _of_digest(self, digest: bytes) -> ImageFinding | None:
        return self._enough(self.findings.find([digest]).get(digest))

    def _enough(self, finding: ImageFinding | None) -> ImageFinding | None:
        return None if finding is not None and finding.is_promised and not self.is_late else finding

    def _look_into(self, row: int, content: bytes) -> ImageFinding:
        return (self._promise(content) if self.is_late else None) or self._decode(row, content)

    def _promise(self, content: bytes) -> ImageFinding | None:
        """Return what the header of an image says; None where it does not say enough."""
        try:
            with opened(content, self.findings.max_pixels) as image:
                if is_deep(image):
                    return None
                return ImageFinding(shape_of(image, self.wanted), is_promised=True, is_first=holds_more(image))
        except Exception:  # noqa: BLE001 - Pillow raises anything over a damaged file; decoding says what is wrong
            return None

    def _decode(self, row: int, content: bytes) -> ImageFinding:
        try:
            with opened(content, self.findings.max_pixels) as image:
                depth = value_range(image) if self.wanted.white is None and is_deep(image) else None
                wanted = self.wanted if depth is None else replace(self.wanted, white=depth.highest or 1.0)
                picture = pixels_of(image, wanted)
                is_first = holds_more(image)
        except Exception as error:  # noqa: BLE001 - Pillow raises anything over a damaged file
            return ImageFinding(
                reason=reason(error, self.files[row].name), is_large=isinstance(error, TooManyPixelsError)
            )
        if depth is None:
            self._first = picture if self._first is None else self._first
            self._put(row, picture)
        return ImageFinding(picture.shape, depth, is_first=is_first)

    def _put(self, row: int, picture: np.ndarray) -> None:
        if self.pixels is not None and picture.shape == self.pixels.shape[1:]:
            self.pixels[row], self.is_decoded[row] = picture, True


def _room(rows: int, shape: Shape) -> np.ndarray | None:
    """Return room for decoded images, which takes memory as it is filled; None where there is too little."""
    fits = rows * math.prod(shape) <= free_memory(torch.device("cpu")) // DECODED_SHARE
    return np.empty((rows, *shape), np.uint8) if fits else None


def _refuse_broken(files: Sequence[ImageFile], broken: Mapping[int, ImageFinding], most: int, skip_bad: bool) -> None:
    if skip_bad or not broken:
        return
    large = [row for row, finding in broken.items() if finding.is_large]
    damaged = [row for row, finding in broken.items() if not finding.is_large]
    parts = []
    if damaged:
        parts.append(
            f"{format_count(len(damaged), 'broken image')} ({_listed(files, broken, damaged)}): mend "
            f"{verb_of(len(damaged), 'it', 'them')}"
        )
    if large:
        parts.append(
            f"{format_count(len(large), 'image')} of more than {most:,} pixels "
            f"({_listed(files, broken, large)}): make them smaller, "
            "read them with --max-pixels"
        )
    raise UnusableImagesError(f"{'; '.join(parts)}, or set them aside with --skip-bad")


def _listed(files: Sequence[ImageFile], broken: Mapping[int, ImageFinding], rows: Sequence[int]) -> str:
    return some_of([f"{files[row].name}: {broken[row].reason}" for row in rows], LISTED, "; ")


def _refuse_odd(files: Sequence[ImageFile], odd: Mapping[int, Shape], expected: Shape) -> None:
    if odd:
        listed = some_of([f"{files[row].name} is {odd[row][1]}×{odd[row][2]}" for row in sorted(odd)], LISTED)
        raise UnusableImagesError(
            f"images differ in height×width: the first is {expected[1]}×{expected[2]}, {listed}: "
            "say with --image-size which size all shall have"
        )
