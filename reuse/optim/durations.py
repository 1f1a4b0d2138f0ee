"""Lengths of time in a run: epochs unless said otherwise, `10000steps` for steps."""

import math
from dataclasses import dataclass

from reuse.errors import UsageError

Duration = float | int | str
"""A number of epochs, or a text such as `20epochs` or `10000steps`."""


@dataclass(frozen=True)
class EpochSpan:
    """How long a run is.

    Attributes:
        steps_per_epoch: optimizer steps in one epoch.
        epochs: of the whole run; None where that is not known yet.
    """

    steps_per_epoch: int
    epochs: int | None = None

    def steps(self, name: str, duration: Duration) -> float:
        """Return a duration in steps, a fraction of one included.

        Args:
            name: of the schedule, for the message.
            duration: see `Duration`.

        Raises:
            UsageError: it is no duration, or not above 0.
        """
        text = str(duration)
        number = text.removesuffix("steps").removesuffix("epochs").strip()
        try:
            length = float(number)
        except ValueError:
            length = math.nan
        if not (math.isfinite(length) and length > 0):
            raise UsageError(f"{name} is given {text!r}: give a number of epochs above 0, or of steps as 10000steps")
        return length if text.endswith("steps") else length * self.steps_per_epoch
