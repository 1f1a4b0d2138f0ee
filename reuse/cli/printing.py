"""Output of the command line: progress on standard error, results on standard output."""

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click
from tqdm import tqdm

from reuse.cli.saying import say
from reuse.escaping import escaped
from reuse.reporting import Epoch, Progress, Reporter
from reuse.settings.files import without_infinities
from reuse.units import format_seconds

LINE_SECONDS = 3.0  # without a terminal: a line every few seconds, not a bar


class Printer(Reporter):
    """Prints lines and epochs to standard error: a bar on a terminal, plain lines elsewhere."""

    def __init__(self) -> None:
        context = click.get_current_context(silent=True)
        self.began = context.find_root().obj if context else None
        self.is_terminal = sys.stderr.isatty()
        self.last = 0.0
        self.bar: Any = None

    def line(self, text: str) -> None:
        """Print one line."""
        if self.bar is not None:
            self.bar.clear()
        say(text, err=True)

    def epoch(self, epoch: Epoch, epochs: int) -> None:
        """Show an epoch: on the bar, or as a line if the last one was printed a while ago."""
        text = " ".join([f"loss {epoch.train['loss']:.4f}", *(f"valid {n} {v:.4f}" for n, v in epoch.valid.items())])
        if self.is_terminal:
            self._show(epoch, epochs, text)
        elif time.monotonic() - self.last > LINE_SECONDS or epoch.number == epochs:
            self.last = time.monotonic()
            self.line(f"epoch {epoch.number}/{epochs}  {text}  {format_seconds(epoch.seconds)}")

    def close(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    @contextmanager
    def rows(self, total: int, what: str) -> Iterator[Progress]:
        """Show work on rows as a bar on a terminal."""
        if total == 0 or not self.is_terminal:
            yield Progress()
            return
        with tqdm(total=total, desc=what, unit="row", file=sys.stderr, leave=False) as bar:
            yield _BarProgress(bar)

    def _show(self, epoch: Epoch, epochs: int, text: str) -> None:
        if self.bar is None or epoch.number <= self.bar.n:
            self.close()
            self.bar = tqdm(total=epochs, desc="epochs", file=sys.stderr, leave=False, initial=epoch.number - 1)
        self.bar.set_postfix_str(text, refresh=False)
        self.bar.update(epoch.number - self.bar.n)
        if epoch.number == epochs:
            self.close()


class _BarProgress(Progress):
    def __init__(self, bar: Any) -> None:
        self.bar = bar

    def advance(self, rows: int) -> None:
        self.bar.update(rows)


def print_json(values: Mapping[str, Any] | Sequence[Any]) -> None:
    """Print one JSON object on standard output."""
    click.echo(json.dumps(without_infinities(values), indent=2, default=str))


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as a table with a header; numbers are right-aligned, a missing value is empty."""
    rows = [{escaped(name): value for name, value in row.items()} for row in rows]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[_cell(row.get(name)) for name in columns] for row in rows]
    widths = [max(len(name), *(len(line[i]) for line in cells)) for i, name in enumerate(columns)]
    right = [all(isinstance(row.get(name), int | float | None) for row in rows) for name in columns]

    def line(parts: Sequence[str]) -> str:
        padded = [p.rjust(w) if r else p.ljust(w) for p, w, r in zip(parts, widths, right, strict=True)]
        return "  ".join(padded).rstrip()

    return "\n".join([line(columns), *(line(row) for row in cells)])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else escaped(str(value))
