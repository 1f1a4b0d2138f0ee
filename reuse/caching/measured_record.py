"""`measured.json`: what computing the rows of a prefix takes, beside them; a hint, which may be missing at any time."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from reuse.caching import files

MEASURED = "measured.json"


def write_measured(folder: Path, values: Mapping[str, Any]) -> None:
    """Write plain values into a prefix's folder, whole or not at all; a disk that is full makes no difference."""
    with suppress(OSError):
        files.replace_text(folder / MEASURED, json.dumps(values) + "\n")


def read_measured(folder: Path) -> dict[str, Any] | None:
    """Return what is written in a prefix's folder; None where that is nothing, or damaged."""
    try:
        values = json.loads((folder / MEASURED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) else None
