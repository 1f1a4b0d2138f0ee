"""Arrays of sequences as they come: numbers `(n, time, features)`, tokens `(n, time)`, and the names of tokens."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np

from reuse.data.arrays import refuse_unusable
from reuse.data.raw import Options
from reuse.data.scales import BYTE_MAXIMUM
from reuse.errors import DataError

LARGEST_TOKEN = 2**31 - 1  # what is larger is a hash or an identifier, and an embedding for it would not fit anywhere

LEAST_PIXELS = 4
NO_PICTURES = (
    "x (rows, time, features) holds numbers that no picture has: read as sequences, standardised by feature; give "
    "(rows, 1, height, width) where they are pictures"
)


def fit_length(rows: np.ndarray, length: int) -> np.ndarray:
    """Return `(n, length)`: the first tokens of each row, filled up with 0."""
    kept = rows[:, :length]
    return np.pad(kept, ((0, 0), (0, length - kept.shape[1])))


def as_steps(x: object, name: str) -> np.ndarray:
    """Return an array as sequences of feature vectors `(n, time, features)`; two dimensions are of one feature.

    Raises:
        DataError: not numbers, other dimensions, nothing in it, or a value that is missing or infinite.
    """
    try:
        array = np.asarray(x)
    except ValueError as error:
        raise DataError(f"{name} is not an array ({error}): give every row as many steps as the others") from error
    if array.dtype.kind not in "biuf" or array.ndim not in (2, 3) or array.size == 0:
        raise DataError(
            f"{name} holds {array.dtype} values of shape {array.shape}: expected sequences of numbers "
            "(rows, time, features), or tokens (rows, time)"
        )
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    steps = array[:, :, None] if array.ndim == 2 else array
    refuse_unusable(steps, name)
    return steps


def as_tokens(x: object, name: str) -> np.ndarray:
    """Return whole numbers as int64 `(n, time)`; rows of different lengths are filled up with 0 behind.

    Raises:
        DataError: other values, other dimensions, a number that cannot be a token's, or nothing in it.
    """
    array = _filled_up(x, name)
    if array.dtype.kind not in "iu" or array.ndim != 2 or array.size == 0:
        raise DataError(
            f"{name} holds {array.dtype} values of shape {array.shape}: expected tokens, whole numbers (rows, time)"
        )
    negative = np.argwhere(array < 0)
    if len(negative):
        row, place = negative[0].tolist()
        raise DataError(f"{name} holds {array[row, place]} in row {row} (from 0): tokens are whole numbers from 0")
    if array.max() > LARGEST_TOKEN:
        raise DataError(
            f"{name} holds {array.max()}, and each token up to the largest has weights of its own: number what occurs "
            f"from 1 on, so that none is above {LARGEST_TOKEN}"
        )
    return array.astype(np.int64)


def are_tokens(x: object) -> bool:
    """Return whether `x` holds rows of whole numbers."""
    try:
        array = np.asarray(x)
    except ValueError:
        return True  # rows of different lengths
    return array.dtype.kind == "O" or (array.dtype.kind in "iu" and array.ndim == 2)


def joined_tokens(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return the rows of several arrays of tokens as one array, as wide as the widest."""
    width = max(part.shape[1] for part in parts)
    return np.concatenate([fit_length(part, width) for part in parts])


def read_vocabulary(given: Any, name: str) -> tuple[int | None, tuple[str, ...]]:
    """Return how many tokens an array `vocabulary` says there are, and what they are called.

    Args:
        given: one whole number, `(tokens,)` strings, or None.
        name: what the user called the data.

    Raises:
        DataError: anything else.
    """
    if given is None:
        return None, ()
    array = np.asarray(given)
    if array.ndim == 0 and array.dtype.kind in "iu" and array > 1:
        return int(array), ()
    if array.ndim == 1 and array.dtype.kind in "OSU" and len(array) > 1:
        return len(array), tuple(map(str, array.astype(str).tolist()))
    raise DataError(
        f"{name}: vocabulary is {array.dtype} of shape {array.shape}: expected how many tokens there are, padding "
        "among them, or what each is called"
    )


def _filled_up(x: Any, name: str) -> np.ndarray:
    try:
        array = np.asarray(x)
    except ValueError:
        array = np.empty(0, object)
    if array.dtype.kind != "O":
        return array
    try:
        return np.array(list(zip_longest(*x, fillvalue=0))).T
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} is neither an array nor rows of tokens ({error}): give whole numbers") from error


def are_no_pictures(given: Mapping[str, Any], options: Options) -> bool:
    """Return whether arrays `(n, time, features)` would be taken for grey pictures and are none.

    No picture is less than 4 pixels high or wide, and none has values both below 0 and above 255.
    """
    if options.preprocessing is not None or options.image_size is not None or options.channels is not None:
        return False
    arrays = [array for array in given.values() if isinstance(array, np.ndarray)]
    if len(arrays) < len(given) or any(x.ndim != 3 or x.dtype.kind != "f" or not x.size for x in arrays):
        return False
    narrow = min(arrays[0].shape[1:]) < LEAST_PIXELS
    return narrow or bool(min(x.min() for x in arrays) < 0 and max(x.max() for x in arrays) > BYTE_MAXIMUM)
