"""Writing a segment so that a kill at any moment costs at most one block, and finishing what a killed writer left.

    building/segment-000003.h5    the unfinished segment, at its full size
    building/journal              its finished blocks
    segment-000003.h5             where the finished segment goes, in one step

Of several processes that fill a prefix together, each but the first has a building place and names of its own:
`building-1/` and `segment-000003-1.h5`.

A killed process leaves what it wrote to the system: a block counts from its line in the journal on. When the power
fails, what was not synced is lost in any order; so lines count only if the block has its checksums, all rows and
checksums are on the disk before the segment gets its published name, and that name before the journal goes. Blocks are
synced while the next one is computed. The caller holds the writer's lock.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress
from itertools import repeat
from pathlib import Path

import numpy as np

from reuse.caching import files, journal
from reuse.caching.checking import block_checksums, checksum, unit_checksums
from reuse.caching.header import Header
from reuse.caching.journal import Block
from reuse.caching.ownership import ASIDE, SEGMENT, own_files
from reuse.caching.segment import lay_out, read_header
from reuse.caching.segment_rows import row_keys, rows_of
from reuse.errors import CacheError
from reuse.layers.frontier_tensor import FrontierTensor

BUILDING = "building"
JOURNAL = "journal"
SALVAGED = "salvaged.h5"

log = logging.getLogger(__name__)


def published(folder: Path) -> list[Path]:
    """Return the published segments of the prefix in `folder`, oldest first; none that is set aside as a whole."""
    names = {path.name for path in own_files(folder) if path.parent == folder}
    marks = filter(None, map(ASIDE.fullmatch, names))
    aside = {mark["segment"] for mark in marks if mark["start"] is None}
    return [folder / name for name in sorted(names - aside) if SEGMENT.fullmatch(name)]


def next_segment(folder: Path, rank: int = 0) -> Path:
    """Return the path that the next segment of a process will be published under."""
    names = [SEGMENT.fullmatch(path.name) for path in folder.iterdir()]
    last = max((int(name[1]) for name in names if name), default=0)
    return folder / f"segment-{last + 1:06d}{_suffix(rank)}.h5"


def begin(
    folder: Path, prefix_key: str, frontier: Sequence[FrontierTensor], rows: int, block_rows: int, rank: int = 0
) -> Header:
    """Reserve the disk for a segment of `rows` rows and start its journal; returns where its rows go."""
    building = building_place(folder, rank)
    files.make_folder(building)
    segment = building / next_segment(folder, rank).name
    files.create(segment, lambda path: lay_out(path, prefix_key, frontier, rows, block_rows))
    files.allocate(segment)
    files.fsync(segment)
    journal.start(building / JOURNAL, segment.name)
    files.fsync_folder(building)
    files.fsync_folder(folder)
    return read_header(segment)


def write_block(header: Header, start: int, parts: Sequence[np.ndarray], rows: int) -> Block:
    """Put a block of `rows` rows at row `start` and note it in the journal; `sync` brings both to the disk.

    Args:
        header: where everything goes.
        start: the first row, at the beginning of a block.
        parts: what goes into each data set of `header.written`.
        rows: how many.
    """
    block = _write(header, start, parts, rows)
    journal.record(header.path.parent / JOURNAL, block)
    return block


def sync(header: Header) -> None:
    """Return when the blocks that were written are on the disk, and that they are."""
    files.fsync(header.path)
    files.fsync(header.path.parent / JOURNAL)


def building_place(folder: Path, rank: int = 0) -> Path:
    """Return where a process builds."""
    return folder / (BUILDING + _suffix(rank))


def publish(header: Header, blocks: Sequence[Block], folder: Path, rank: int = 0) -> Path:
    """Give a segment whose `blocks` are all written its published name; returns the path."""
    table = np.array([block.checksums for block in blocks], header.checksums.storage)
    files.write_at(header.path, table.tobytes(), header.checksums.offset)
    files.fsync(header.path)
    target = next_segment(folder, rank)
    files.rename(header.path, target)
    # The new name first: were only the old one's going on the disk, the segment would be lost.
    files.fsync_folder(folder)
    files.fsync_folder(header.path.parent)
    return target


def abandon(folder: Path, rank: int = 0) -> None:
    """Remove an unfinished segment and its journal."""
    building = building_place(folder, rank)
    files.remove(building / JOURNAL)
    for leftover in _leftovers(building):
        files.remove(leftover)


def recover(folder: Path, rank: int = 0) -> int:
    """Publish the finished blocks of an unfinished segment, then clear the building place; returns the rows saved.

    It may itself be killed at any moment: the unfinished segment goes only after its blocks are published.
    """
    building = building_place(folder, rank)
    if not building.is_dir():
        return 0
    name, blocks = journal.read(building / JOURNAL)
    rows = _salvage(folder, building / name, blocks, rank) if name and blocks and (building / name).exists() else 0
    leftovers = _leftovers(building)
    for leftover in leftovers:
        files.remove(leftover)
    if leftovers:
        files.fsync_folder(building)
    return rows


def _leftovers(building: Path) -> list[Path]:
    return [path for path in own_files(building.parent) if path.parent == building]


def _suffix(rank: int) -> str:
    return f"-{rank}" if rank else ""


def _write(header: Header, start: int, parts: Sequence[np.ndarray], rows: int) -> Block:
    units = [unit_checksums(header, parts[: len(header.tensors)])] if header.units else []
    parts = [*parts, *units]
    for place, part in zip(header.checked, parts, strict=True):
        content = np.ascontiguousarray(part).reshape(-1).view(np.uint8)
        first = header.part(place, start, start + rows).start
        files.write_at(header.path, content.data, place.offset + first * place.row_bytes)
    return Block(start // header.block_rows, start, start + rows, tuple(map(checksum, repeat(header), parts)))


def _salvage(folder: Path, segment: Path, blocks: list[Block], rank: int) -> int:
    try:
        source = read_header(segment)
    except CacheError as error:
        log.warning("an unfinished segment cannot be read, its rows are computed again: %s", error)
        return 0
    good = [block for block in blocks if block_checksums(source, block.start, block.stop) == block.checksums]
    if len(good) < len(blocks):
        log.warning("%s: %d finished blocks are damaged and are computed again", segment, len(blocks) - len(good))
    new = _not_published(folder, source, good)
    if new:
        _publish_copy(folder, source, new, rank)
    return sum(block.stop - block.start for block in new)


def _not_published(folder: Path, source: Header, blocks: list[Block]) -> list[Block]:
    """Leave out the blocks that an earlier recovery published before it was killed."""
    known: set[bytes] = set()
    for path in published(folder):
        with suppress(CacheError):  # who looks for rows sets a damaged one aside
            header = read_header(path)
            if header.frontier == source.frontier:
                known.update(map(bytes, row_keys(header)))
    keys = row_keys(source)
    return [block for block in blocks if not known.issuperset(map(bytes, keys[block.start : block.stop]))]


def _publish_copy(folder: Path, source: Header, blocks: list[Block], rank: int) -> None:
    rows = sum(block.stop - block.start for block in blocks)
    path = source.path.with_name(SALVAGED)
    files.create(path, lambda place: lay_out(place, source.prefix_key, source.frontier, rows, source.block_rows))
    files.allocate(path)
    target, start, copied = read_header(path), 0, []
    maps = [rows_of(source, place) for place in source.written]
    for block in blocks:
        places = (source.part(place, block.start, block.stop) for place in source.written)
        parts = [content[place] for content, place in zip(maps, places, strict=True)]
        copied.append(_write(target, start, parts, block.stop - block.start))
        start = copied[-1].stop
    publish(target, copied, folder, rank)
