"""What the trainer reports after each epoch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to.

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
