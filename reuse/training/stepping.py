"""Taking the steps of an epoch, one after the other."""

from collections.abc import Sequence

from torch import Tensor

from reuse.data.rows import Batch
from reuse.training.pacing import Pace
from reuse.training.step import Step


class EagerSteps:
    """The steps of an epoch, each taken by a call of its own.

    Args:
        step: takes one.
        pace: sets the rates before each.
        sizes: rows of each batch of each step.
        start: how many steps the epochs before have taken.

    Attributes:
        calls: rows of each batch of each call of `take`.
    """

    def __init__(self, step: Step, pace: Pace, sizes: Sequence[Sequence[int]], start: int) -> None:
        self.step, self.pace, self.calls, self.at = step, pace, sizes, start

    def take(self, batches: Sequence[Batch], weights: Sequence[float] | None) -> Tensor:
        """Take what is to be taken next, and return the loss, or the losses of several steps, still on the device.

        Args:
            batches: the rows of one call.
            weights: by what the batches' mean losses are multiplied; None: they count by their rows.
        """
        self.pace.set(self.at)
        self.at += 1
        self.step.progress = self.at / self.pace.total
        return self.step(batches, weights)
