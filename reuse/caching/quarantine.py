"""The mark of a prefix whose rows were found to be stale: it is never served or filled again until it is cleared."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from reuse.caching import files
from reuse.files import load_json

QUARANTINE = "quarantine.json"


def write_quarantine(folder: Path, reason: str) -> None:
    """Mark the prefix in a folder, which keeps its first mark; in one that cannot be written it makes no difference."""
    if read_quarantine(folder) is None:
        record = {"reason": reason, "since": datetime.now(UTC).isoformat(timespec="seconds")}
        with suppress(OSError):
            files.replace_text(folder / QUARANTINE, json.dumps(record, ensure_ascii=False) + "\n")


def read_quarantine(folder: Path) -> str | None:
    """Return why the prefix in a folder was set aside, None where it was not."""
    try:
        return str(load_json(folder / QUARANTINE)["reason"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError):  # a damaged mark marks all the same
        return "its mark can no longer be read"
