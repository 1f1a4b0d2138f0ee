"""Files of a run that hold its records: TOML and JSON, written whole or not at all."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reuse.distributed import is_main
from reuse.errors import RunError
from reuse.files import load_json, read_text
from reuse.runs.disk import drafted, saving
from reuse.settings.files import without_infinities


def read_toml(path: Path) -> dict[str, Any]:
    """Return a TOML file as a dict.

    Raises:
        RunError: it cannot be read or is no TOML.
    """
    try:
        return tomllib.loads(read_text(path))
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path} is no TOML: {error}") from error


def write_text(path: Path, text: str) -> None:
    """Write a file so that it holds the old text or the new, never a part.

    That holds for a kill, not for a power cut: the disk is not waited for. Of several processes the first one writes.
    """
    if not is_main():
        return
    draft = path.with_name(f".{path.name}.draft")
    with saving(path), drafted(draft):
        draft.write_text(text)
        draft.replace(path)


def json_text(values: Mapping[str, Any]) -> str:
    """Return values as the text of a JSON file, None in place of NaN and infinities."""
    return json.dumps(without_infinities(values), indent=2, default=str) + "\n"


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON file of a run as a dict.

    Raises:
        RunError: it cannot be read, or holds something else.
    """
    try:
        values = load_json(path)
    except OSError as error:
        raise RunError(f"{path.parent} is no run folder, or damaged: {path.name}: {error.strerror}") from error
    except ValueError as error:
        raise RunError(f"{path} is damaged: {error}; restore it or train again") from error
    if not isinstance(values, dict):
        raise RunError(f"{path} is damaged: expected an object, found {type(values).__name__}")
    return values
