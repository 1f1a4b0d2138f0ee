"""One line of output: whatever names it holds, it stays one, and moves no cursor."""

import sys
from contextlib import AbstractContextManager, nullcontext

import click

from reuse.errors import UsageError
from reuse.escaping import escaped


def say(line: str, *, err: bool = False) -> None:
    """Print a line.

    Args:
        line: its text.
        err: print to standard error.
    """
    with _bars_aside():
        click.echo(escaped(line), err=err)


def _bars_aside() -> AbstractContextManager[None]:
    """Take the bars of progress away while something is printed, if there are any."""
    bars = sys.modules.get("tqdm")
    aside: AbstractContextManager[None] = bars.tqdm.external_write_mode(sys.stderr) if bars else nullcontext()
    return aside


def announce(*, as_json: bool) -> None:
    """Say at once that a command has begun, where libraries have to be loaded first, which takes seconds.

    Args:
        as_json: whether a program reads the answer, and nobody waits.
    """
    if not as_json and "torch" not in sys.modules:
        say("loading torch …", err=True)


def confirm_removal(what: str, advice: str) -> None:
    """Ask whether something is to be removed, and leave unless somebody says yes.

    Args:
        what: that would be removed, in words.
        advice: for where nobody is there to ask.

    Raises:
        UsageError: standard input is no terminal.
    """
    if not sys.stdin.isatty():
        raise UsageError(f"this removes {what}, and nobody is there to ask: {advice}")
    click.confirm(f"remove {escaped(what)}?", abort=True, err=True)
