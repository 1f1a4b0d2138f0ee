"""What a file may ask for only with the user's word: to run code, and to write to places of its choice."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from reuse.caching.ownership import was_made_here
from reuse.errors import UsageError
from reuse.nn.callables import names_code
from reuse.nn.recipe import OWN_FAMILIES
from reuse.optim.schedules import SCHEDULES
from reuse.paths import cache_folder, real_path

CODE = {"model": OWN_FAMILIES, "source": OWN_FAMILIES, "schedule": tuple(SCHEDULES)}
"""Settings that may name a `package.module:callable`, and the names before a colon that are none."""

RUNS = ("out", "resume")
"""Settings that name a run folder to write to."""


def refuse_untrusted(where: object, settings: Mapping[str, Any], given: Collection[str], *, trust: bool) -> None:
    """Raise where settings that came in a file want what only the user may.

    A folder of activations is asked about until it was written to here: in one that came along with the file, anybody
    may have put what the frozen layers are said to have computed.

    Args:
        where: the file or the run.
        settings: those in it.
        given: names of what the user gives, in place of what the file says.
        trust: whether the user trusts the file.

    Raises:
        UsageError: it names code, or a place to write to, and is not trusted.
    """
    if trust:
        return
    theirs = {name: value for name, value in settings.items() if name not in given and value is not None}
    for name, ours in CODE.items():
        if names_code(str(theirs.get(name, "")), ours):
            raise UsageError(
                f"{where} names the code {theirs[name]}, which would be imported and run: allow it by --trust"
            )
    for name in RUNS:
        if name in theirs:
            raise UsageError(
                f"{where} names the run folder {theirs[name]}: give {name} yourself, or allow it by --trust"
            )
    folder = theirs.get("cache_dir")
    if folder is not None and not (real_path(folder) == real_path(cache_folder()) or was_made_here(Path(folder))):
        raise UsageError(
            f"{where} names the cache {folder}, which nobody has used here: give cache-dir yourself, or allow it by "
            "--trust"
        )
