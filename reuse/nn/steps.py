"""The hidden state at every step of a sequence, where a recurrent net itself gives the last alone."""

import torch
from torch import Tensor

from reuse.nn.embeddings import PADDING
from reuse.nn.recurrent import RecurrentNet
from reuse.nn.recurrent_layers import over_steps


def hidden_steps(net: RecurrentNet, x: Tensor) -> Tensor:
    """Return what the last recurrent layer says at each step, of which none has seen later ones.

    Args:
        net: with or without its output layer.
        x: as the net takes it: steps `(batch, time, features)`, or tokens `(batch, time)`.

    Returns:
        `(batch, time, width)`.
    """
    for name in net.below:
        layer = net.get_submodule(name)
        x = over_steps(layer, x) if name == "input_norm" else layer(x)
    return x


def present(x: Tensor) -> Tensor:
    """Return which steps of sequences are there, bool `(batch, time)`: all, or the tokens that are no padding."""
    return torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if x.is_floating_point() else x != PADDING


def draw_steps(there: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Draw exactly a share of the steps that are there, of each row.

    The share is in whole steps, one at least, and one at least is left: of a row with a single step none is drawn.

    Args:
        there: bool `(batch, time)`.
        share: between 0 and 1.

    Returns:
        Places of steps, int64 `(batch, most)`, and which of them were drawn, bool `(batch, most)`: of a row with fewer
        steps fewer.
    """
    most, counts = max(round(share * there.size(1)), 1), count_drawn(there, share)[:, None]
    scores = torch.rand(there.shape, device=there.device).masked_fill(~there, 2.0)  # behind all that are there
    return scores.argsort(1)[:, :most], torch.arange(most, device=there.device) < counts


def count_drawn(there: Tensor, share: float) -> Tensor:
    """Return how many steps `draw_steps` draws of each row, float `(batch,)`."""
    lengths = there.sum(1)
    return (share * lengths).round().clamp(min=1).minimum(lengths - 1).clamp(min=0)


def hide_steps(x: Tensor, places: Tensor, drawn: Tensor) -> Tensor:
    """Return sequences in which the steps drawn are 0: padding among tokens, the mean of standardised numbers."""
    hidden = torch.zeros(x.shape[:2], dtype=torch.bool, device=x.device).scatter(1, places, drawn)
    return x.masked_fill(hidden.view(*hidden.shape, *[1] * (x.dim() - 2)), PADDING)


def steps_at(x: Tensor, places: Tensor) -> Tensor:
    """Return the steps of sequences at `places`, `(batch, most)` or `(batch, most, features)`."""
    if x.dim() == 2:
        return x.gather(1, places)
    return x.gather(1, places[:, :, None].expand(-1, -1, x.size(2)))
