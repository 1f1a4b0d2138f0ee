"""What the trainer reports after each epoch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to.

    Attributes:
        number: from 1.
        train: metrics while training: `loss`, the mean over rows, with dropout and with the weights as they moved.
        valid: metrics on the validation rows after the epoch, in eval mode; empty without such rows.
        seconds: wall-clock time of training and validation.
        learning_rate: of the first parameter group, at the last step.
    """

    number: int
    train: dict[str, float]
    valid: dict[str, float]
    seconds: float
    learning_rate: float
