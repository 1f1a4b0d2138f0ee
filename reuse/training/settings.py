"""The settings of the training loop."""

from dataclasses import dataclass

from reuse.errors import UsageError
from reuse.training.batches import batch_sizes


@dataclass(frozen=True)
class LoopSettings:
    """The settings of the loop over batches.

    Attributes:
        batch_size: rows a batch.
        accumulate: batches a step.
        seed: decides the order of rows and all random numbers of the epochs.
        precision: a name of `reuse.precision.PRECISIONS`; for "float64" the model and its inputs must be.
        compile: compile whole steps: True, or "auto" where that saves time (see `reuse.training.compiling`).
        channels_last: lay trained weights of four dimensions out with their channels last (`reuse.training.layouts`).
        alternate: train every other epoch, from the second on, without dropout, transforms and penalties.
        train_metrics: measure the training rows too after each epoch, in eval mode.

    Raises:
        UsageError: a number is out of its range.
    """

    batch_size: int = 32
    accumulate: int = 1
    seed: int = 0
    precision: str = "float32"
    compile: bool | str = False
    channels_last: bool = False
    alternate: bool = False
    train_metrics: bool = False

    def __post_init__(self) -> None:
        batch_sizes(1, self.batch_size)
        if not isinstance(self.accumulate, int) or self.accumulate < 1:
            raise UsageError(f"accumulate is {self.accumulate}: give the batches of a step, 1 or more")
