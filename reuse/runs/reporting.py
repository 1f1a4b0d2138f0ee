"""What a training tells whoever started it. The command line prints it; in a pipeline nobody listens."""

from collections.abc import Iterator
from contextlib import contextmanager

from reuse.training.epoch import Epoch


class Reporter:
    """Says nothing. Listeners override what they want to hear."""

    def line(self, text: str) -> None:
        """Take one line for a person to read."""

    def epoch(self, epoch: Epoch, epochs: int) -> None:
        """Take an epoch of `epochs`, just finished."""

    @contextmanager
    def rows(self, total: int, what: str) -> Iterator["Progress"]:  # noqa: ARG002 - a listener reads both
        """Take the beginning of work on `total` rows; the block advances what it is given."""
        yield Progress()


class Progress:
    """Counts rows done."""

    def advance(self, rows: int) -> None:
        """Take `rows` more rows as done."""
