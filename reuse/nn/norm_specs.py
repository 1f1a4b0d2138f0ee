"""Norms as text: which one, its arguments, and where it stands: `batch`, `batch:eps=0.001,after,input,output`.

Norms of a layer's weights instead of its outputs are here too: the layer computes its weight from others each time it
is used. The state dict holds these others: for `weight` norm the length and the direction of each unit's weights,
`linear.parametrizations.weight.original0` and `original1`; for `spectral` norm the weight before it is divided by its
greatest singular value, `original`, and that value's vectors, which training steps improve.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import nn
from torch.nn.utils import parametrizations

from reuse.errors import UsageError
from reuse.menus import Named, is_number, lookup, parse_named

NONE = "none"
PLACES = ("after", "input", "output")
ALIASES = {"lrn": "local_response"}

# Salimans and Kingma 2016, https://arxiv.org/abs/1602.07868; Miyato et al. 2018, https://arxiv.org/abs/1802.05957.
WEIGHT_NORMS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "weight": parametrizations.weight_norm,
    "spectral": parametrizations.spectral_norm,
}


@dataclass(frozen=True)
class Norm:
    """A norm and where it stands.

    Attributes:
        name: a name of the menus in `norms`, or of `WEIGHT_NORMS`.
        after: behind the activation of each hidden layer; otherwise in front of it (Ioffe and Szegedy 2015).
        input: on the inputs too, where it does what standardising them would.
        output: on the outputs (logits) too.
        arguments: of the norm, by name.
    """

    name: str
    after: bool = False
    input: bool = False
    output: bool = False
    arguments: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_layer(self) -> bool:
        """Whether it is a layer behind the linear part; weight and spectral norm are of that part's weights."""
        return self.name not in WEIGHT_NORMS

    @property
    def within(self) -> "Norm":
        """The same norm on hidden layers alone."""
        return replace(self, input=False, output=False)

    def __str__(self) -> str:
        """Return the text that `parse_norm` takes."""
        return str(Named(self.name, tuple([place for place in PLACES if getattr(self, place)]), self.arguments))


def parse_norm(text: str | None) -> Norm | None:
    """Return the norm in `text`, None for None and `none`.

    Args:
        text: a name; behind a colon arguments such as `eps=0.001` (see `norms.ARGUMENTS`) and places, in any order.

    Raises:
        UnknownNameError: a place that is none of the three.
        UsageError: an argument that is no number, or a place where a norm of weights cannot stand.
    """
    if text is None or text.strip() == NONE:
        return None
    named = parse_named(text, "norm")
    for place in named.positions:
        lookup(dict.fromkeys(PLACES), str(place), "place of a norm")
    arguments = {name: _number(name, value, text) for name, value in named.keywords.items()}
    norm = Norm(ALIASES.get(named.name, named.name), **dict.fromkeys(named.positions, True), arguments=arguments)
    if not norm.is_layer and (norm.after or norm.input or arguments):
        raise UsageError(
            f"norm {text!r}: a {norm.name} norm is of a layer's weights, so it takes no arguments and stands nowhere "
            f"but on layers: write {norm.name!r}, or '{norm.name}:output' for the output layer too"
        )
    return norm


def normalise_weight(layer: nn.Module, name: str) -> None:
    """Give a linear or convolutional layer, whose initial weights are drawn, the norm of weights called `name`.

    Weight norm leaves the weight as it is; spectral norm divides it by its greatest singular value at once.

    Raises:
        UnknownNameError: no norm of weights has that name.
        UsageError: the weights are all zero and have no direction.
    """
    lookup(WEIGHT_NORMS, name, "norm of weights")(layer)
    weight = layer.weight
    assert isinstance(weight, torch.Tensor)
    if not bool(torch.isfinite(weight).all()):
        raise UsageError(f"norm {name!r} needs weights with a direction, and a unit of these begins at zero: use init")


def _number(name: str, value: object, text: str) -> float:
    if not is_number(value):
        raise UsageError(f"{name} of norm {text!r} is no number: write it as in batch:eps=0.001")
    return float(value)
