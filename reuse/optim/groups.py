"""Parameter groups: each parameter's own rate and decay."""

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn
from torch.nn import Parameter

from reuse.errors import UsageError
from reuse.optim.settings import OptimizerSettings

WEIGHT_NORM_LENGTHS = ".parametrizations.weight.original0"
"""How torch calls the lengths that weight norm parts from the directions; spectral norm has no such tensor."""


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
