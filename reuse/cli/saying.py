"""One line of output: whatever names it holds, it stays one, and moves no cursor."""

import click

from reuse.escaping import escaped


def say(line: str, *, err: bool = False) -> None:
    """Print a line.

    Args:
        line: its text.
        err: print to standard error.
    """
    click.echo(escaped(line), err=err)
