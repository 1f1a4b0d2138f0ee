"""What `--help` says: an example that the command takes, and the forms of patterns where it takes patterns."""

import re
import shlex
from collections.abc import Iterator

import click
import pytest

from reuse.cli.main import COMMANDS, cli
from reuse.cli.options import PATTERNS


def every_command() -> Iterator[tuple[str, click.Command]]:
    context = click.Context(cli, info_name="reuse")
    yield "", cli
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {below}", inner) for below, inner in command.commands.items())


EVERY = dict(every_command())


@pytest.mark.parametrize("name", EVERY)
def test_an_example_that_can_be_run(name: str) -> None:
    found = re.search(r"Example: (?:eval \"\$\()?reuse (.*?)(?:\)\")?$", EVERY[name].help or "", re.MULTILINE)
    assert found, EVERY[name].help
    words = shlex.split(found.group(1))
    assert found.group(1).startswith(name)
    called = command_name(words)
    EVERY[called].make_context(called, words[len(called.split()) :])  # raises where it cannot be taken


def command_name(words: list[str]) -> str:
    return " ".join(words[:2]) if " ".join(words[:2]) in EVERY else words[0]


@pytest.mark.parametrize("name", EVERY)
def test_patterns_are_explained_where_they_are_taken(name: str) -> None:
    takes = any(parameter.name == "freeze" for parameter in EVERY[name].params)
    assert (EVERY[name].epilog == PATTERNS) == takes


def test_patterns_stand_line_by_line(reuse: object) -> None:
    shown = reuse("finetune", "--help").out  # type: ignore[operator]
    assert re.search(r"^ +'!head' +all but the output layer", shown, re.MULTILINE)
