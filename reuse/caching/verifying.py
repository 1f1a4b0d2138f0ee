"""Checking the units that rows lie in when they are read, each once by each reader.

Whole units of a long run are checked where they were just read to, as long as they are in the processor's cache: from
memory a checksum takes four times as long. All others are checked in the file, through its map.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from reuse.caching.checking import checksum_of, unit_table
from reuse.caching.damage import Damage, DamageError
from reuse.caching.header import Header


class Verifier:
    """Units that the rows of a split lie in, and which of them were found to be what was written.

    Args:
        headers: of the segments.
        segments: position of each row's segment among the headers, `(rows,)` int64.
        rows: its place in that segment, `(rows,)` int64.
        maps: the tensors of the segments that hold rows, mapped into memory, by position among the headers.
    """

    def __init__(
        self,
        headers: Sequence[Header],
        segments: np.ndarray,
        rows: np.ndarray,
        maps: Mapping[int, Sequence[np.ndarray]],
    ) -> None:
        self._headers = headers
        self._checks = {segment: _Checks(headers[segment], tensors) for segment, tensors in maps.items()}
        self._unchecked: dict[int, np.ndarray] = {}
        for segment, header in ((segment, headers[segment]) for segment in maps):
            unchecked = np.zeros(len(header.blocks) * header.block_units, bool)
            unchecked[header.units_of(rows if len(maps) == 1 else rows[segments == segment])] = True
            self._unchecked[segment] = unchecked
        self.is_done = not len(rows)
        self._found: list[Damage] = []

    def awaits(self, segment: int, start: int, stop: int) -> bool:
        """Return whether any unit that rows `start` to `stop` of a segment lie in was not checked yet."""
        first, last = self._headers[segment].units_of(np.array([start, stop - 1])).tolist()
        return bool(self._unchecked[segment][first : last + 1].any())

    def check_read(self, segment: int, start: int, stop: int, contents: Sequence[memoryview]) -> None:
        """Check the whole units among rows of one block that were just read; what is wrong is raised by `check`.

        Args:
            segment: position of the segment among the headers.
            start: the first of the rows.
            stop: the row after the last.
            contents: the bytes of the rows of each tensor.
        """
        wrong_columns, unchecked = self._checks[segment].wrong_columns, self._unchecked[segment]
        for unit, first, end in self._headers[segment].whole_units(start, stop):
            if unchecked[unit]:
                wrong = wrong_columns(unit, first - start, end - start, contents)
                unchecked[unit] = bool(wrong)
                self._found += self._damage(segment, [(unit, column) for column in wrong]) if wrong else []

    def check(self, segments: np.ndarray, rows: np.ndarray) -> None:
        """Check the units of rows that were not checked yet.

        Args:
            segments: position of each row's segment among the headers, `(rows,)` int64.
            rows: its place in that segment, `(rows,)` int64.

        Raises:
            DamageError: some are not what was written.
        """
        found = list(self._found)
        for segment, unchecked in self._unchecked.items():
            if not unchecked.any():
                continue
            header = self._headers[segment]
            units = header.units_of(rows if len(self._unchecked) == 1 else rows[segments == segment])
            units = units[unchecked[units]]
            if len(units):
                found += self._wrong(segment, np.unique(units))
        if found:
            raise DamageError(list(dict.fromkeys(found)))
        self.is_done = not any(unchecked.any() for unchecked in self._unchecked.values())

    def _wrong(self, segment: int, units: np.ndarray) -> list[Damage]:
        found = self._checks[segment].wrong(units)
        self._unchecked[segment][units] = False
        self._unchecked[segment][[unit for unit, _ in found]] = True
        return self._damage(segment, found)

    def _damage(self, segment: int, found: Sequence[tuple[int, int]]) -> list[Damage]:
        header = self._headers[segment]
        starts, stops = header.bounds(np.array([unit for unit, _ in found], np.int64))
        return [
            Damage(header.path, unit // header.block_units, start, stop, header.frontier[column].name)
            for (unit, column), start, stop in zip(found, starts.tolist(), stops.tolist(), strict=True)
        ]


class _Checks:
    """The checksums of a segment's units, and the bytes of its tensors."""

    def __init__(self, header: Header, tensors: Sequence[np.ndarray]) -> None:
        self._header = header
        self._recorded = np.array(unit_table(header)).reshape(-1, len(tensors))  # in memory: it is small
        self._content = [np.asarray(tensor).reshape(-1).view(np.uint8).data for tensor in tensors]
        self._take, self._sizes = checksum_of(header), [place.row_bytes for place in header.tensors]

    def wrong_columns(self, unit: int, start: int, stop: int, contents: Sequence[memoryview]) -> list[int]:
        """Return the tensors of which rows `start` to `stop` of what was read do not have the checksum of a unit."""
        now = [
            self._take(content[start * size : stop * size]) for content, size in zip(contents, self._sizes, strict=True)
        ]
        recorded = self._recorded[unit].tolist()
        return [] if now == recorded else [at for at, found in enumerate(now) if found != recorded[at]]

    def wrong(self, units: np.ndarray) -> list[tuple[int, int]]:
        """Return the units, and of each the number of the tensor, that do not have their checksum."""
        take, (starts, stops) = self._take, self._header.bounds(units)
        found = []
        for column, (size, content) in enumerate(zip(self._sizes, self._content, strict=True)):
            bounds = zip((starts * size).tolist(), (stops * size).tolist(), strict=True)
            now = np.array([take(content[start:stop]) for start, stop in bounds], self._recorded.dtype)
            found += [(unit, column) for unit in units[now != self._recorded[units, column]].tolist()]
        return found
