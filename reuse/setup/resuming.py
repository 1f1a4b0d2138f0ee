"""The settings of a run that goes on."""

from typing import TypeVar

from reuse.errors import RunError, UsageError
from reuse.runs.folder import RunFolder
from reuse.settings.calling import Given
from reuse.settings.commands import FinetuneSettings, PretrainSettings
from reuse.settings.files import ARRAYS
from reuse.setup.trusting import refuse_untrusted

S = TypeVar("S", PretrainSettings, FinetuneSettings)


def saved_settings(run: RunFolder, kind: type[S], given: Given, *, trust: bool = False) -> S:
    """Return the settings with which a run began.

    What settings.toml does not name was None, or is a setting of a newer version: both are the default.

    Args:
        run: to go on with.
        kind: the settings of the command that is to go on with it.
        given: names of what is given now, in place of what the run began with.
        trust: whether code that the run names may be called, and places that it names be written to.

    Raises:
        UsageError: the run is another command's; its data were arrays and are not given again; it wants what only a
            user may (see `trusting`).
        RunError: the file is missing or damaged.
    """
    begun = run.command()
    if begun != kind.command:
        raise UsageError(f"{run.path} is a run of `reuse {begun}`: resume it with that command")
    saved = run.settings()
    if not isinstance(saved, kind):
        raise RunError(f"{run.path} has settings of another command than `reuse {begun}`: restore settings.toml")
    if saved.data == ARRAYS and "data" not in given:
        raise UsageError(f"{run.path} was trained on arrays, which a run does not keep: give them as data again")
    refuse_untrusted(run.path, vars(saved), given, trust=trust)
    return saved
