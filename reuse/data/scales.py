"""The value that stands for white: told from the values of a whole data set, as one picture may be dark."""

import math
from dataclasses import dataclass, replace

import numpy as np

from reuse.data.inputs import BLOCK_ROWS
from reuse.data.preprocessing import Preprocessing
from reuse.errors import DataError

BYTE_MAXIMUM = 255.0
WHITE_OF_16_BITS = 2.0**16 - 1
BRIGHT = 128  # a data set whose values reach it, and not beyond 255, counts to 255
FAINT = 8  # white is so much or more: what goes up to 1 is no picture in that scale, but one that counts to 1


def white_of(highest: float, *, is_whole: bool) -> float:
    """Return the value of white where a data set of pictures deeper than 8 bits goes up to `highest`.

    Whole numbers count to the end of the bits that they fill, at least 8: 10, 12, 14, 16 and so on; numbers with a
    point to 1, to 255, or to such an end.
    """
    if not is_whole and highest <= 1:
        return 1.0
    bits = max(8, 2 * math.ceil(math.log2(max(highest, 1) + 1) / 2))
    return float(2**bits - 1)


def with_white(preprocessing: Preprocessing) -> Preprocessing:
    """Return the preprocessing of a run as it is used on other data, where white is no longer told from the data.

    Where the run learned from pictures of 8 bits alone, those of 16 mean all of them.
    """
    if preprocessing.kind != "images" or preprocessing.white is not None:
        return preprocessing
    return replace(preprocessing, white=WHITE_OF_16_BITS)


@dataclass(frozen=True)
class PixelValues:
    """The values of images in an array.

    Attributes:
        lowest: of all.
        highest: of all.
        are_bytes: whether they count to 255 by their type.
        are_whole: whether their type holds whole numbers.
        are_shares: whether they count to 1 by their looks: some lie between 0 and 1, none above; or are truth values.
    """

    lowest: float
    highest: float
    are_bytes: bool
    are_whole: bool
    are_shares: bool = False

    @classmethod
    def of(cls, images: np.ndarray) -> "PixelValues":
        """Return the values of images `(n, ...)`; those of bytes are not looked at."""
        if images.dtype == np.uint8:
            return cls(0.0, BYTE_MAXIMUM, True, True)
        blocks = [images[start : start + BLOCK_ROWS] for start in range(0, len(images), BLOCK_ROWS)]
        lowest = min((float(block.min()) for block in blocks if block.size), default=0.0)
        highest = max((float(block.max()) for block in blocks if block.size), default=0.0)
        if images.dtype.kind in "iu":
            return cls(lowest, highest, False, True)
        are_shares = images.dtype == bool or (highest <= 1 and any(bool((block % 1 != 0).any()) for block in blocks))
        return cls(lowest, highest, False, False, are_shares)

    @property
    def count_to_255(self) -> bool:
        """Whether they are bytes, or look like bytes in another type."""
        return self.are_bytes or (self.lowest >= 0 and BRIGHT <= self.highest <= BYTE_MAXIMUM)


def divisor_like(values: PixelValues, learned: Preprocessing, name: str) -> float:
    """Return what brings images to the scale that a model learned: 0 to 1, whichever way they and its own count.

    Raises:
        DataError: values that cannot be on the scale of the model's images, or on none that can be told.
    """
    subject = name if name not in ("", "arrays") else "what was given"
    found = f"{subject} holds images with values from {values.lowest:g} to {values.highest:g}"
    if learned.signed:
        if values.count_to_255:
            raise DataError(f"{found}, and the model learned from values below and above 0: prepare them like those")
        return learned.divisor
    if values.lowest < 0:
        raise DataError(f"{found}, and the model takes 0 to {learned.divisor:g}: give pixels that are not normalised")
    if values.are_shares and learned.divisor >= FAINT:
        return 1.0
    if learned.divisor not in (1.0, BYTE_MAXIMUM):
        if values.are_bytes or values.highest <= learned.divisor or not values.count_to_255:
            return learned.divisor
        raise DataError(f"{found}, and those that the model learned from end at {learned.divisor:g}: scale them alike")
    if values.count_to_255:
        return BYTE_MAXIMUM
    if values.highest <= 1 and not (values.are_whole and learned.divisor == BYTE_MAXIMUM):
        return 1.0
    if values.highest <= learned.divisor:
        return learned.divisor
    raise DataError(f"{found}, and the model takes 0 to 1 or 0 to 255: divide them by what is white")
