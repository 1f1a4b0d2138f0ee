"""A projector: a small network behind an encoder that a loss is measured behind, and that is thrown away."""

from itertools import pairwise

from torch import nn

from reuse.errors import UsageError
from reuse.nn.hidden import HiddenStyle, hidden_linear, initialize


def build_projector(num_inputs: int, hidden: int, size: int, *, layers: int = 2) -> nn.Sequential:
    """Return a projector from the coding `(batch, …)` to `(batch, size)`: hidden layers with batch norm, and a linear.

    Args:
        num_inputs: numbers of a coding.
        hidden: units of each hidden layer.
        size: of a projection.
        layers: how many there are, the last one among them.

    Raises:
        UsageError: there is nothing to project to.
    """
    if hidden < 1 or size < 1:
        raise UsageError(f"a projector of {hidden} hidden units to {size} numbers: give 1 or more of both")
    widths = [num_inputs, *[hidden] * (layers - 1)]
    style = HiddenStyle(norm="batch")
    between = [hidden_linear(below, width, style) for below, width in pairwise(widths)]
    output = nn.Linear(widths[-1], size)
    initialize(output)
    return nn.Sequential(nn.Flatten(), *between, output)
