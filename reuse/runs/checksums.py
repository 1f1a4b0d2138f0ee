"""Checksums beside the files of a folder, so that a bit that flipped on the disk passes for no other number."""

import hashlib
from pathlib import Path

from xxhash import xxh3_128

from reuse.errors import RunError
from reuse.files import open_regular
from reuse.runs.record_files import json_text, read_json

CHECKSUMS = "checksums.json"
"""In such a folder: `{file name: XXH3 of its bytes, 32 hexadecimal digits}`."""


def write_checksums(folder: Path) -> None:
    """Write the checksums of all files that a folder holds."""
    sums = {path.name: _checksum(path) for path in sorted(folder.iterdir())}
    (folder / CHECKSUMS).write_text(json_text(sums))


def verify_checksums(folder: Path) -> None:
    """Raise where a file is not what was written; one that is missing is told by whoever reads it.

    A folder without checksums passes: earlier versions wrote none.

    Raises:
        RunError: the message names the file.
    """
    path = folder / CHECKSUMS
    if not path.exists():
        return
    written = read_json(path)
    for file in sorted(folder.iterdir()):
        if file.name in written and written[file.name] != _checksum(file):
            raise RunError(f"{file} is damaged: its checksum is not the one that was written with it; train again")


def _checksum(path: Path) -> str:
    with open_regular(path) as file:
        return hashlib.file_digest(file, xxh3_128).hexdigest()
