"""The cache of one prefix: which rows it has, computing those it lacks, and handing them out."""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from reuse.caching import building, files
from reuse.caching.activations import Activations, read_rows
from reuse.caching.computing import ComputeRows, compute_blocks, needed_bytes, portion, write_segment
from reuse.caching.damage import DamageError, set_aside
from reuse.caching.discarding import discard_segment
from reuse.caching.holding import Hold
from reuse.caching.index import Index, are_at, first_places
from reuse.caching.locking import FillShare, alone, disk_errors, ranks_of, writing
from reuse.caching.prefix_record import USED, PrefixRecord, read_record, write_record
from reuse.caching.probe_record import read_probe, write_probe
from reuse.caching.probing import Probe
from reuse.caching.quarantine import read_quarantine, write_quarantine
from reuse.caching.reading_ahead import SpareMemory
from reuse.caching.segment_rows import HarmedRowsError, LostRowsError
from reuse.caching.stored_rows import StoredRows, Unpacker
from reuse.errors import CacheError
from reuse.layers.frontier_tensor import FrontierTensor

log = logging.getLogger(__name__)

SEGMENT_BYTES = 2**30
BLOCK_BYTES = 16 * 2**20
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Filled:
    """Result of a `fill`: distinct rows computed, distinct rows that were there, bytes written, seconds taken."""

    computed: int
    found: int
    bytes: int
    seconds: float


@dataclass(frozen=True)
class SomeRows:
    """Some published rows, as they were computed, on the CPU.

    Attributes:
        positions: among the keys that were asked for, ascending.
        values: each `(rows, …)`; none without any rows.
        steps: for each tensor how far apart the values are that its codes can stand for; None without codes.
    """

    positions: np.ndarray
    values: tuple[Tensor, ...]
    steps: tuple[Tensor | None, ...]


