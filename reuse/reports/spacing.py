"""Some of many, evenly spread, where all would be too many to show."""

import numpy as np


def spread(count: int, most: int) -> list[int]:
    """Return places from the first to the last of `count`, at most so many.

    Example:
        >>> spread(9, 3), spread(2, 3)
        ([0, 4, 8], [0, 1])
    """
    places: list[int] = np.linspace(0, count - 1, min(count, most)).round().astype(np.int64).tolist()
    return places
