"""Recurrent networks: `lstm:64`, `gru:64,32`."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from reuse.nn.embeddings import PADDING
from reuse.nn.hidden import HiddenStyle, output_linear
from reuse.nn.recurrent_layers import RecurrentLayer, norm_of_steps, over_steps
from reuse.nn.selu import warn_caller

SAID_BY_DEFAULT = ("relu", "elu", "tanh")  # defaults for other networks, of which nobody need be told; and the own


class RecurrentNet(nn.Module):
    """Recurrent layers over the steps of a sequence; the output layer sees the last step that is no padding.

    Its layers are `embedding` where the inputs are tokens, `input_norm` and `input_dropout` if wanted, `lstm1`,
    `lstm2`, … (or `gru1`, …), `output`. Dropout stands behind every recurrent layer.

    Args:
        family: "lstm" or "gru".
        num_features: of a step: the inputs', or those of the embedding.
        widths: units of each recurrent layer, lowest first.
        num_outputs: units of the output layer, which has no activation.
        style: norm, initial input weights and dropout of the recurrent layers.
        input_dropout: probability of dropping a feature of a step in training.
        recurrent_dropout: see `RecurrentLayer`.
        embedding: from tokens `(batch, time)` to steps; None: the inputs are steps.

    Takes `(batch, time, num_features)`, of which all steps count, or tokens `(batch, time)`, int64, of which 0 is
    padding, and returns `(batch, num_outputs)`. No tokens but padding count as one step.
    """

    def __init__(
        self,
        family: str,
        num_features: int,
        widths: Sequence[int],
        num_outputs: int,
        style: HiddenStyle | None = None,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        embedding: nn.Embedding | None = None,
    ) -> None:
        super().__init__()
        self.style = style or HiddenStyle()
        self.widths = tuple(widths)
        _warn_of_style(family, self.style)
        norm = self.style.placed_norm
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if embedding is not None:
            layers["embedding"] = embedding
        if norm is not None and norm.input:
            layers["input_norm"] = norm_of_steps(norm, num_features)
        if input_dropout:
            layers["input_dropout"] = nn.Dropout(input_dropout)
        for number, width in enumerate(self.widths, start=1):
            layers[f"{family}{number}"] = RecurrentLayer(family, num_features, width, self.style, recurrent_dropout)
            num_features = width
        outputs = output_linear(num_features, num_outputs, self.style)
        for name, layer in (layers | {"last": LastStep()} | outputs).items():
            self.add_module(name, layer)
        self.lengths = None if embedding is None else Lengths()
        self.below, self.above = tuple(layers), tuple(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs, `(batch, num_outputs)`."""
        lengths = None if self.lengths is None else self.lengths(x)
        for name in self.below:
            layer = self.get_submodule(name)
            x = over_steps(layer, x) if name == "input_norm" else layer(x)
        x = self.get_submodule("last")(x, lengths)
        for name in self.above:
            x = self.get_submodule(name)(x)
        return x


class Lengths(nn.Module):
    """The number of steps in each row of tokens: up to its rightmost token that is no padding."""

    def forward(self, tokens: Tensor) -> Tensor:
        """Return `(batch,)` int64 for tokens `(batch, time)`; 0 where all is padding."""
        numbers = torch.arange(1, tokens.size(1) + 1, device=tokens.device)
        return ((tokens != PADDING) * numbers).amax(1)


class LastStep(nn.Module):
    """The last step of each row.

    Gathered, where packing the sequences would need their lengths on the CPU and a graph of its own for each batch.
    """

    def forward(self, steps: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return `(batch, features)` of steps `(batch, time, features)`; without `lengths` all rows are full."""
        if lengths is None:
            return steps[:, -1]
        places = (lengths - 1).clamp(min=0).view(-1, 1, 1).expand(-1, 1, steps.size(2))
        return steps.gather(1, places).squeeze(1)


def _warn_of_style(family: str, style: HiddenStyle) -> None:
    norm = style.placed_norm
    if norm is not None and norm.name == "batch":
        warn_caller(
            f"norm 'batch' in a recurrent net ({family}): its statistics mix steps of all ages and padding, which "
            "harms more than it helps; clip gradients instead (clip_norm), or choose norm layer or rms"
        )
    if style.activation == "selu":
        warn_caller(
            f"activation 'selu' in a recurrent net ({family}): it keeps activations at mean 0 and variance 1 only in "
            "plain stacks of dense layers, and is not used: recurrent layers keep torch's tanh and sigmoid"
        )
    elif style.activation not in SAID_BY_DEFAULT:
        warn_caller(
            f"activation {style.activation!r} is not used: recurrent layers ({family}) keep torch's tanh and sigmoid"
        )
