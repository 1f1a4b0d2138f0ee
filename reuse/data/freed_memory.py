"""Memory that was freed and is kept for later, given back to the system before the next large step of reading a table.

A table is read in steps, each of which needs room of its own beside the columns; what is kept of the last step's is
seldom in pieces that the next one can use, so that the largest size of a process would be the sum of both.
"""

import ctypes
import sys
from functools import cache
from typing import Any

import pyarrow as pa


def give_back() -> None:
    """Give back to the system what arrow and, on Linux with GNU's library, the C library have freed and keep."""
    pa.default_memory_pool().release_unused()
    trim = _c_trim()
    if trim is not None:
        trim(0)


@cache
def _c_trim() -> Any:
    """Return GNU's `malloc_trim`, None where there is none (musl, macOS, Windows)."""
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
