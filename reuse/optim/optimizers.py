"""Optimizers by name: torch's own, and timm's beyond them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn import Parameter
from torch.optim import Optimizer

from reuse.errors import UnknownNameError, UsageError
from reuse.lookup import suggest


@dataclass(frozen=True)
class OptimizerEntry:
    """One of torch's optimizers.

    Attributes:
        make: the class.
        momentum: what it takes as `momentum` unless told otherwise; None where it takes none.
        fused: device types on which it has a kernel that updates all parameters at once.
        fixed: further arguments that the name stands for.
    """

    make: Callable[..., Optimizer]
    momentum: float | None = None
    fused: tuple[str, ...] = ()
    fixed: dict[str, Any] = field(default_factory=dict)


OPTIMIZERS: dict[str, OptimizerEntry] = {
    "sgd": OptimizerEntry(torch.optim.SGD, 0.0, ("cpu", "cuda")),
    "momentum": OptimizerEntry(torch.optim.SGD, 0.9, ("cpu", "cuda")),
    "nesterov": OptimizerEntry(torch.optim.SGD, 0.9, ("cpu", "cuda"), {"nesterov": True}),
    "adagrad": OptimizerEntry(torch.optim.Adagrad, None, ("cpu",)),
    "adadelta": OptimizerEntry(torch.optim.Adadelta),
    "rmsprop": OptimizerEntry(torch.optim.RMSprop, 0.0),
    "adam": OptimizerEntry(torch.optim.Adam, None, ("cpu", "cuda")),
    "adamw": OptimizerEntry(torch.optim.AdamW, None, ("cpu", "cuda")),
    "adamax": OptimizerEntry(torch.optim.Adamax),
    "nadam": OptimizerEntry(torch.optim.NAdam),
}


def build_optimizer(
    name: str,
    named_parameters: Sequence[tuple[str, Parameter]],
    *,
    learning_rate: float,
    momentum: float | None = None,
    weight_decay: float = 0.0,
) -> Optimizer:
    """Return an optimizer over the trainable ones of `named_parameters`.

    Frozen parameters are left out altogether, so neither decay nor momentum can move them.

    Args:
        name: a name of `OPTIMIZERS`, or of `timm.optim.list_optimizers()`.
        named_parameters: names and parameters, as `nn.Module.named_parameters` gives them.
        learning_rate: the rate, above 0.
        momentum: for those that have one; None takes the optimizer's own.
        weight_decay: the optimizer's own kind of decay, 0 or more.

    Raises:
        UsageError: a number is out of range, nothing is trainable, or the optimizer has no momentum or cannot be made.
        UnknownNameError: neither torch nor timm has the name.
    """
    parameters = [parameter for _, parameter in named_parameters if parameter.requires_grad]
    if not parameters:
        raise UsageError("every parameter is frozen, so there is nothing to train: freeze fewer layers")
    _check("learning rate", learning_rate, learning_rate > 0, "above 0")
    _check("weight decay", weight_decay, weight_decay >= 0, "of 0 or more")
    _check("momentum", momentum, momentum is None or 0 <= momentum < 1, "from 0 up to, not including, 1")
    if name in OPTIMIZERS:
        return _build_torch(name, parameters, learning_rate, momentum, weight_decay)
    return _build_timm(name, parameters, learning_rate, momentum, weight_decay)


def _check(what: str, value: float | None, holds: bool, expected: str) -> None:
    if not holds or (value is not None and not math.isfinite(value)):
        raise UsageError(f"{what} is {value}: give a finite number {expected}")


def _build_torch(
    name: str, parameters: list[Parameter], learning_rate: float, momentum: float | None, weight_decay: float
) -> Optimizer:
    entry = OPTIMIZERS[name]
    settings: dict[str, Any] = {"lr": learning_rate, "weight_decay": weight_decay, **entry.fixed}
    if entry.momentum is not None:
        settings["momentum"] = entry.momentum if momentum is None else momentum
    elif momentum is not None:
        takers = ", ".join(known for known, other in OPTIMIZERS.items() if other.momentum is not None)
        raise UsageError(f"{name} takes no momentum: leave the setting out, or choose one of {takers}")
    if name == "nesterov" and settings["momentum"] == 0:
        raise UsageError("nesterov needs a momentum above 0: leave the setting out for 0.9, or choose sgd")
    if entry.fused and all(p.device.type in entry.fused and p.is_floating_point() for p in parameters):
        settings["fused"] = True
    return entry.make(parameters, **settings)


def _build_timm(
    name: str, parameters: list[Parameter], learning_rate: float, momentum: float | None, weight_decay: float
) -> Optimizer:
    # Importing timm takes over a second, which a training with torch's own optimizers need not spend.
    from timm.optim import create_optimizer_v2, list_optimizers

    if name not in list_optimizers():
        raise UnknownNameError(f"unknown optimizer {name!r}: {suggest(name, [*OPTIMIZERS, *list_optimizers()])}")
    momentum_setting = {} if momentum is None else {"momentum": momentum}
    try:
        optimizer: Optimizer = create_optimizer_v2(
            parameters, name, lr=learning_rate, weight_decay=weight_decay, **momentum_setting
        )
    except (ImportError, AssertionError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error) or type(error).__name__
        raise UsageError(f"timm's optimizer {name!r} cannot be used here ({reason}): choose another") from error
    return optimizer
