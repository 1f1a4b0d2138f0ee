"""Progress of work: a bar on a terminal; elsewhere a line now and then, the more seldom the longer the work takes."""

import sys
import time
from collections.abc import Callable
from typing import Any

from tqdm import tqdm

from reuse.cli.saying import say
from reuse.reporting import Epoch, Progress, Underway
from reuse.units import format_seconds

BAR_SECONDS = 0.2  # from one look at the loss to the next, which waits for the device
DELAY_SECONDS = 0.5  # work that takes less shows no bar of its own
EPOCH_SECONDS, ROW_SECONDS, MOST_SECONDS = 3.0, 10.0, 60.0  # from line to line, at least and at most
PART = 30  # of the time since the beginning that passes from line to line
BAR = "{desc} {percentage:3.0f}%|{bar}| {rate_noinv_fmt}, {remaining} left{postfix}"


class TrainingBar:
    """A bar over all rows of all epochs.

    Args:
        underway: the first batch that is shown.
    """

    def __init__(self, underway: Underway) -> None:
        self.rows, self.epochs, self.number = underway.rows, underway.epochs, underway.number
        start = (underway.number - 1) * underway.rows
        self._bar = _bar(underway.epochs * underway.rows, "", "row", initial=start)
        self._next, self._valid = 0.0, ""

    def batch(self, underway: Underway, loss: Callable[[], float]) -> None:
        """Move the bar on, a few times a second."""
        self.number, now = underway.number, time.monotonic()
        if now >= self._next:
            self._next = now + BAR_SECONDS
            self._show(underway.done, f"loss {loss():.4f}{self._valid}")

    def epoch(self, epoch: Epoch) -> None:
        """Show what an epoch came to."""
        self._valid = "".join(f", valid {name} {value:.4f}" for name, value in epoch.valid.items())
        self.number = epoch.number
        self._show(self.rows, f"loss {epoch.train['loss']:.4f}{self._valid}")

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()

    def _show(self, done: int, text: str) -> None:
        self._bar.set_description_str(f"epoch {self.number}/{self.epochs}", refresh=False)
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.update((self.number - 1) * self.rows + done - self._bar.n)


class TrainingLines:
    """Lines of a training.

    Args:
        underway: the first batch that is told.
    """

    def __init__(self, underway: Underway) -> None:
        self.rows, self.epochs, self.number = underway.rows, underway.epochs, underway.number
        self._due = _Due()
        self._speed = _Speed(underway.epochs * underway.rows, (underway.number - 1) * underway.rows)

    def batch(self, underway: Underway, loss: Callable[[], float]) -> None:
        """Tell how far the epoch is, if nothing was told for a while."""
        self.number = underway.number
        if self._due.is_due(ROW_SECONDS):
            done = (underway.number - 1) * underway.rows + underway.done
            where = f"epoch {underway.number}/{underway.epochs}  {underway.done:,} of {underway.rows:,} rows"
            say(f"{where}  loss {loss():.4f}  {self._speed.told(done, 'row')} at most", err=True)

    def epoch(self, epoch: Epoch) -> None:
        """Tell what an epoch came to, if the last one was told a while ago."""
        self.number = epoch.number
        if self._due.is_due(EPOCH_SECONDS, at_once=True) or epoch.number == self.epochs:
            valid = (f"valid {name} {value:.4f}" for name, value in epoch.valid.items())
            text = " ".join([f"loss {epoch.train['loss']:.4f}", *valid])
            say(f"epoch {epoch.number}/{self.epochs}  {text}  {format_seconds(epoch.seconds)}", err=True)

    def close(self) -> None:
        """Leave the lines where they are."""


class RowBar(Progress):
    """A bar over rows; closed by leaving it as a context.

    Args:
        total: rows, or other units.
        what: is done with them.
        unit: name of one.
    """

    def __init__(self, total: int, what: str, unit: str) -> None:
        self._bar = _bar(total, what, unit, delay=DELAY_SECONDS)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def advance(self, rows: int, note: str = "") -> None:
        """Move the bar on."""
        if note:
            self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(rows)


class RowLines(Progress):
    """Lines of work on rows, where it takes long; arguments as those of `RowBar`."""

    def __init__(self, total: int, what: str, unit: str) -> None:
        self.total, self.what, self.unit, self.done = total, what, unit, 0
        self._due, self._speed = _Due(), _Speed(total)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._due.was_due and kind is None:
            seconds = format_seconds(time.monotonic() - self._due.began)
            say(f"{self.what}: {self.done:,} {self.unit}s in {seconds}", err=True)

    def advance(self, rows: int, note: str = "") -> None:
        """Tell how far the work is, if nothing was told for a while."""
        self.done += rows
        if self._due.is_due(ROW_SECONDS):
            told = f"{self.done:,} of {self.total:,} {self.unit}s  {self._speed.told(self.done, self.unit)}"
            say(f"{self.what}: {told}{f'  {note}' if note else ''}", err=True)


class _Due:
    """Says when a line is due."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self._last: float | None = None

    @property
    def was_due(self) -> bool:
        """Whether a line has been told."""
        return self._last is not None

    def is_due(self, seconds: float, *, at_once: bool = False) -> bool:
        """Return whether a line is due, which then counts as told: the first one soon, or at once."""
        now = time.monotonic()
        if self._last is None:
            due = at_once or now - self.began > EPOCH_SECONDS
        else:
            due = now - self._last > min(max(seconds, (now - self.began) / PART), MOST_SECONDS)
        if due:
            self._last = now
        return due


class _Speed:
    """Units a second since the beginning, and the time that is left."""

    def __init__(self, total: int, start: int = 0) -> None:
        self.total, self.start, self.began = total, start, time.monotonic()

    def told(self, done: int, unit: str) -> str:
        """Return both in words."""
        rate = (done - self.start) / max(time.monotonic() - self.began, 1e-9)
        left = (self.total - done) / rate if rate else 0.0
        return f"{rate:,.{0 if rate >= 10 else 1}f} {unit}s/s  {format_seconds(max(left, 0.0))} left"


def _bar(total: int, what: str, unit: str, **settings: Any) -> Any:
    how: dict[str, Any] = {"unit": f" {unit}s", "unit_scale": True, "leave": False, "dynamic_ncols": True}
    return tqdm(total=total, desc=what, file=sys.stderr, bar_format=BAR, **how, **settings)
