"""Small files beside the segments of a prefix.

prefix.json      what its key stands for, for people and for `reuse cache why`
measured.json    seconds that its layers took; a hint, which may be missing at any time
used             says whose folder this is; its time is that of the last use
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reuse.caching import files
from reuse.caching.labelling import WORDS_ON_FILE
from reuse.errors import CacheError
from reuse.files import load_json

RECORD = "prefix.json"
MEASURED = "measured.json"
USED = "used"


@dataclass(frozen=True)
class PrefixRecord:
    """A prefix key in full.

    Attributes:
        key: the key.
        created: time in ISO format (UTC).
        description: names of the model and the data, or what else the caller wants to be told again.
        frontier: the cached tensors in words.
        components: texts that the key is the digest of, by name.
    """

    key: str
    created: str
    description: Mapping[str, str]
    frontier: str
    components: Mapping[str, str]


def write_record(folder: Path, record: PrefixRecord) -> None:
    """Say in the prefix's folder whose it is and what its key stands for, each file whole or not at all."""
    files.replace_text(folder / USED, WORDS_ON_FILE + "\n")
    files.replace_text(folder / RECORD, json.dumps(asdict(record), indent=1, ensure_ascii=False) + "\n")


def read_record(folder: Path) -> PrefixRecord | None:
    """Return the record in a prefix's folder; None where none was written yet.

    Raises:
        CacheError: the file cannot be read as one.
    """
    path = folder / RECORD
    try:
        return _checked(PrefixRecord(**load_json(path)))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise CacheError(
            f"{path} is damaged ({error}): `reuse cache clear {folder.name}` removes this prefix"
        ) from error


def _checked(record: PrefixRecord) -> PrefixRecord:
    """Return a record that was read, after checking that its entries are texts and texts by name."""
    texts = (record.key, record.created, record.frontier)
    named = (record.description, record.components)
    if not all(isinstance(text, str) for text in texts) or not all(map(_are_texts, named)):
        raise TypeError("an entry is of another kind than a text")
    return record


def _are_texts(named: Any) -> bool:
    return isinstance(named, dict) and all(isinstance(text, str) for text in named.values())


def write_measured(folder: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Write records of plain values into a prefix's folder; where that cannot be, it makes no difference."""
    with suppress(OSError):
        files.replace_text(folder / MEASURED, json.dumps(records) + "\n")


def read_measured(folder: Path) -> list[dict[str, Any]]:
    """Return the records in a prefix's folder, whose values nobody has checked; none where the file is damaged."""
    try:
        records = load_json(folder / MEASURED)
    except (OSError, ValueError):
        return []
    return [record for record in records if isinstance(record, dict)] if isinstance(records, list) else []
