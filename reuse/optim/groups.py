"""Parameter groups: each parameter's own rate and decay, and the settings of an optimizer that they follow."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.nn import Parameter

from reuse.errors import UsageError

WEIGHT_NORM_LENGTHS = ".parametrizations.weight.original0"
"""torch's name for the lengths that weight norm parts from the directions; spectral norm has no such tensor."""


@dataclass(frozen=True)
class OptimizerSettings:
    """The settings of an optimizer: which one, and its numbers.

    Attributes:
        name: a name of `reuse.optim.optimizers.OPTIMIZERS` or of `timm.optim.list_optimizers()`, either with
            `lookahead_` before it, and with arguments behind a colon: `rmsprop:alpha=0.9,eps=1e-10`.
        learning_rate: the full rate, above 0.
        momentum: for those that have one; None takes the optimizer's own.
        weight_decay: the optimizer's own kind of decay, 0 or more.
        decay_all: decay norms' scales and all biases too, that is, parameters of one dimension or none.
        rates: multipliers of the rate by full parameter name, above 0; what is not named has 1.
        since: number of the first epoch of parameters that begin to train later than the others, by full name.
        rise: epochs over which the rate of these rises to its full height, 0 or more.

    Raises:
        UsageError: a number is out of its range; the message names it.
    """

    name: str = "adam"
    learning_rate: float = 1e-3
    momentum: float | None = None
    weight_decay: float = 0.0
    decay_all: bool = False
    rates: Mapping[str, float] = field(default_factory=dict)
    since: Mapping[str, int] = field(default_factory=dict)
    rise: float = 0.0

    def __post_init__(self) -> None:
        _check("learning rate", self.learning_rate, self.learning_rate > 0, "above 0")
        _check("weight decay", self.weight_decay, self.weight_decay >= 0, "of 0 or more")
        _check("momentum", self.momentum, self.momentum is None or 0 <= self.momentum < 1, "from 0 up to, not with, 1")
        _check("unfreeze warmup", self.rise, self.rise >= 0, "of 0 or more epochs")
        for name, rate in self.rates.items():
            _check(f"the rate multiplier of {name}", rate, rate > 0, "above 0, or freeze the layer")


def parameter_groups(
    named_parameters: Iterable[tuple[str, Parameter]], settings: OptimizerSettings
) -> list[dict[str, Any]]:
    """Return one group `{"params": [...], "lr": rate, "weight_decay": decay}` for each distinct pair of the two.

    Parameters that begin to train later have groups of their own, with the number of their first epoch as `since`.

    Frozen parameters are left out. Weight decay spares parameters of one dimension or none (biases, the scales of
    norms), as timm's does, and the lengths under weight norm, unless `settings.decay_all`. Groups and their parameters
    keep the order of registration, and there are no more of them than needed: each is a kernel launch of its own.

    Args:
        named_parameters: names and parameters, as `nn.Module.named_parameters` gives them.
        settings: rate, decay, and the multipliers of the rate.
    """
    groups: dict[tuple[float, float, int], list[Parameter]] = {}
    for name, parameter in named_parameters:
        if parameter.requires_grad:
            decays = settings.decay_all or is_weight(name, parameter)
            decay = settings.weight_decay if decays else 0.0
            groups.setdefault((settings.rates.get(name, 1.0), decay, settings.since.get(name, 1)), []).append(parameter)
    return [
        {"params": parameters, "lr": settings.learning_rate * rate, "weight_decay": decay}
        | ({"since": since} if since > 1 else {})
        for (rate, decay, since), parameters in groups.items()
    ]


def is_weight(name: str, parameter: Parameter) -> bool:
    """Return whether a parameter is a matrix or kernel: no bias, no scale of a norm, no length under weight norm."""
    return parameter.ndim > 1 and not name.endswith(WEIGHT_NORM_LENGTHS)


def of_weights(amounts: Mapping[str, float], model: nn.Module) -> dict[str, float]:
    """Return the amounts of weights alone, not those of biases and scales of norms."""
    weights = {name for name, parameter in model.named_parameters() if is_weight(name, parameter)}
    return {name: amount for name, amount in amounts.items() if name in weights and amount}


def layer_decay(model: nn.Module, decay: float) -> dict[str, float]:
    """Return multipliers of the rate that fall by `decay` with each layer away from the output, which has 1.

    Upper layers must change more than lower ones to serve a new task (BEiT, Bao et al. 2021, arXiv:2106.08254). The
    layers of a timm model are those of its own `group_matcher`; of any other model, its children in order of
    registration, the last one being the output. A frozen layer counts as a layer: freezing moves no other rate.

    Args:
        model: a network whose children are in the order of its computation.
        decay: above 0, up to 1.

    Returns:
        Multipliers by parameter name, of the parameters that train.

    Raises:
        UsageError: `decay` is out of range.
    """
    if not 0 < decay <= 1:
        raise UsageError(f"layer decay is {decay}: give a number above 0 and up to 1")
    depths = timm_depths(model) if hasattr(model, "group_matcher") else _depths(model)
    top = max(depths.values(), default=0)
    return {n: decay ** (top - depths.get(n, top)) for n, p in model.named_parameters() if p.requires_grad}


def timm_depths(model: nn.Module) -> dict[str, int]:
    """Return the number of the layer, from 0, of each parameter of a timm model, as its `group_matcher` groups them."""
    # Importing timm takes over a second, which a training without its models need not spend.
    from timm.models import group_parameters

    matcher: Any = model.group_matcher
    depths: dict[str, int] = group_parameters(model, matcher(coarse=False), reverse=True)
    return depths


def _depths(model: nn.Module) -> dict[str, int]:
    """Number the children that hold parameters, from 0; what the model holds itself goes with the lowest.

    Where there is only one such child it is a wrapper, and its own children are the layers.
    """
    prefix, layer = "", model
    children = _children(layer)
    while len(children) == 1 and not list(layer.parameters(recurse=False)) and _children(children[0][1]):
        prefix, layer = f"{prefix}{children[0][0]}.", children[0][1]
        children = _children(layer)
    depths = {prefix + name: 0 for name, _ in layer.named_parameters(recurse=False)}
    for depth, (child, module) in enumerate(children):
        for name, _ in module.named_parameters():
            depths.setdefault(f"{prefix}{child}.{name}", depth)
    return depths


def _children(module: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(name, child) for name, child in module.named_children() if next(child.parameters(), None) is not None]


def _check(what: str, value: float | None, holds: bool, expected: str) -> None:
    if not holds or (value is not None and not math.isfinite(value)):
        raise UsageError(f"{what} is {value}: give a finite number {expected}")
