"""The value that stands for white: told from the values of a whole data set, as one picture may be dark."""

import math

BYTE_MAXIMUM = 255
WHITE_OF_16_BITS = 2.0**16 - 1
BRIGHT = 128  # a data set whose values reach it, and not beyond 255, counts to 255


def white_of(highest: float, *, is_whole: bool) -> float:
    """Return the value of white where a data set of pictures deeper than 8 bits goes up to `highest`.

    Whole numbers count to the end of the bits that they fill, at least 8: 10, 12, 14, 16 and so on; numbers with a
    point to 1, to 255, or to such an end.
    """
    if not is_whole and highest <= 1:
        return 1.0
    bits = max(8, 2 * math.ceil(math.log2(max(highest, 1) + 1) / 2))
    return float(2**bits - 1)
