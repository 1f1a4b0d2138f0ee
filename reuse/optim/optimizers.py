"""Optimizers by name: torch's own, and timm's beyond them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn import Parameter
from torch.optim import Optimizer

from reuse.distributed import is_divided
from reuse.errors import UsageError
from reuse.optim.groups import parameter_groups
from reuse.optim.named_arguments import split_arguments
from reuse.optim.optimizer_arguments import check_arguments
from reuse.optim.settings import OptimizerSettings
from reuse.optim.timm_optimizers import build_timm_optimizer, look_ahead

__all__ = ["OPTIMIZERS", "OptimizerEntry", "OptimizerSettings", "build_optimizer"]

LOOKAHEAD = "lookahead_"
"""Before any name: Lookahead around it (Zhang et al. 2019, arXiv:1907.08610), timm's with its defaults."""


@dataclass(frozen=True)
class OptimizerEntry:
    """One of torch's optimizers.

    Attributes:
        make: the class.
        momentum: what it takes as `momentum` unless told otherwise; None where it takes none.
        fused: device types on which it has a kernel that updates all parameters at once.
        fixed: further arguments that the name stands for.
        decays: whether it has a weight decay.
        only_matrices: whether it moves parameters of two dimensions only.
        note: what a person should know before choosing it.
        refused: why it cannot be used here and what to use; empty where it can.
    """

    make: Callable[..., Optimizer]
    momentum: float | None = None
    fused: tuple[str, ...] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict)
    decays: bool = True
    only_matrices: bool = False
    note: str = ""
    refused: str = ""


OPTIMIZERS: dict[str, OptimizerEntry] = {
    "sgd": OptimizerEntry(torch.optim.SGD, 0.0, ("cpu", "cuda")),
    "momentum": OptimizerEntry(torch.optim.SGD, 0.9, ("cpu", "cuda")),
    "nesterov": OptimizerEntry(torch.optim.SGD, 0.9, ("cpu", "cuda"), {"nesterov": True}),
    "adagrad": OptimizerEntry(
        torch.optim.Adagrad,
        fused=("cpu",),
        note="unfit for deep nets: its rate only ever falls, and training stops too early",
    ),
    "adadelta": OptimizerEntry(torch.optim.Adadelta, note="made for a learning rate of 1"),
    "rmsprop": OptimizerEntry(torch.optim.RMSprop, 0.0),
    "adam": OptimizerEntry(torch.optim.Adam, fused=("cpu", "cuda")),
    "adamw": OptimizerEntry(torch.optim.AdamW, fused=("cpu", "cuda")),
    "adamax": OptimizerEntry(torch.optim.Adamax),
    "nadam": OptimizerEntry(torch.optim.NAdam),
    "radam": OptimizerEntry(torch.optim.RAdam),
    "adafactor": OptimizerEntry(torch.optim.Adafactor, note="little memory: for matrices, sums of rows and columns"),
    "asgd": OptimizerEntry(torch.optim.ASGD, note="its average is not used: average with swa or ema"),
    "rprop": OptimizerEntry(torch.optim.Rprop, decays=False, note="for gradients of all rows at once, not of batches"),
    "lbfgs": OptimizerEntry(
        torch.optim.LBFGS,
        refused="it computes the loss many times a step, always of the same rows, while a training step here computes "
        "the loss of one batch once: choose adam, or nesterov with a schedule",
    ),
    "sparse_adam": OptimizerEntry(
        torch.optim.SparseAdam,
        refused="it takes sparse gradients only, and the gradients of all layers here are dense: choose adam",
    ),
}
if hasattr(torch.optim, "Muon"):  # since torch 2.9
    OPTIMIZERS["muon"] = OptimizerEntry(
        torch.optim.Muon, 0.95, only_matrices=True, note="moves matrices only; nmuon moves all, the rest by NAdamW"
    )


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
    full_name, positions, arguments = split_arguments(settings.name)
    if positions:
        raise UsageError(f"optimizer {settings.name!r} gives {positions[0]!r} without its name: write key=value")
    name = full_name.removeprefix(LOOKAHEAD)
    if name in OPTIMIZERS:
        optimizer = _build_torch(name, settings, trainable, groups, arguments)
    else:
        optimizer = build_timm_optimizer(name, settings, groups, arguments, OPTIMIZERS)
    return look_ahead(optimizer) if full_name != name else optimizer


def _build_torch(
    name: str,
    settings: OptimizerSettings,
    trainable: Sequence[tuple[str, Parameter]],
    groups: list[dict[str, Any]],
    arguments: Mapping[str, Any],
) -> Optimizer:
    entry = OPTIMIZERS[name]
    _check_usable(name, entry, settings, trainable)
    check_arguments(name, entry.make, arguments)
    if not entry.decays:
        groups = [{key: value for key, value in group.items() if key != "weight_decay"} for group in groups]
    given: dict[str, Any] = {"lr": settings.learning_rate, **entry.fixed, **arguments}
    if entry.momentum is not None:
        given["momentum"] = entry.momentum if settings.momentum is None else settings.momentum
    if entry.fused and all(p.device.type in entry.fused and p.is_floating_point() for _, p in trainable):
        # Of the fused kernels torch has Adam's alone for parameters that are divided among processes.
        whole = name in ("adam", "adamw") or not any(is_divided(p) for _, p in trainable)
        given["fused" if whole else "foreach"] = True
    try:
        return entry.make(groups, **given)
    except (RuntimeError, TypeError, ValueError) as error:
        raise UsageError(f"optimizer {settings.name!r} refuses its arguments: {error}") from error


def _check_usable(
    name: str, entry: OptimizerEntry, settings: OptimizerSettings, trainable: Sequence[tuple[str, Parameter]]
) -> None:
    if entry.refused:
        raise UsageError(f"{name} cannot be used here: {entry.refused}")
    if settings.momentum is not None and entry.momentum is None:
        takers = ", ".join(known for known, other in OPTIMIZERS.items() if other.momentum is not None)
        raise UsageError(f"{name} takes no momentum: leave the setting out, or choose one of {takers}")
    if name == "nesterov" and settings.momentum == 0:
        raise UsageError("nesterov needs a momentum above 0: leave the setting out for 0.9, or choose sgd")
    if settings.weight_decay and not entry.decays:
        raise UsageError(f"{name} has no weight decay: leave the setting out, or use the l2 penalty")
    others = [known for known, parameter in trainable if parameter.ndim != 2]
    if entry.only_matrices and others:
        raise UsageError(
            f"{name} moves matrices only, and {len(others)} of {len(trainable)} trainable parameters are none "
            f"({others[0]}, for one): choose nmuon, which moves these by NAdamW, or freeze them"
        )
