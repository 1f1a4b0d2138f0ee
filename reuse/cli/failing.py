"""The end of a command that fails: one line on standard error, a JSON object where --json was given, an exit code."""

import errno
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import click

from reuse.cli.saying import say
from reuse.errors import ReuseError
from reuse.escaping import beginning

INTERRUPTED = 130
"""The exit code of a command that Ctrl-C has ended, as shells have it."""

AGAIN = "interrupted: the same command begins anew, and finds the activations that are cached by now"
ELSEWHERE = "interrupted: the same command begins again"
TRAINING = ("pretrain", "finetune", "sweep")


class AnsweredError(click.ClickException):
    """An error that the command's answer tells already, where it is JSON."""


@dataclass(frozen=True)
class Failure:
    """What there is to say of an error, and the exit code.

    Attributes:
        message: in one line, but for errors that list several things.
        exit_code: 2 wrong usage or bad input, 130 Ctrl-C, 1 anything else.
        prefix: what stands before the message on standard error.
        answered: whether the command's JSON object tells it already.
    """

    message: str
    exit_code: int
    prefix: str = "error: "
    answered: bool = False


def failure_of(error: BaseException, arguments: Sequence[str]) -> Failure | None:
    """Return what there is to say of an error; None for a fault of the program itself, whose traceback says more.

    Args:
        error: that ended a command.
        arguments: of the command line.
    """
    if isinstance(error, click.ClickException):
        answered = isinstance(error, AnsweredError)
        return Failure(one_line(error.format_message()), error.exit_code, answered=answered)
    if isinstance(error, ReuseError):
        return Failure(_message(error), error.exit_code, "" if error.exit_code == INTERRUPTED else "error: ")
    if _is_interrupt(error):
        return Failure(AGAIN if arguments and arguments[0] in TRAINING else ELSEWHERE, INTERRUPTED, "")
    if isinstance(error, click.exceptions.Abort):
        return Failure("aborted", 1, "")
    if _is_out_of_memory(error):
        reason = (str(error).splitlines() or ["there is no more"])[0]
        return Failure(f"not enough memory ({reason}): give fewer rows, or a smaller model", 1)
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return Failure(one_line(f"a name is too long: {beginning(error.filename)}; give a shorter one"), 2)
    return None


def tell(failure: Failure, who: str, arguments: Sequence[str]) -> None:
    """Print a failure.

    Args:
        failure: to be told.
        who: names the process, where there are several.
        arguments: of the command line; with --json among them an object with `error` is all of standard output.
    """
    if wants_json(arguments) and not failure.answered:
        print_error(failure.message, failure.exit_code)
    say(f"{who}{failure.prefix}{failure.message}", err=True)


def print_error(message: str, exit_code: int) -> None:
    """Print the JSON object of a command that failed."""
    click.echo(json.dumps({"error": message, "exit_code": exit_code}, indent=2))
    sys.stdout.flush()


def wants_json(arguments: Sequence[str]) -> bool:
    """Return whether --json is among the options."""
    return "--json" in (arguments[: arguments.index("--")] if "--" in arguments else arguments)


def one_line(text: str) -> str:
    """Return a text in one line, whatever a library's reason holds."""
    return " ".join(text.split())


def _message(error: ReuseError) -> str:
    """Return an error's message, in which a library's reason that has several lines is one."""
    text, cause = str(error), error.__cause__
    while cause is not None:
        text, cause = text.replace(str(cause), one_line(str(cause))), cause.__cause__
    return text


def _is_interrupt(error: BaseException) -> bool:
    """Return whether Ctrl-C was pressed; click makes an error of its own of it."""
    causes = (error, error.__cause__, error.__context__)
    return isinstance(error, click.exceptions.Abort | KeyboardInterrupt) and any(
        isinstance(cause, KeyboardInterrupt) for cause in causes
    )


def _is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory has run out; torch has a class for that on accelerators alone."""
    said = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in said)
    )
