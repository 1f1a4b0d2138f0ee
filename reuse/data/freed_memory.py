"""Memory that was freed and is kept for later, given back to the system before the next large step of reading a table.

A table is read in steps, each of which needs room of its own beside the columns; what is kept of the last step's is
seldom in pieces that the next one can use, so that the largest size of a process would be the sum of both.
"""

from __future__ import annotations

from reuse.data.table_libraries import pa
from reuse.heap import give_back_freed_memory


def give_back() -> None:
    """Give back to the system what arrow and, on Linux with GNU's library, the C library have freed and keep."""
    pa.default_memory_pool().release_unused()
    give_back_freed_memory()
