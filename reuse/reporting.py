"""Reports of a training to whoever started it. The command line prints them; in a pipeline nobody listens."""

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Epoch:
    """The outcome of one epoch.

    Attributes:
        number: from 1.
        train: metrics while training: `loss`, the mean over rows, with dropout and with the weights as they moved;
            where it is wanted, with `eval_` before their names, the metrics on the training rows as `valid` has them.
        valid: metrics on the validation rows after the epoch, in eval mode; empty without such rows.
        seconds: wall-clock time of training and validation.
        learning_rate: of the first parameter group, at the last step.
        notes: what there is to say about it, in sentences.
    """

    number: int
    train: dict[str, float]
    valid: dict[str, float]
    seconds: float
    learning_rate: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Underway:
    """An epoch that is under way.

    Attributes:
        number: from 1.
        epochs: number of the last epoch.
        done: rows that have been trained on.
        rows: of the whole epoch.
    """

    number: int
    epochs: int
    done: int
    rows: int


class Reporter:
    """Says nothing. Listeners override what they want to hear.

    Attributes:
        began: when the command that they listen to began, its imports included, in seconds of `time.perf_counter`;
            None: with the call.
    """

    began: float | None = None

    def start(self) -> float:
        """Return when the command began, in seconds of `time.perf_counter`."""
        return time.perf_counter() if self.began is None else self.began

    def line(self, text: str) -> None:
        """Take one line for a person to read."""

    def warning(self, text: str) -> None:
        """Take a line that is to be read in any case; a line as any other, where nobody tells them apart."""
        self.line(text)

    def batch(self, underway: Underway, loss: Callable[[], float]) -> None:
        """Take a batch of an epoch as done.

        Args:
            underway: where the epoch is.
            loss: gives the mean loss of the last steps, and waits for the device to have it.
        """

    def epoch(self, epoch: Epoch, epochs: int) -> None:
        """Take an epoch of `epochs`, just finished."""

    @contextmanager
    def rows(self, total: int, what: str, unit: str = "row") -> Iterator["Progress"]:  # noqa: ARG002 - a listener reads them
        """Take the beginning of work on `total` rows, or other units; the block advances what it is given."""
        yield Progress()


class Warner(Reporter):
    """Warns of every line, where whoever listens is a program of somebody else's."""

    def line(self, text: str) -> None:
        """Warn of it."""
        warnings.warn(text, stacklevel=2)


class Transcript(Reporter):
    """Passes everything on, and keeps the lines.

    Args:
        listener: who is told.

    Attributes:
        lines: what was said so far.
    """

    def __init__(self, listener: Reporter) -> None:
        self.listener, self.began = listener, listener.began
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        """Keep a line and pass it on."""
        self.lines.append(text)
        self.listener.line(text)

    def warning(self, text: str) -> None:
        """Keep a line that is to be read in any case, and pass it on."""
        self.lines.append(text)
        self.listener.warning(text)

    def batch(self, underway: Underway, loss: Callable[[], float]) -> None:
        """Pass a batch on."""
        self.listener.batch(underway, loss)

    def epoch(self, epoch: Epoch, epochs: int) -> None:
        """Pass an epoch on."""
        self.listener.epoch(epoch, epochs)

    @contextmanager
    def rows(self, total: int, what: str, unit: str = "row") -> Iterator["Progress"]:
        """Pass work on rows on."""
        of_rows = (total, what) if unit == "row" else (total, what, unit)  # some listeners know rows alone
        with self.listener.rows(*of_rows) as progress:
            yield progress


class Progress:
    """Counts rows done."""

    def advance(self, rows: int, note: str = "") -> None:
        """Take `rows` more rows as done; a note says what they came to."""


NOBODY, UNHEARD = Reporter(), Progress()
"""Who is told where nobody listens."""
