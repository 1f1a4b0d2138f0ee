"""Optimizers by name: torch's own, and timm's beyond them."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch.nn import Parameter
from torch.optim import Optimizer

from reuse.distributed import is_divided
from reuse.errors import UsageError
from reuse.menus import Named, parse_named
from reuse.optim.groups import OptimizerSettings, parameter_groups
from reuse.optim.timm_optimizers import build_timm_optimizer, look_ahead, optimizer_arguments
from reuse.optim.uncompiled import uncompiled

__all__ = ["OPTIMIZERS", "OptimizerSettings", "build_optimizer"]

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "sgd": torch.optim.SGD,
    "momentum": partial(torch.optim.SGD, momentum=0.9),
    "nesterov": partial(torch.optim.SGD, momentum=0.9, nesterov=True),
    "adagrad": torch.optim.Adagrad,  # unfit for deep nets: its rate only ever falls, and training stops too early
    "adadelta": torch.optim.Adadelta,  # made for a learning rate of 1
    "rmsprop": torch.optim.RMSprop,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "adamax": torch.optim.Adamax,
    "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam,
    "adafactor": torch.optim.Adafactor,  # little memory: for matrices, sums of rows and columns
    "asgd": torch.optim.ASGD,  # its average is not used: average with swa or ema
    "rprop": torch.optim.Rprop,  # for gradients of all rows at once, not of batches
    "muon": torch.optim.Muon,  # moves matrices only; timm's nmuon moves all, the rest by NAdamW
}
"""Names and what makes the optimizer, of parameter groups; what else it takes stands in its signature."""

REFUSED = {
    "lbfgs": "it computes the loss many times a step, always of the same rows, while a training step here computes the "
    "loss of one batch once: choose adam, or nesterov with a schedule",
    "sparse_adam": "it takes sparse gradients only, and the gradients of all layers here are dense: choose adam",
}
"""Reasons why the others of torch cannot be used here, and what to use instead."""

FUSED: dict[object, tuple[str, ...]] = {
    torch.optim.SGD: ("cpu", "cuda"),
    torch.optim.Adagrad: ("cpu",),
    torch.optim.Adam: ("cpu", "cuda"),
    torch.optim.AdamW: ("cpu", "cuda"),
}
"""Device types on which a class has a kernel that updates all parameters at once."""

FUSED_IN_PARTS = (torch.optim.Adam, torch.optim.AdamW)
"""Classes whose fused kernel takes parameters that are divided among processes."""

LOOKAHEAD = "lookahead_"
"""Before any name: Lookahead around it (Zhang et al. 2019, arXiv:1907.08610), timm's with its defaults."""


def build_optimizer(settings: OptimizerSettings, named_parameters: Sequence[tuple[str, Parameter]]) -> Optimizer:
    """Return an optimizer over the trainable ones of `named_parameters`.

    Frozen parameters are left out altogether, so neither decay nor momentum can move them.

    Args:
        settings: which optimizer, and its numbers.
        named_parameters: names and parameters, as `nn.Module.named_parameters` gives them.

    Raises:
        UsageError: nothing is trainable, or the optimizer cannot be used for these parameters or with these settings.
        UnknownNameError: neither torch nor timm has the name.

    Example:
        >>> model = torch.nn.Linear(3, 2)
        >>> type(build_optimizer(OptimizerSettings("nesterov", 0.1), list(model.named_parameters()))).__name__
        'SGD'
    """
    trainable = [(name, parameter) for name, parameter in named_parameters if parameter.requires_grad]
    if not trainable:
        raise UsageError("every parameter is frozen, so there is nothing to train: freeze fewer layers")
    groups = parameter_groups(trainable, settings)
    whole = parse_named(settings.name, "optimizer")
    named = replace(whole, name=whole.name.removeprefix(LOOKAHEAD))
    if named.name in REFUSED:
        raise UsageError(f"{named.name} cannot be used here: {REFUSED[named.name]}")
    if named.name in OPTIMIZERS:
        optimizer = _build_torch(named, settings, trainable, groups)
    else:
        optimizer = build_timm_optimizer(named, settings, groups, OPTIMIZERS)
    return look_ahead(optimizer) if named != whole else optimizer


def is_from_torch(optimizer: Optimizer) -> bool:
    """Return whether an optimizer is one of torch's, neither timm's nor one that is wrapped around another."""
    return type(optimizer).__module__.startswith("torch.optim")


def _build_torch(
    named: Named, settings: OptimizerSettings, trainable: Sequence[tuple[str, Parameter]], groups: list[dict[str, Any]]
) -> Optimizer:
    make = OPTIMIZERS[named.name]
    kind = make.func if isinstance(make, partial) else make
    _check_usable(named.name, settings, trainable)
    given = optimizer_arguments(make, named)
    if not _takes(make, "weight_decay"):
        groups = [{key: value for key, value in group.items() if key != "weight_decay"} for group in groups]
    if settings.momentum is not None:
        given["momentum"] = settings.momentum
    if all(p.device.type in FUSED.get(kind, ()) and p.is_floating_point() for _, p in trainable):
        in_parts = any(is_divided(p) for _, p in trainable)
        given["foreach" if in_parts and kind not in FUSED_IN_PARTS else "fused"] = True
    try:
        return uncompiled(make)(groups, lr=settings.learning_rate, **given)
    except (RuntimeError, TypeError, ValueError) as error:
        raise UsageError(f"optimizer {settings.name!r} refuses its arguments: {error}") from error


def _takes(make: Callable[..., Optimizer], argument: str) -> bool:
    return argument in inspect.signature(make).parameters


def _check_usable(name: str, settings: OptimizerSettings, trainable: Sequence[tuple[str, Parameter]]) -> None:
    make = OPTIMIZERS[name]
    if settings.momentum is not None and not _takes(make, "momentum"):
        takers = ", ".join(known for known, other in OPTIMIZERS.items() if _takes(other, "momentum"))
        raise UsageError(f"{name} takes no momentum: leave the setting out, or choose one of {takers}")
    if name == "nesterov" and settings.momentum == 0:
        raise UsageError("nesterov needs a momentum above 0: leave the setting out for 0.9, or choose sgd")
    if settings.weight_decay and not _takes(make, "weight_decay"):
        raise UsageError(f"{name} has no weight decay: leave the setting out, or use the l2 penalty")
    others = [known for known, parameter in trainable if parameter.ndim != 2]
    if name == "muon" and others:
        raise UsageError(
            f"{name} moves matrices only, and {len(others)} of {len(trainable)} trainable parameters are none "
            f"({others[0]}, for one): choose nmuon, which moves these by NAdamW, or freeze them"
        )
