"""timm's optimizers, of which there are about a hundred beside torch's."""

import importlib.util
from collections.abc import Iterable, Mapping
from typing import Any

from torch.optim import Optimizer

from reuse.errors import UnknownNameError, UsageError
from reuse.menus import suggest
from reuse.optim.optimizer_arguments import check_arguments
from reuse.optim.settings import OptimizerSettings


def build_timm_optimizer(
    name: str,
    settings: OptimizerSettings,
    groups: list[dict[str, Any]],
    arguments: Mapping[str, Any],
    others: Iterable[str],
) -> Optimizer:
    """Return timm's optimizer `name` over parameter groups.

    Args:
        name: a name of `timm.optim.list_optimizers()`.
        settings: rate, decay, momentum.
        groups: what `reuse.optim.groups.parameter_groups` returns.
        arguments: further ones, by keyword.
        others: names that are known beside timm's, to propose where `name` is unknown.

    Raises:
        UnknownNameError: timm has no such optimizer.
        UsageError: it cannot be used here or with these settings; the message says why.
    """
    # Importing timm takes over a second, which a training with torch's own optimizers need not spend.
    from timm.optim import create_optimizer_v2, get_optimizer_class, get_optimizer_info, list_optimizers

    if name not in list_optimizers():
        raise UnknownNameError(f"unknown optimizer {name!r}: {suggest(name, {*others, *list_optimizers()})}")
    info = get_optimizer_info(name)
    _check_usable(name, second_order=info.second_order)
    if settings.momentum is not None and not info.has_momentum:
        raise UsageError(f"{name} takes no momentum: leave the setting out, or choose nesterov")
    momentum = {} if settings.momentum is None else {"momentum": settings.momentum}
    try:
        check_arguments(name, get_optimizer_class(name, bind_defaults=False), arguments)
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
