"""The heap of the C library, which returns freed memory to the system and takes it anew, step after step.

A training step frees what it has computed, and the next one needs as much again. GNU's library returns it in between,
and the system sets each page to 0 before it hands it out: a fifth of a small convnet's time where batches are large.
"""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from reuse.overlapping import Overlapping

TRIM, MAPPED = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
KEPT = {MAPPED: 2**30, TRIM: 2**31 - 1}
"""Bytes of a block that is mapped by itself, and bytes that are kept at the end of the heap."""
AS_BEFORE = {MAPPED: 2**25, TRIM: 2**26}
"""What the library itself comes to where large blocks are freed; older ones take no larger block."""


@contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Keep what is freed inside the block for what is computed next; at its end all of it goes back to the system.

    Blocks may overlap: the last one to end gives it back. Nothing is done where the C library is not GNU's (musl,
    macOS, Windows) or the environment says how it allocates (`MALLOC_…_`, `GLIBC_TUNABLES`).
    """
    library = _gnu_library()
    if library is None or any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        yield
        return
    with _KEEPING:
        yield


def give_back_freed_memory() -> None:
    """Give back to the system what GNU's C library has freed and keeps; others are left alone."""
    library = _gnu_library()
    if library is not None:
        library.malloc_trim(0)


def _end() -> None:
    _set(_gnu_library(), AS_BEFORE)
    give_back_freed_memory()


def _set(library: Any, sizes: dict[int, int]) -> None:
    for parameter, size in sizes.items():
        if not library.mallopt(parameter, size):  # any call ends what the library chooses by itself: say the most
            library.mallopt(parameter, AS_BEFORE[parameter])


@cache
def _gnu_library() -> Any:
    """Return GNU's C library, None where there is another."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None


_KEEPING = Overlapping(lambda: _set(_gnu_library(), KEPT), _end)
