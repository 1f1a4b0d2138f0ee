"""The command line: finds the command, runs it, and turns errors into one line and an exit code."""

import atexit
import importlib
import io
import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from reuse import __version__
from reuse.cli.failing import failure_of, one_line, print_error, tell, wants_json
from reuse.cli.options import Group
from reuse.cli.saying import say
from reuse.cli.starting import command_start

# Commands and where they are; nothing of a command is imported before it is called or asked for help.
COMMANDS = {
    "pretrain": ("reuse.cli.training", "Train layers that others will reuse."),
    "finetune": ("reuse.cli.training", "Reuse layers, freeze some, train the rest on labels."),
    "inspect": ("reuse.cli.inspecting", "Show a model's layers, what is frozen, and where it would be cut."),
    "plan": ("reuse.cli.inspecting", "Say what a fine-tuning would compute, cache and cost."),
    "lr-find": ("reuse.cli.rate_finding", "Propose a learning rate for a training."),
    "sweep": ("reuse.cli.sweeping", "Train heads of many settings, seeds and folds at once, and rank them."),
    "rank": ("reuse.cli.ranking", "Say which model and which layer to reuse for some data."),
    "evaluate": ("reuse.cli.using", "Measure a trained run on data."),
    "predict": ("reuse.cli.using", "Write predictions of a trained run as CSV."),
    "report": ("reuse.cli.report", "Write one HTML file on a trained run, or on several side by side."),
    "export": ("reuse.cli.exporting", "Write a trained run as ONNX, a program of torch, or weights, with a card."),
    "ensemble": ("reuse.cli.ensembling", "Measure several trained runs together, or average their weights."),
    "runs": ("reuse.cli.runs", "List and remove run folders."),
    "cache": ("reuse.cli.cache", "List, explain, check, shrink or clear the activation cache."),
    "recipes": ("reuse.cli.recipes", "List and run the recipes."),
    "completion": ("reuse.cli.completion", "Make a shell complete names, runs and layers."),
    "doctor": ("reuse.cli.doctor", "Check the installation, devices, data and folders."),
}
COMPLETING = "_REUSE_COMPLETE"
"""The variable by which a shell asks for completions."""

TOGETHER = ("pretrain", "finetune")
"""Commands that `torchrun` may start in several processes."""


class Commands(Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - the signature of click
        """Return the names in the order in which they are used."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(COMMANDS[cmd_name][0]), cmd_name.replace("-", "_"))
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands from the table above, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


NEXT = """\b
Begin with:  reuse pretrain && reuse finetune --freeze hidden1,hidden2
More of one: reuse COMMAND --help
Tab key:     reuse completion
"""


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]}, epilog=NEXT)
@click.version_option(__version__, prog_name="reuse")
def cli() -> None:
    """Train deep networks from layers that are already trained, and never compute a frozen layer twice.

    Example: reuse finetune timm:resnet18 --freeze '!head' --data photos/
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave with its exit code: 0 done, 2 wrong usage or bad input, 130 Ctrl-C, 1 else.

    Of several processes that `torchrun` has started the first one shows results; errors are shown by each.
    """
    who, given = _process(), sys.argv[1:] if arguments is None else arguments
    if arguments is None:
        _write_anything()
    if COMPLETING in os.environ:
        import reuse.cli.completion  # noqa: F401 - which tells click how bash takes words
    try:
        if who is not None:
            _refuse_alone(given)
        with _warnings_as_lines():
            began = command_start() if arguments is None else time.perf_counter()
            code = cli(arguments, prog_name="reuse", standalone_mode=False, obj=began) or 0
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (Exception, KeyboardInterrupt) as error:
        failure = failure_of(error, given)
        if failure is None:
            if wants_json(given):
                print_error(f"{type(error).__name__}: {one_line(str(error))}", 1)
            raise
        tell(failure, who or "", given)
        sys.exit(failure.exit_code)
    if arguments is None and who is None:
        _leave(code)
    sys.exit(code)


def _write_anything() -> None:
    """Let a terminal or file that has not all characters be written to: what it lacks stands as an escape sequence."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _leave(code: int) -> None:
    """Leave at once: to take torch's modules down one by one is of no use, and takes a second."""
    atexit._run_exitfuncs()
    sys.stderr.flush()
    os._exit(code)


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Show warnings as they read, one line each, without the file and the line of code that Python puts around them."""
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        yield


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    say(f"warning: {one_line(str(message))}", err=True)


def _process() -> str | None:
    """Return what precedes this process's errors, None where it is the only one; silence it unless it is the first."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or "RANK" not in os.environ:
        return None
    if os.environ["RANK"] == "0":
        return ""
    sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - for as long as the process lives
    return f"process {os.environ['RANK']}: "


def _refuse_alone(arguments: list[str]) -> None:
    """Raise where a command is for one process."""
    if arguments and arguments[0] in COMMANDS and arguments[0] not in TOGETHER:
        raise click.UsageError(
            f"{arguments[0]} is for one process, and torchrun has started {os.environ['WORLD_SIZE']}: "
            f"run it without torchrun, which is for {' and '.join(TOGETHER)}"
        )
