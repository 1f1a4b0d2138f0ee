"""`measured.json`: what computing the rows of a prefix takes, beside them; a hint, which may be missing at any time."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from reuse.caching import files

MEASURED = "measured.json"


def write_measured(folder: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Write records of plain values into a prefix's folder; where that cannot be, it makes no difference."""
    with suppress(OSError):
        files.replace_text(folder / MEASURED, json.dumps(records) + "\n")


def read_measured(folder: Path) -> list[dict[str, Any]]:
    """Return the records in a prefix's folder, whose values nobody has checked; none where the file is damaged."""
    try:
        records = json.loads((folder / MEASURED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [record for record in records if isinstance(record, dict)] if isinstance(records, list) else []
