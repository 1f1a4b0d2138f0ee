"""Output of the command line: progress on standard error, results on standard output."""

import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click

from reuse.cli.progress import RowBar, RowLines, TrainingBar, TrainingLines
from reuse.cli.saying import say
from reuse.cli.wording import as_typed
from reuse.escaping import escaped
from reuse.reporting import Epoch, Progress, Reporter, Underway
from reuse.settings.files import without_infinities

DASH = "–"  # in place of a number that there cannot be
MOST, RANGE, MOST_DECIMALS = 1e4, 30, 4  # of numbers that have as many decimals as one another


class Printer(Reporter):
    """Prints lines and progress to standard error: a bar on a terminal, plain lines elsewhere."""

    def __init__(self) -> None:
        context = click.get_current_context(silent=True)
        self.began = context.find_root().obj if context else None
        self.is_terminal = sys.stderr.isatty() and os.get_terminal_size(sys.stderr.fileno()).columns > 0
        self.training: TrainingBar | TrainingLines | None = None

    def line(self, text: str) -> None:
        """Print one line, which names settings as they are typed."""
        say(as_typed(text), err=True)

    def batch(self, underway: Underway, loss: Callable[[], float]) -> None:
        """Show a batch."""
        shown = self.training
        if (
            shown is None
            or (shown.rows, shown.epochs) != (underway.rows, underway.epochs)
            or is_before(underway, shown)
        ):
            self.close()
            self.training = shown = (TrainingBar if self.is_terminal else TrainingLines)(underway)
        shown.batch(underway, loss)

    def epoch(self, epoch: Epoch, epochs: int) -> None:
        """Show an epoch."""
        if self.training is None:  # whoever trains tells of no batches
            self.batch(Underway(epoch.number, epochs, 1, 1), lambda: epoch.train["loss"])
        assert self.training is not None
        self.training.epoch(epoch)
        if epoch.number == epochs:
            self.close()

    def close(self) -> None:
        """Take the bar away."""
        if self.training is not None:
            self.training.close()
            self.training = None

    @contextmanager
    def rows(self, total: int, what: str, unit: str = "row") -> Iterator[Progress]:
        """Show work on rows."""
        if total == 0:
            yield Progress()
            return
        with (RowBar if self.is_terminal else RowLines)(total, what, unit) as progress:
            yield progress


def is_before(underway: Underway, shown: TrainingBar | TrainingLines) -> bool:
    """Return whether an epoch is of another training than what is shown, which is further."""
    return underway.number < shown.number


class QuietPrinter(Reporter):
    """Prints warnings alone, and what decides a result: notes on the data."""

    def __init__(self) -> None:
        context = click.get_current_context(silent=True)
        self.began = context.find_root().obj if context else None

    def warning(self, text: str) -> None:
        """Print a line."""
        say(as_typed(text), err=True)

    def close(self) -> None:
        """There is no bar to take away."""


def print_json(values: Mapping[str, Any] | Sequence[Any]) -> None:
    """Print one JSON object on standard output."""
    click.echo(json.dumps(without_infinities(values), indent=2, default=str))


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as a table with a header; numbers are right-aligned, a missing value is empty, or the dash given.

    Fractions of one size have as many decimals as one another.
    """
    rows = [{escaped(name): value for name, value in row.items()} for row in rows]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    written = [_numbers_of([row.get(name) for row in rows]) for name in columns]
    cells = [[write(row.get(name)) for name, write in zip(columns, written, strict=True)] for row in rows]
    widths = [max(len(name), *(len(line[i]) for line in cells)) for i, name in enumerate(columns)]
    right = [
        all(isinstance(row.get(name), int | float | None) or row.get(name) == DASH for row in rows) for name in columns
    ]

    def line(parts: Sequence[str]) -> str:
        padded = [p.rjust(w) if r else p.ljust(w) for p, w, r in zip(parts, widths, right, strict=True)]
        return "  ".join(padded).rstrip()

    return "\n".join([line(columns), *(line(row) for row in cells)])


def _numbers_of(column: Sequence[Any]) -> Callable[[Any], str]:
    """Return what writes the cells of a column."""
    numbers = [value for value in column if isinstance(value, float) and math.isfinite(value)]
    sizes, form = [abs(value) for value in numbers if value], ".4g"
    if sizes and max(sizes) < min(MOST, RANGE * min(sizes)):
        decimals = max(len(f"{value:.4g}".partition(".")[2]) for value in numbers)
        form = f".{decimals}f" if decimals <= MOST_DECIMALS else form

    def write(value: Any) -> str:
        if value is None:
            return ""
        if isinstance(value, bool):
            return "yes" if value else "no"
        return format(value, form) if isinstance(value, float) else escaped(str(value))

    return write
