"""timm's optimizers, of which there are about a hundred beside torch's; and the arguments that any optimizer takes."""

import importlib.util
from collections.abc import Callable, Iterable
from typing import Any

from torch.optim import Optimizer

from reuse.errors import UnknownNameError, UsageError
from reuse.menus import Named, arguments_for, suggest
from reuse.optim.groups import OptimizerSettings

OWN_SETTINGS = {"lr": "learning rate", "weight_decay": "weight decay", "momentum": "momentum"}
"""Arguments that have a setting of their own."""

FIXED = ("params", "foreach", "fused", "maximize", "differentiable", "capturable", "args", "kwargs")
"""Arguments that are decided here: the parameters, and how the arithmetic is done."""


def optimizer_arguments(make: Callable[..., object], named: Named) -> dict[str, Any]:
    """Return the arguments behind an optimizer's name, by keyword: `adam:betas=0.9/0.99`.

    Args:
        make: its class.
        named: its name and arguments.

    Raises:
        UsageError: an argument is given without its name, is unknown, has a setting of its own, or is no truth value
            where one is wanted; the message lists what the optimizer takes.
    """
    if named.positions:
        raise UsageError(f"optimizer {named.text!r} gives {named.positions[0]!r} without its name: write key=value")
    for key in named.keywords:
        if key in OWN_SETTINGS:
            raise UsageError(f"optimizer {named.text!r} gives {key}: use the setting {OWN_SETTINGS[key]} instead")
    return arguments_for(make, named, "optimizer", (*OWN_SETTINGS, *FIXED))[1]


def build_timm_optimizer(
    named: Named, settings: OptimizerSettings, groups: list[dict[str, Any]], others: Iterable[str]
) -> Optimizer:
    """Return one of timm's optimizers over parameter groups.

    Args:
        named: a name of `timm.optim.list_optimizers()`, and its arguments by keyword.
        settings: rate, decay, momentum.
        groups: what `reuse.optim.groups.parameter_groups` returns.
        others: names that are known beside timm's, to propose where the name is unknown.

    Raises:
        UnknownNameError: timm has no such optimizer.
        UsageError: it cannot be used here or with these settings; the message says why.
    """
    # Importing timm takes over a second, which a training with torch's own optimizers need not spend.
    from timm.optim import create_optimizer_v2, get_optimizer_class, get_optimizer_info, list_optimizers

    name = named.name
    if name not in list_optimizers():
        raise UnknownNameError(f"unknown optimizer {name!r}: {suggest(name, {*others, *list_optimizers()})}")
    info = get_optimizer_info(name)
    _check_usable(name, second_order=info.second_order)
    if settings.momentum is not None and not info.has_momentum:
        raise UsageError(f"{name} takes no momentum: leave the setting out, or choose nesterov")
    momentum = {} if settings.momentum is None else {"momentum": settings.momentum}
    try:
        arguments = optimizer_arguments(get_optimizer_class(name, bind_defaults=False), named)
        optimizer: Optimizer = create_optimizer_v2(
            groups, name, lr=settings.learning_rate, weight_decay=settings.weight_decay, **momentum, **arguments
        )
    except (ImportError, AssertionError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error) or type(error).__name__
        raise UsageError(f"timm's optimizer {name!r} cannot be used here ({reason}): choose another") from error
    return optimizer


def look_ahead(optimizer: Optimizer) -> Optimizer:
    """Return timm's Lookahead around `optimizer`, with its defaults (Zhang et al. 2019, arXiv:1907.08610)."""
    from timm.optim import Lookahead

    around: Optimizer = Lookahead(optimizer)
    return around


def _check_usable(name: str, *, second_order: bool) -> None:
    """Refuse what would only fail at its first step."""
    if second_order:
        raise UsageError(
            f"{name} needs second derivatives, which a training step here does not compute: choose adam or adabelief"
        )
    if name.startswith("kron") and importlib.util.find_spec("opt_einsum") is None:
        raise UsageError(f"{name} needs opt_einsum, which is not installed: pip install opt_einsum, or choose adamw")
