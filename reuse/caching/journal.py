"""The journal of a build: which blocks of an unfinished segment are written, and their checksums.

One line of JSON a block, written after the block's data. Every line ends in a checksum of its own, so that a torn or
zeroed tail is told from a finished line; what follows such a line is not read. After a power failure a line may be
there whose data are not: the checksums of the data tell.
"""

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reuse.caching import files
from reuse.files import read_bytes


@dataclass(frozen=True)
class Block:
    """Rows `start` to `stop` (exclusive) of a segment, with the checksum of each data set's part."""

    index: int
    start: int
    stop: int
    checksums: tuple[int, ...]


def start(path: Path, segment: str) -> None:
    """Begin the journal of the unfinished segment file named `segment`."""
    files.create(path, lambda place: place.write_bytes(_line({"segment": segment})))
    files.fsync(path)


def record(path: Path, block: Block) -> None:
    """Note that `block` is written; nothing is synced."""
    files.append(path, _line(vars(block)))


def read(path: Path) -> tuple[str | None, list[Block]]:
    """Return the name of the unfinished segment and its finished blocks, as far as the journal is whole."""
    try:
        content = read_bytes(path)
    except FileNotFoundError:
        return None, []
    lines = _whole_lines(content)
    first = next(lines, None)
    if first is None or "segment" not in first:
        return None, []
    return str(first["segment"]), [_block(line) for line in lines]


def _line(fields: dict[str, object]) -> bytes:
    text = json.dumps(fields).encode()
    return b"%s %08x\n" % (text, zlib.crc32(text))


def _whole_lines(content: bytes) -> Iterator[dict[str, object]]:
    for line in content.split(b"\n")[:-1]:
        text, _, checksum = line.rpartition(b" ")
        if checksum != b"%08x" % zlib.crc32(text):
            return
        yield json.loads(text)


def _block(fields: dict[str, object]) -> Block:
    return Block(**{**fields, "checksums": tuple(fields["checksums"])})  # type: ignore[arg-type]  # as JSON gave them
