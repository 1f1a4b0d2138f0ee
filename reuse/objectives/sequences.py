"""Steps told: tokens by logits, steps of numbers by numbers."""

from torch import Tensor
from torch.nn.functional import cross_entropy

from reuse.data.dataset import Dataset
from reuse.errors import UsageError
from reuse.objectives.objective import divisor_of


def check_sequences(data: Dataset) -> None:
    """Raise a UsageError unless the rows of the data are sequences of two steps or more."""
    shape = data.input_shape
    if len(shape) != (2 if data.num_tokens is None else 1):
        raise UsageError(
            f"steps of sequences are told from others, and these inputs are of shape {shape}: give texts (text), tokens"
            " (vocabulary) or arrays (rows, time, features), or pretrain otherwise (autoencoder)"
        )
    if shape[0] < 2:
        raise UsageError("steps are told from others, and these sequences have one: give longer ones")


def step_width(data: Dataset) -> int:
    """Return how many numbers tell a step: a logit for each token, or its features."""
    return data.num_tokens or data.input_shape[1]


def step_errors(told: Tensor, truth: Tensor) -> Tensor:
    """Return the error of each step, `(batch, time)`: the cross-entropy of tokens, the mean squared error of numbers.

    Args:
        told: `(batch, time, width)`.
        truth: tokens `(batch, time)`, int64, or steps `(batch, time, width)`.
    """
    if truth.is_floating_point():
        return (told - truth).square().mean(2)
    return cross_entropy(told.transpose(1, 2), truth, reduction="none")


def mean_over(errors: Tensor, which: Tensor) -> Tensor:
    """Return the mean of the errors of some steps, 0 where there are none."""
    return (errors * which).sum() / divisor_of(which.sum())
