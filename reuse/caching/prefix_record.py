"""`prefix.json`: what a prefix key stands for, beside its segments, for people and for `reuse cache why`."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from reuse.caching import files
from reuse.errors import CacheError

RECORD = "prefix.json"


@dataclass(frozen=True)
class PrefixRecord:
    """A prefix key in full.

    `created` is a time in ISO format (UTC), `description` what the caller wants to be told again (model, data),
    `frontier` the cached tensors in words, `components` what the key was made of.
    """

    key: str
    created: str
    description: Mapping[str, str]
    frontier: str
    components: Mapping[str, str]


def write_record(folder: Path, record: PrefixRecord) -> None:
    """Write the record into the prefix's folder, whole or not at all."""
    files.replace_text(folder / RECORD, json.dumps(asdict(record), indent=1, ensure_ascii=False) + "\n")


def read_record(folder: Path) -> PrefixRecord | None:
    """Return the record in a prefix's folder; None where none was written yet.

    Raises:
        CacheError: the file cannot be read as one.
    """
    path = folder / RECORD
    try:
        return PrefixRecord(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise CacheError(
            f"{path} is damaged ({error}): `reuse cache clear {folder.name}` removes this prefix"
        ) from error
