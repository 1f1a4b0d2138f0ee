"""Messages that name settings as Python does, in the words of the command line: `views=5` becomes `--views 5`.

Messages are written once, for whoever calls the function; who typed a command reads of its options.
"""

import re
from collections.abc import Mapping

import click

NAMED = re.compile(
    r"""(?<![\w.:,'"=/\\{-])  # no part of a spec, such as adamw:weight_decay=0.1, or of a path
    (?P<name>[a-z][a-z0-9_]*)=(?P<value>'[^']*'|"[^"]*"|[\w./%+:-]*[\w/%])(?![\w(=[\\])""",
    re.VERBOSE,
)
FILE = re.compile(r"\w\.[A-Za-z]\w*$")  # how the name of a file ends
IN_CALL = re.compile(r"\w\([^()]*$")  # what stands before an argument of a call in Python


def as_typed(text: str) -> str:
    """Return a message with the options of the running command for its settings; any other one stays as it is.

    Example:
        >>> as_typed("say cache_kind=disk")
        'say cache_kind=disk'
    """
    context = click.get_current_context(silent=True)
    params = context.command.params if context else []
    options = {str(param.name): param for param in params if isinstance(param, click.Option)}
    return NAMED.sub(lambda found: _option(options, found) or found[0], text)


def _option(options: Mapping[str, click.Option], found: re.Match[str]) -> str | None:
    """Return how a setting with a value is typed; None where the command has no such option."""
    option = options.get(found["name"])
    if found["value"] == "None" or FILE.search(found["value"]):
        return None
    if option is None or IN_CALL.search(found.string, 0, found.start()):
        return None
    if not option.is_flag:
        return f"{option.opts[0]} {found['value']}"
    flags = {not flag.startswith("--no-"): flag for flag in (*option.secondary_opts, *option.opts)}
    return {"True": flags.get(True), "False": flags.get(False)}.get(found["value"])
