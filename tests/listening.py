"""Listening to a training, and pressing Ctrl-C in the middle of it."""

from reuse.reporting import Epoch, Reporter


class Listener(Reporter):
    """Keeps what is said, and presses Ctrl-C while one epoch is reported: `interrupt`; never where that is 0."""

    def __init__(self, interrupt: int = 0) -> None:
        self.lines: list[str] = []
        self.interrupt = interrupt

    def line(self, text: str) -> None:
        self.lines.append(text)

    def epoch(self, epoch: Epoch, epochs: int) -> None:
        if epoch.number == self.interrupt:
            raise KeyboardInterrupt

    def said(self, words: str) -> bool:
        """Return whether a line with these words was said."""
        return any(words in line for line in self.lines)
