"""One encoded picture as pixels: upright, in 8 bits, on one ground."""

import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from reuse.data.image_formats import FOREIGN, readable_formats, suffix_of
from reuse.data.preprocessing import Preprocessing
from reuse.data.resizing import IMAGE_MODES, resize_picture
from reuse.menus import lookup

MOST_PIXELS = 178_956_970  # as Pillow: half a gigabyte of colour
# How the files begin that hold pictures with sizes of their own: BLP, ICNS, ICO, IPTC, FPX and MIC.
HOLDING = (b"BLP1", b"BLP2", b"icns", b"\0\0\1\0", b"\x1c", b"\xd0\xcf\x11\xe0")
# Netpbm's files begin with numbers and comments of any length, which Pillow reads letter by letter.
GAP, HEADER_BYTES = rb"(?:\s|#[^\r\n]*[\r\n])*+", 2**16
NETPBM = re.compile(rb"P[1-6]")
NETPBM_SIZES = re.compile(rb"P(?:[14](?:%b\d+){2}|[2356](?:%b\d+){3})" % (GAP, GAP))
BLOCK_PIXELS = 2**20  # that are brought to 8 bits at a time
GROUND = (255, 255, 255)  # what shows through transparent parts: paper, as in most viewers
# What brings a picture that is stored turned or mirrored back, by its EXIF orientation.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
TURNED_ASIDE = tuple(UPRIGHT[orientation] for orientation in (5, 6, 7, 8))  # height becomes width


class TooManyPixelsError(ValueError):
    """A picture larger than what is read."""


@dataclass(frozen=True)
class ValueRange:
    """The values of a picture that is deeper than 8 bits.

    Attributes:
        highest: of all its pixels.
        is_whole: whether they are whole numbers.
    """

    highest: float
    is_whole: bool


class _PillowsLimit:
    """Pillow's own limit on pixels, which holds for the whole process, in place of which there is one of ours."""

    def __init__(self) -> None:
        self._lock = threading.RLock()

    @contextmanager
    def set_to(self, limit: int | None) -> Iterator[None]:
        """Be the only one for whom it is `limit`, None: there is none.

        Pillow warns beyond it, and refuses what has twice as many pixels.
        """
        with self._lock:
            before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, limit
            try:
                yield
            finally:
                Image.MAX_IMAGE_PIXELS = before


_LIMIT = _PillowsLimit()


@contextmanager
def without_pillows_warnings() -> Iterator[None]:
    """Keep what Pillow says of odd files to itself for a block: each file is used, or refused with a reason."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


@contextmanager
def opened(content: bytes, max_pixels: int) -> Iterator[Image.Image]:
    """Give an encoded picture, of which nothing but the header is read.

    Raises:
        TooManyPixelsError: it has more than `max_pixels`.
        ValueError: it is empty, or its header is longer than that of any picture.
    """
    if not content:
        raise ValueError("it is empty")
    if NETPBM.match(content) and not NETPBM_SIZES.match(content[:HEADER_BYTES]):
        raise ValueError(f"no height and width stand in its first {HEADER_BYTES} bytes")
    with _within(max_pixels) if content.startswith(HOLDING) else nullcontext() as limited:
        with nullcontext() if limited else _LIMIT.set_to(None):  # while a header is read, which takes a moment
            image = Image.open(BytesIO(content), formats=readable_formats())
        with image:
            if image.width * image.height > max_pixels:
                raise TooManyPixelsError(f"{image.width}×{image.height} pixels")
            yield image


@contextmanager
def _within(max_pixels: int) -> Iterator[bool]:
    """Have Pillow refuse pictures within a picture that are twice as large as pictures may be."""
    try:
        with _LIMIT.set_to(max_pixels):
            yield True
    except Image.DecompressionBombError as error:
        raise TooManyPixelsError("a picture within it") from error


def decode(content: bytes, preprocessing: Preprocessing, max_pixels: int = MOST_PIXELS) -> np.ndarray:
    """Return an encoded picture as uint8 `(channels, height, width)`."""
    with opened(content, max_pixels) as image:
        return pixels_of(image, preprocessing)


def pixels_of(image: Image.Image, preprocessing: Preprocessing) -> np.ndarray:
    """Return an opened picture as uint8 `(channels, height, width)`, turned, composed on one ground, and resized.

    Args:
        image: the picture; of those that move, the first frame.
        preprocessing: its channels and size, and what is white where it is deeper than 8 bits.

    Raises:
        ValueError: values beyond white, or below 0.
    """
    upright = _upright(image)
    if is_deep(upright):
        assert preprocessing.white is not None
        upright = _in_8_bits(upright, preprocessing.white)
    channels = str(preprocessing.channels or 3)
    mode = lookup({str(n): mode for n, mode in IMAGE_MODES.items()}, channels, "number of channels")
    return resize_picture(_on_ground(upright, mode), preprocessing)


def shape_of(image: Image.Image, preprocessing: Preprocessing) -> tuple[int, int, int]:
    """Return in which shape an opened picture will decode, going by its header."""
    height, width = preprocessing.image_size or (image.height, image.width)
    if preprocessing.image_size is None and _turn(image) in TURNED_ASIDE:
        height, width = width, height
    return preprocessing.channels or 3, height, width


def is_deep(image: Image.Image) -> bool:
    """Return whether a picture holds grey of more than 8 bits; colour of 16 bits is brought to 8 by Pillow."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def holds_more(image: Image.Image) -> bool:
    """Return whether a file holds more pictures, as frames or pages; a telephone's second view (MPO) is none."""
    return image.format in ("GIF", "TIFF", "PNG", "WEBP", "AVIF") and getattr(image, "is_animated", False)


