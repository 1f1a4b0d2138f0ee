"""Checking the units that rows lie in when they are read, each once by each reader.

To take checksums whenever rows are read would cost as much as reading them from memory; once costs a part of an epoch.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from reuse.caching.checking import checksum_of, unit_table
from reuse.caching.damage import Damage, DamageError
from reuse.caching.segment import Header


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

    def check(self, segments: np.ndarray, rows: np.ndarray) -> None:
        """Check the units of rows that were not checked yet.

        Args:
            segments: position of each row's segment among the headers, `(rows,)` int64.
            rows: its place in that segment, `(rows,)` int64.

        Raises:
            DamageError: some are not what was written.
        """
        found: list[Damage] = []
        for segment, unchecked in self._unchecked.items():
            header = self._headers[segment]
            units = header.units_of(rows if len(self._unchecked) == 1 else rows[segments == segment])
            units = units[unchecked[units]]
            if len(units):
                found += self._wrong(segment, np.unique(units))
        if found:
            raise DamageError(found)
        self.is_done = not any(unchecked.any() for unchecked in self._unchecked.values())

    def wrong_units(self, segment: int, block: int) -> list[Damage] | None:
        """Return what is wrong with the units of a block that rows of the split lie in; None: no unit is wrong at all.

        Others may be: those whose rows were set aside.
        """
        header = self._headers[segment]
        found = self._wrong(segment, np.unique(header.units_of(np.arange(*header.blocks[block]))))
        needed = [self._unchecked[segment][header.units_of(np.array([damage.start]))[0]] for damage in found]
        return [damage for damage, is_needed in zip(found, needed, strict=True) if is_needed] if found else None

    def take_block(self, segment: int, block: int) -> None:
        """Note that a whole block was found to be what was written."""
        each = self._headers[segment].block_units
        self._unchecked[segment][block * each : (block + 1) * each] = False

    def _wrong(self, segment: int, units: np.ndarray) -> list[Damage]:
        found = self._checks[segment].wrong(units)
        header = self._headers[segment]
        unchecked, damaged = self._unchecked[segment], [unit for unit, _ in found]
        as_before = unchecked[damaged]  # of those among them whose rows were set aside no row is needed
        unchecked[units] = False
        unchecked[damaged] = as_before
        starts, stops = header.bounds(np.array([unit for unit, _ in found], np.int64))
        return [
            Damage(header.path, unit // header.block_units, start, stop, header.frontier[column].name)
            for (unit, column), start, stop in zip(found, starts.tolist(), stops.tolist(), strict=True)
        ]


class _Checks:
    """The checksums of a segment's units, and the bytes of its tensors."""

    def __init__(self, header: Header, tensors: Sequence[np.ndarray]) -> None:
        self._header = header
        self._recorded = np.asarray(unit_table(header)).reshape(-1, len(tensors))
        self._content = [np.asarray(tensor).reshape(-1).view(np.uint8).data for tensor in tensors]

    def wrong(self, units: np.ndarray) -> list[tuple[int, int]]:
        """Return the units, and of each the number of the tensor, that do not have their checksum."""
        take, (starts, stops) = checksum_of(self._header), self._header.bounds(units)
        found = []
        for column, (place, content) in enumerate(zip(self._header.tensors, self._content, strict=True)):
            size = place.row_bytes
            bounds = zip((starts * size).tolist(), (stops * size).tolist(), strict=True)
            now = np.array([take(content[start:stop]) for start, stop in bounds], self._recorded.dtype)
            found += [(unit, column) for unit in units[now != self._recorded[units, column]].tolist()]
        return found
