"""Blocks that change something of the whole process, in one thread or several at the same time."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from threading import Lock


class Overlapping(AbstractContextManager[None]):
    """Does something as the first of several blocks begins, and undoes it as the last of them ends.

    Args:
        begin: what the first one does.
        end: what the last one does.
    """

    def __init__(self, begin: Callable[[], object], end: Callable[[], object]) -> None:
        self._begin, self._end, self._inside, self._lock = begin, end, 0, Lock()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._begin()
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._end()