def value_range(image: Image.Image) -> ValueRange:
    """Return the values of a picture that is deeper than 8 bits.

    Raises:
        ValueError: one is below 0, or not finite.
    """
    return _range_of(np.asarray(image))


def _range_of(values: np.ndarray) -> ValueRange:
    lowest, highest = float(values.min()), float(values.max())
    if not np.isfinite([lowest, highest]).all() or lowest < 0:
        raise ValueError(f"grey with values from {lowest:g} to {highest:g}: bring them between 0 and white")
    return ValueRange(highest, values.dtype.kind in "iu")


def reason(error: BaseException, name: str) -> str:
    """Return in words why a file cannot be used."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    if not isinstance(error, UnidentifiedImageError):
        return text
    advice = FOREIGN.get(suffix_of(name))
    return f"not read by the Pillow that is installed: {advice}" if advice else "not an image"


def _upright(image: Image.Image) -> Image.Image:
    image.load()
    turn = _turn(image)
    return image if turn is None else image.transpose(turn)


def _turn(image: Image.Image) -> Image.Transpose | None:
    try:  # the other tags are nobody's business, and those of cameras are often odd
        return UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # noqa: BLE001 - Pillow raises anything over odd tags; whoever has none is upright
        return None


def _in_8_bits(image: Image.Image, white: float) -> Image.Image:
    values = np.asarray(image)
    found = _range_of(values)
    if found.highest > white:
        raise ValueError(f"grey with values up to {found.highest:g}, where white is {white:g}")
    if not found.is_whole and 0 < found.highest <= 1 < white:
        raise ValueError(f"grey with values between 0 and {found.highest:g}, where white is {white:g}")
    levels, step = np.empty(values.shape, np.uint8), max(1, BLOCK_PIXELS // values.shape[1])
    for start in range(0, len(values), step):
        levels[start : start + step] = np.round(values[start : start + step].astype(np.float64) * (255 / white))
    return Image.fromarray(levels)


def _on_ground(image: Image.Image, mode: str) -> Image.Image:
    """Return a picture in a mode; what cannot be seen of it has one colour."""
    if "transparency" not in image.info and image.mode not in ("RGBA", "LA", "PA", "RGBa", "La"):
        return image if image.mode == mode else image.convert(mode)
    image = image if image.mode == "RGBA" else image.convert("RGBA")
    if mode == "RGBA":
        pixels = np.array(image)
        pixels[pixels[..., 3] == 0, :3] = GROUND
        return Image.fromarray(pixels)
    ground = Image.new("RGBA", image.size, (*GROUND, 255))
    ground.alpha_composite(image)
    return ground.convert(mode)
