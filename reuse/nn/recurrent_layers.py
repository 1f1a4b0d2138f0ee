"""Recurrent layers: torch's LSTM or GRU with the initial weights, dropout and norms that suit recurrence."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from reuse.errors import UsageError
from reuse.menus import lookup
from reuse.nn.hidden import HiddenStyle, check_probability
from reuse.nn.initializers import initializer
from reuse.nn.norm_specs import Norm
from reuse.nn.norms import build_norm

RECURRENCES: dict[str, Callable[..., nn.LSTM | nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}
WEIGHTS = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
FORGET_GATE = 1  # torch's order of an LSTM's gates: input, forget, cell, output
FORGET_BIAS = 1.0


class RecurrentLayer(nn.Module):
    """One recurrent layer: `recurrent` (torch's LSTM or GRU), then `norm` and `dropout` where they are wanted.

    Recurrent dropout drops connections between hidden states, the same ones at every step of a batch (DropConnect on
    the recurrent weights: Merity et al. 2017, https://arxiv.org/abs/1708.02182); what is left is scaled up.

    Args:
        family: "lstm" or "gru".
        num_inputs: features of a step.
        width: units.
        style: norm, dropout and the initial input weights (None: Glorot's); activations are the recurrence's own.
        recurrent_dropout: probability of dropping a recurrent weight in training.

    Takes `(batch, time, num_inputs)` and returns `(batch, time, width)`.
    """

    def __init__(
        self, family: str, num_inputs: int, width: int, style: HiddenStyle, recurrent_dropout: float = 0.0
    ) -> None:
        super().__init__()
        check_probability("recurrent_dropout", recurrent_dropout)
        self.recurrent = lookup(RECURRENCES, family, "recurrence")(num_inputs, width, batch_first=True)
        initialize_recurrent(self.recurrent, style.init or "glorot_uniform")
        norm = style.placed_norm
        self.norm = None if norm is None else norm_of_steps(norm, width)
        self.dropout = nn.Dropout(style.dropout) if style.dropout else None
        self.recurrent_dropout = recurrent_dropout

    def forward(self, x: Tensor) -> Tensor:
        """Return the hidden state of every step."""
        steps = self._recur(x)
        if self.norm is not None:
            steps = over_steps(self.norm, steps)
        return steps if self.dropout is None else self.dropout(steps)

    def _recur(self, x: Tensor) -> Tensor:
        layer = self.recurrent
        weights: list[Tensor] = [getattr(layer, name) for name in WEIGHTS]
        if self.recurrent_dropout and layer.training:  # the layer's own mode: a frozen one is in evaluation mode
            weights[1] = functional.dropout(weights[1], self.recurrent_dropout)
        start = x.new_zeros(1, x.size(0), layer.hidden_size)
        # Called as a function, since cuDNN hands no gradient on through a module in evaluation mode, as a frozen layer
        # above one that trains is. Without dropout between layers of one module both modes compute the same.
        like_training = torch.is_grad_enabled()
        if isinstance(layer, nn.LSTM):
            return torch.lstm(x, (start, start), weights, True, 1, 0.0, like_training, False, True)[0]
        return torch.gru(x, start, weights, True, 1, 0.0, like_training, False, True)[0]


@torch.no_grad()
def initialize_recurrent(layer: nn.LSTM | nn.GRU, init: str = "glorot_uniform") -> None:
    """Fill the weights of each gate of a layer by itself, and its biases.

    Recurrent weights are orthogonal, which keeps the hidden state's length over many steps (Saxe et al. 2014,
    https://arxiv.org/abs/1312.6120). The forget gate of an LSTM begins with bias 1, so that it remembers (Jozefowicz et
    al. 2015, https://proceedings.mlr.press/v37/jozefowicz15.html); all other biases are zero.

    Args:
        layer: of one layer and direction.
        init: a name of `reuse.nn.initializers.INITIALIZERS`, for the input weights.
    """
    fill, width = initializer(init), layer.hidden_size
    inputs, connections, bias, second_bias = (getattr(layer, name) for name in WEIGHTS)
    for gate in inputs.split(width):
        try:
            fill(gate)
        except (TypeError, ValueError) as error:
            raise UsageError(f"initializer {init!r} cannot be used: {error}") from error
    for gate in connections.split(width):
        nn.init.orthogonal_(gate)
    for biases in (bias, second_bias):  # torch adds the two
        nn.init.zeros_(biases)
    if isinstance(layer, nn.LSTM):
        bias.split(width)[FORGET_GATE].fill_(FORGET_BIAS)


def norm_of_steps(norm: Norm, width: int) -> nn.Module:
    """Return a new norm of feature vectors, for `over_steps`.

    Raises:
        UsageError: a norm of weights, or another that is not of vectors.
    """
    if not norm.is_layer:
        raise UsageError(f"norm {norm.name!r} is of linear and convolutional layers: take layer or rms")
    return build_norm(norm.name, width, arguments=norm.arguments)


def over_steps(norm: nn.Module, steps: Tensor) -> Tensor:
    """Return `steps`, `(batch, time, features)`, each normalised as a row by itself, so that none knows of later ones.

    Only batch norm's statistics are over rows and steps together, padding among them.
    """
    normalised: Tensor = norm(steps.flatten(0, 1))
    return normalised.view_as(steps)