class PrefixCache:
    """All rows that one prefix was ever computed on, in the folder `path`. Opening it writes nothing.

    It holds no file open, so it may be forked and pickled. Many may read and fill one folder, in any process.
    """

    def __init__(
        self,
        path: Path,
        record: PrefixRecord,
        frontier: Sequence[FrontierTensor],
        stored: Sequence[FrontierTensor] | None = None,
        make_room: Callable[[str, int], object] | None = None,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self.path = path
        self.key = record.key
        # Compared with what the files say: anything alike with the three attributes is taken.
        self.frontier = tuple(FrontierTensor(tensor.name, tuple(tensor.shape), tensor.dtype) for tensor in frontier)
        self.stored = self.frontier if stored is None else tuple(stored)
        self._record = record
        self._make_room = make_room
        self._segment_bytes = segment_bytes
        self._index = Index(path, record.key, self.stored)
        self._spare = SpareMemory()
        self._quarantined: str | None = None

    @property
    def quarantined(self) -> str | None:
        """The reason why these rows were set aside for good, None where they were not."""
        return self._quarantined or read_quarantine(self.path)

    def quarantine(self, reason: str) -> None:
        """Set all rows aside for good: none is served or added, here and in other processes, until they are cleared."""
        self._quarantined = reason
        write_quarantine(self.path, reason)

    def missing(self, keys: np.ndarray) -> np.ndarray:
        """Return the positions in `keys`, (n, 16) uint8, of rows that are not published: ascending, each row once.

        Of rows that were set aside none counts.

        Raises:
            CacheError: a published file may not be read.
        """
        if self.quarantined is not None:
            return first_places(keys)
        self._index.refresh()
        positions = np.flatnonzero(self._index.find(keys) < 0)
        missing: np.ndarray = positions[first_places(keys[positions])]
        return missing

    def fill(
        self,
        keys: np.ndarray,
        compute: ComputeRows,
        *,
        compute_rows: int = 64,
        block_bytes: int = BLOCK_BYTES,
        progress: Callable[[int], object] | None = None,
        rank: int = 0,
        world: int = 1,
        probe: Callable[[], Probe] | None = None,
    ) -> Filled:
        """Compute the rows that are missing and publish them. Waits while another process fills, then looks again.

        Several processes may fill together: each computes and publishes its share and returns without waiting for the
        others, whose counts add up to those of one process. Room in the byte budget is made by the first one.

        Args:
            keys: digests of the rows, (n, 16) uint8.
            compute: takes positions in `keys`, (rows,) int64, and returns their frontier tensors, each (rows, …).
            compute_rows: how many rows `compute` is given at once.
            block_bytes: bytes that are written and noted at once; what a kill can lose.
            progress: called with the number of rows just computed.
            rank: number of this process, from 0.
            world: how many fill together, all given the same `keys`.
            probe: takes a probe of the prefix, which is kept beside the rows where there is none yet.

        Raises:
            CacheError: the rows were set aside; no room or no permission to write; a damaged file; `compute` returns
                something else than the frontier. Blocks that were finished before any error are kept and used by the
                next `fill`.
        """
        self._refuse_quarantined()
        started, share, computed, written = time.perf_counter(), FillShare(rank, world), 0, 0
        own = len(share.of(first_places(keys), len(keys)))
        if len(share.of(self.missing(keys), len(keys))):
            with writing(self.path, share) as ranks, Hold(self.path):
                self._recover(ranks, share)
                if probe is not None and rank == 0:
                    self.keep_probe(probe)
                paths, computed = self._write(keys, compute, compute_rows, block_bytes, progress, share)
                written = sum(path.stat().st_size for path in paths)
        self._note_use()
        return Filled(computed, own - computed, written, time.perf_counter() - started)

    def hold(self) -> Hold:
        """Keep the rows from being evicted by other processes until the hold is released, as from `fill` to reading.

        Rows that stay on disk are held by their activations.
        """
        return Hold(self.path)

    def activations(
        self,
        keys: np.ndarray,
        *,
        device: torch.device = CPU,
        memory: int | None = None,
        windowed: bool | None = None,
        mend: Callable[[], object] | None = None,
    ) -> Activations:
        """Return the rows of `keys`, in their order, from the fastest tier that holds them: device, RAM, disk.

        Args:
            keys: digests of rows that are all published, (n, 16) uint8; repeated ones are fine.
            device: where the rows are used.
            memory: bytes that they may take on `device`; half of its free memory by default.
            windowed: whether epochs are shuffled window by window; None: where the rows stay on disk. A run that is
                resumed says what it began with.
            mend: fills in what is missing; called where rows turn out to be damaged or lost, now or whenever they are
                read, after these were set aside. None: they are an error.

        Raises:
            DamageError: rows are not what was written.
            LostRowsError: a row is not published, or no longer.
            CacheError: the rows were set aside for good.
        """
        self._refuse_quarantined()

        def mended(harm: HarmedRowsError) -> StoredRows:
            assert mend is not None
            if isinstance(harm, DamageError):
                self.set_aside(harm)
            mend()
            return self._stored(keys)

        again = None if mend is None else mended
        with Hold(self.path):
            stored: StoredRows | None = None
            while True:
                try:
                    stored = self._stored(keys) if stored is None else stored
                    self._note_use()
                    return read_rows(stored, self.frontier, torch.device(device), memory, windowed, self._spare, again)
                except HarmedRowsError as harm:
                    if again is None:
                        raise
                    stored = again(harm)

    def discard(self, keys: np.ndarray) -> bool:
        """Remove the segments that hold nothing but these rows, which are not read again; False where that has to wait.

        Who reads them all the same has them in memory, or has them computed again.

        Args:
            keys: digests of the rows, (n, 16) uint8.
        """
        try:
            with disk_errors(self.path), alone(self.path) as free:
                if not free:
                    return False
                self._index.refresh()
                return all(map(discard_segment, self._index.segments_within(keys)))
        except CacheError as error:  # what is in nobody's way is no reason to end a training
            log.debug("versions of rows stay in %s: %s", self.path, error)
            return False

    def set_aside(self, damage: DamageError) -> None:
        """Leave damaged rows out from now on, here and in other processes, so that they count as missing."""
        self._index.set_aside(damage.found)
        set_aside(damage.found)

    def keep_probe(self, probe: Callable[[], Probe]) -> None:
        """Keep what `probe` takes beside the rows, where there is no probe yet."""
        if read_probe(self.path) is None:
            write_probe(self.path, probe())

    def _refuse_quarantined(self) -> None:
        if (reason := self.quarantined) is not None:
            raise CacheError(
                f"the cached prefix {self.key} was set aside for good ({reason}): train without a cache (--no-cache), "
                f"or remove it with `reuse cache clear {self.key}` if the cause is gone"
            )

    def some_rows(self, keys: np.ndarray, rows: int, seed: int | None = None) -> SomeRows:
        """Return a few random ones of the rows of `keys` that are published; damaged ones are set aside.

        Args:
            keys: digests of rows, (n, 16) uint8.
            rows: at most how many.
            seed: which; drawn anew each time by default.
        """
        while True:
            self._index.refresh()
            present = np.flatnonzero(self._index.find(keys) >= 0)
            chosen = np.sort(np.random.default_rng(seed).permutation(present)[:rows])
            if not len(chosen):
                return SomeRows(chosen, (), ())
            try:
                return self._unpacked(chosen, keys[chosen])
            except DamageError as damage:
                self.set_aside(damage)
            except LostRowsError:  # since it was looked at: look again
                continue

    def _unpacked(self, positions: np.ndarray, keys: np.ndarray) -> SomeRows:
        stored, every = self._stored(keys), np.arange(len(keys))
        unpacker, indices = Unpacker(stored, self.frontier, CPU), torch.from_numpy(every)
        values = stored.empty(len(keys))
        stored.read(every, values)
        stored.check(every)
        return SomeRows(positions, unpacker.unpack(values, indices), tuple(unpacker.steps(indices)))

    def _stored(self, keys: np.ndarray) -> StoredRows:
        self._index.refresh()
        places = self._index.find(keys)
        if (places < 0).any():
            raise LostRowsError(
                f"{(places < 0).sum()} of {len(keys)} rows are not in the cache {self.path}: fill it first"
            )
        headers, (segments, rows) = tuple(self._index.headers), self._index.split(places)
        if not are_at(headers, segments, rows, keys):
            raise LostRowsError(f"rows of {self.path} moved while they were looked up: open the cache again")
        return StoredRows(headers, self.stored, segments, rows)

    def _write(
        self,
        keys: np.ndarray,
        compute: ComputeRows,
        compute_rows: int,
        block_bytes: int,
        progress: Callable[[int], object] | None,
        share: FillShare,
    ) -> tuple[list[Path], int]:
        every = self.missing(keys)
        positions = share.of(every, len(keys))
        portions = portion(self.stored, compute_rows, block_bytes, self._segment_bytes)
        if self._make_room is not None and len(positions) and share.rank == 0:
            self._make_room(self.key, needed_bytes(self.stored, len(every), portions))
        self._describe(share.rank)
        paths = []
        for start in range(0, len(positions), portions.segment_rows):
            part = positions[start : start + portions.segment_rows]
            blocks = compute_blocks(part, compute, self.frontier, self.stored, portions, progress)
            paths.append(write_segment(self.path, self.key, self.stored, keys, blocks, part, portions, share.rank))
        return paths, len(positions)

    def _recover(self, ranks: list[int], share: FillShare) -> None:
        """Publish what was left unfinished by this process, and by those of a run of more processes than there are."""
        with disk_errors(self.path):
            for rank in ranks:
                building.recover(self.path, rank)
            for rank in sorted(set(ranks_of(self.path)) - set(range(share.count)) - set(ranks)):
                with writing(self.path, FillShare(rank, rank + 1)):
                    building.recover(self.path, rank)

    def _describe(self, rank: int) -> None:
        """Say what is kept here; the caller is a writer."""
        if rank:
            return
        record = None
        with suppress(CacheError):  # a damaged one is written anew
            record = read_record(self.path)
        if record is None:
            with disk_errors(self.path):
                write_record(self.path, replace(self._record, created=datetime.now(UTC).isoformat(timespec="seconds")))

    def _note_use(self) -> None:
        with suppress(OSError):  # in a folder that may only be read nothing is evicted either
            if not self.path.is_symlink():
                files.touch(self.path / USED)
