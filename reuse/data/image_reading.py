"""Reading image files: each is digested and decoded once, in several threads; what cannot be used is named."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from reuse.data.digests import DIGEST_BYTES
from reuse.data.file_digests import FileDigests
from reuse.data.image_findings import ImageFinding, ImageFindings, Shape
from reuse.data.images import IMAGE_SEED, ImageFile, ImageSamples, in_threads
from reuse.data.pictures import (
    MOST_PIXELS,
    TooManyPixelsError,
    is_deep,
    opened,
    pixels_of,
    reason,
    value_range,
    without_pillows_warnings,
)
from reuse.data.preprocessing import Preprocessing
from reuse.data.raw import Options, refuse_other_kind
from reuse.data.scales import white_of
from reuse.devices import free_memory
from reuse.errors import DataError

DECODED_SHARE = 4  # one part in four of the free memory may hold decoded images
LISTED = 5  # files named in an error


def read_images(files: Sequence[ImageFile], name: str, options: Options) -> ImageSamples:
    """Return image files as samples: every one is read, digested and decoded, or known from an earlier run.

    Pictures deeper than 8 bits are brought to 8 by one white for the whole data set: that of the preprocessing, else
    the end of the bits that all of them together fill.

    Args:
        files: the files, in the order of the rows.
        name: what the user called the data set.
        options: `image_size`, `channels` (3 unless given), `preprocessing`, `max_pixels`, `skip_bad`: set broken
            images aside, and `hints`, where what is known of files is remembered.

    Raises:
        DataError: broken images, unless they are to be skipped; sizes that differ where no size is asked for.
    """
    wanted = options.preprocessing or Preprocessing(
        "images", 255.0, image_size=options.size, channels=options.channels or 3
    )
    refuse_other_kind(wanted, "images", name)
    most = options.max_pixels or MOST_PIXELS
    findings = ImageFindings(options.hints, wanted, most)
    check = _ImageCheck(files, wanted, FileDigests(options.hints, IMAGE_SEED), findings)
    with without_pillows_warnings():
        first = check.first_shape(name)
        found = check.look_at_all()
    check.digesting.keep()
    check.findings.keep()
    broken = {row: finding for row, finding in enumerate(found) if finding.reason}
    _refuse_broken(files, broken, most, options.skip_bad)
    _refuse_odd(files, {row: f.shape for row, f in enumerate(found) if f.shape and f.shape != first}, first)
    white, notes = _white(files, found)
    reasons = {row: finding.reason for row, finding in broken.items()}
    preprocessing = replace(wanted, image_size=(first[1], first[2]), white=white or wanted.white)
    return ImageSamples(
        files, preprocessing, check.pixels, check.is_decoded, check.digests, reasons, max_pixels=most, notes=notes
    )


def _white(files: Sequence[ImageFile], found: Sequence[ImageFinding]) -> tuple[float | None, tuple[str, ...]]:
    """Return the white of the pictures that wait for one, and a note on it; None where there are none.

    Raises:
        DataError: some hold whole numbers and some do not.
    """
    depths = {row: finding.depth for row, finding in enumerate(found) if finding.depth is not None}
    if not depths:
        return None, ()
    examples = {depth.is_whole: files[row].name for row, depth in depths.items()}
    if len(examples) > 1:
        raise DataError(
            f"{examples[True]} holds whole numbers beyond 8 bits, and {examples[False]} numbers with a point: there is "
            "no scale for both, so convert one kind"
        )
    highest = max(depth.highest for depth in depths.values())
    white = white_of(highest, is_whole=True in examples)
    return white, (f"{len(depths)} images are deeper than 8 bits: white is {white:g}, their largest value {highest:g}",)


def _room(rows: int, shape: Shape) -> np.ndarray | None:
    """Return room for decoded images, which takes memory as it is filled; None where there is too little."""
    fits = rows * math.prod(shape) <= free_memory(torch.device("cpu")) // DECODED_SHARE
    return np.empty((rows, *shape), np.uint8) if fits else None


class _ImageCheck:
    """The first look at every file: its digest, and whether and in which shape it decodes."""

    def __init__(
        self, files: Sequence[ImageFile], wanted: Preprocessing, digesting: FileDigests, findings: ImageFindings
    ) -> None:
        self.files, self.wanted, self.digesting, self.findings = files, wanted, digesting, findings
        self.digests, self.is_decoded = np.zeros((len(files), DIGEST_BYTES), np.uint8), np.zeros(len(files), bool)
        self.pixels: np.ndarray | None = None
        self._digests = digesting.recall([file.content for file in files if isinstance(file.content, Path)])
        self._found = findings.find(self._digests.values())
        self._looks: dict[int, ImageFinding] = {}
        self._first: np.ndarray | None = None

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

    def look_at_all(self) -> list[ImageFinding]:
        """Return what decoding shows of each image; threads are for those of which it is not known."""
        known = [self._known(file)[1] is not None for file in self.files]
        unknown = iter(in_threads(self.look, [row for row, is_known in enumerate(known) if not is_known]))
        return [self.look(row) if is_known else next(unknown) for row, is_known in enumerate(known)]

    def look(self, row: int) -> ImageFinding:
        """Return what decoding shows of an image; digest and pixels are kept."""
        if row in self._looks:
            return self._looks[row]
        file = self.files[row]
        digest, finding = self._known(file)
        if finding is None:
            try:
                content, digest = file.read_with_digest(self.digesting)
            except OSError as error:  # not of its content: it may be there the next time
                return ImageFinding(reason=reason(error, file.name))
            finding = self.findings.find([digest]).get(digest) or self._decode(row, content)
            self.findings.new[digest] = finding
        self.digests[row] = np.frombuffer(digest, np.uint8)
        return finding

    def _known(self, file: ImageFile) -> tuple[bytes, ImageFinding | None]:
        digest = self._digests.get(file.content, b"") if isinstance(file.content, Path) else b""
        return digest, self._found.get(digest)

    def _decode(self, row: int, content: bytes) -> ImageFinding:
        try:
            with opened(content, self.findings.max_pixels) as image:
                depth = value_range(image) if self.wanted.white is None and is_deep(image) else None
                wanted = self.wanted if depth is None else replace(self.wanted, white=depth.highest or 1.0)
                picture = pixels_of(image, wanted)
        except Exception as error:  # noqa: BLE001 - Pillow raises anything over a damaged file
            return ImageFinding(
                reason=reason(error, self.files[row].name), is_large=isinstance(error, TooManyPixelsError)
            )
        if depth is None:
            self._first = picture if self._first is None else self._first
            self._put(row, picture)
        return ImageFinding(picture.shape, depth)

    def _put(self, row: int, picture: np.ndarray) -> None:
        if self.pixels is not None and picture.shape == self.pixels.shape[1:]:
            self.pixels[row], self.is_decoded[row] = picture, True


def _refuse_broken(files: Sequence[ImageFile], broken: Mapping[int, ImageFinding], most: int, skip_bad: bool) -> None:
    if skip_bad or not broken:
        return
    large = [row for row, finding in broken.items() if finding.is_large]
    damaged = [row for row, finding in broken.items() if not finding.is_large]
    parts = []
    if damaged:
        parts.append(f"{len(damaged)} broken images ({_listed(files, broken, damaged)}): mend them")
    if large:
        parts.append(
            f"{len(large)} images of more than {most:,} pixels ({_listed(files, broken, large)}): make them smaller, "
            "read them with --max-pixels"
        )
    raise DataError(f"{'; '.join(parts)}, or set them aside with --skip-bad")


def _listed(files: Sequence[ImageFile], broken: Mapping[int, ImageFinding], rows: Sequence[int]) -> str:
    listed = "; ".join(f"{files[row].name}: {broken[row].reason}" for row in rows[:LISTED])
    return listed + (f" and {len(rows) - LISTED} more" if len(rows) > LISTED else "")


def _refuse_odd(files: Sequence[ImageFile], odd: Mapping[int, Shape], expected: Shape) -> None:
    if odd:
        listed = ", ".join(f"{files[row].name} is {odd[row][1]}×{odd[row][2]}" for row in sorted(odd)[:LISTED])
        more = f" and {len(odd) - LISTED} more" if len(odd) > LISTED else ""
        raise DataError(
            f"images differ in height×width: the first is {expected[1]}×{expected[2]}, {listed}{more}: "
            "say with --image-size which size all shall have"
        )
