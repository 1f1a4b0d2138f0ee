"""Digests of rows: 128 bits of xxHash (XXH3, https://xxhash.com) over a row's content, its type and its shape.

Everything cached is found by these digests, so they depend on a row alone, never on its place or its neighbours.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import xxhash

DIGEST_BYTES = 16
_BLOCK_BYTES = 64 * 2**20


def digest_rows(samples: np.ndarray, rows: np.ndarray, meaning: str = "") -> np.ndarray:
    """Return the digests of `samples[rows]`.

    Args:
        samples: `(n, ...)`, of any number type and memory layout; `samples[i]` is one row.
        rows: int64 `(m,)`, which of them.
        meaning: how equal content differs from what it usually means; empty: it does not.

    Returns:
        uint8 `(m, 16)`.
    """
    seed = seed_of(f"{samples.dtype.str}{samples.shape[1:]}{meaning}")
    row_bytes = samples.dtype.itemsize * int(np.prod(samples.shape[1:]))
    block_rows = max(1, _BLOCK_BYTES // max(1, row_bytes))
    digests = [
        _digest_block(np.ascontiguousarray(_taken(samples, rows[start : start + block_rows])), seed)
        for start in range(0, len(rows), block_rows)
    ]
    return np.concatenate(digests) if digests else np.empty((0, DIGEST_BYTES), np.uint8)


def digest_table(numbers: np.ndarray, texts: Sequence[np.ndarray], columns: str) -> np.ndarray:
    """Return the digests of rows made of numbers and strings.

    Args:
        numbers: float64 `(n, k)`; NaN where a value is missing.
        texts: object arrays `(n,)` of `str`, or None where a value is missing.
        columns: what the columns are called and which of them are numbers.

    Returns:
        uint8 `(n, 16)`.
    """
    numbers = np.where(np.isnan(numbers), np.nan, numbers) + 0.0  # one NaN, and no negative zero
    seed = seed_of(columns)
    if not texts:
        return _digest_block(numbers, seed)
    return stack_digests(
        digest_bytes(row.tobytes() + b"".join(map(_delimited, cells)), seed)
        for row, *cells in zip(numbers, *texts, strict=True)
    )


def digest_bytes(content: bytes, seed: int = 0) -> bytes:
    """Return the 16 bytes of `content`'s digest."""
    return xxhash.xxh3_128_digest(content, seed=seed)


def stack_digests(digests: Iterable[bytes]) -> np.ndarray:
    """Return digests of 16 bytes each as uint8 `(n, 16)`."""
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, DIGEST_BYTES)


def seed_of(description: str) -> int:
    """Return a seed for digests of what `description` says, so that equal bytes of another type or shape differ."""
    return xxhash.xxh3_64_intdigest(description.encode())


def _taken(samples: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return some samples; those that follow one another are not copied."""
    first, count = int(rows[0]), len(rows)
    in_order = first >= 0 and bool((np.diff(rows) == 1).all())
    found: np.ndarray = samples[first : first + count] if in_order else samples[rows]
    return found


def _digest_block(block: np.ndarray, seed: int) -> np.ndarray:
    if block.size == 0:
        return stack_digests([digest_bytes(b"", seed)] * len(block))
    content, row_bytes = memoryview(block.data).cast("B"), block.nbytes // len(block)
    digest = xxhash.xxh3_128_digest
    return stack_digests(digest(content[at : at + row_bytes], seed) for at in range(0, len(content), row_bytes))


def _delimited(text: str | None) -> bytes:
    """Return `text` with its length in front, so that no two rows of cells run together to the same bytes."""
    if text is None:
        return b"-"
    content = text.encode()
    return b"%d:%b" % (len(content), content)
