"""The clock of a ranking: what its parts take, of wall and of processor time."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Wall-clock and processor seconds of each part of a task."""

    def __init__(self) -> None:
        self._began = self._now()
        self._parts: dict[str, tuple[float, float]] = {}

    @contextmanager
    def measuring(self, part: str) -> Iterator[None]:
        """Measure a block."""
        began = self._now()
        try:
            yield
        finally:
            self._parts[part] = self._since(began)

    def seconds(self) -> dict[str, dict[str, float]]:
        """Return the seconds of each part and of all, by clock."""
        parts = {**self._parts, "total": self._since(self._began)}
        clocks = ("wall", "processor")
        return {
            clock: {name: round(own[place], 4) for name, own in parts.items()} for place, clock in enumerate(clocks)
        }

    @staticmethod
    def _now() -> tuple[float, float]:
        return time.perf_counter(), time.process_time()

    def _since(self, began: tuple[float, float]) -> tuple[float, float]:
        wall, processor = self._now()
        return wall - began[0], processor - began[1]
