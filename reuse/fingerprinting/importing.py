"""The modules that code imports when it runs, as it will see them, loaded already or not."""

from collections.abc import Mapping
from contextlib import suppress
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any, NamedTuple


class Import(NamedTuple):
    """One import statement in code: the module as it is written, the names taken from it, and the dots before it."""

    name: str
    names: tuple[str, ...] | None
    level: int


def load(wanted: Import, scope: Mapping[str, Any]) -> ModuleType | None:
    """Return what an import statement in `scope` gives, None where it fails.

    A module that is not loaded yet is loaded: the code would do so when it runs, and a key that depended on whether it
    already ran would not find its own rows again.
    """
    with suppress(Exception):  # whatever a user's module raises; the branch that imports it may never be taken
        return __import__(wanted.name, scope, None, wanted.names or (), wanted.level)
    return None


def find(package: str) -> ModuleSpec | None:
    """Return where a top-level package would be imported from, without loading it; None where it is not there."""
    try:
        return find_spec(package)
    except (ImportError, ValueError):  # loaded, but made by hand: it has no place
        return None
