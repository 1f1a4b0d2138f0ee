"""In which type the network computes."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from reuse.devices import dtype_name
from reuse.errors import UsageError
from reuse.lookup import lookup

PRECISIONS: dict[str, torch.dtype | None] = {"float32": None, "float64": None, "bfloat16": torch.bfloat16}
"""What autocast computes matrix products in; None leaves everything in the type of the weights."""


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Return a context, to be entered once a step, in which the network computes in `precision`.

    Raises:
        UsageError: the precision is not one of `PRECISIONS`.
    """
    dtype = lookup(PRECISIONS, precision, "precision")
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype)


def check_precision(precision: str, model: nn.Module) -> None:
    """Refuse "float64" for a model whose weights are not: without autocast it would compute in their type unnoticed.

    Raises:
        UsageError: a parameter is of another type; the message names it.
    """
    if precision != "float64":
        return
    for name, parameter in model.named_parameters():
        if parameter.is_floating_point() and parameter.dtype != torch.float64:
            found = dtype_name(parameter.dtype)
            raise UsageError(f"precision is float64 and {name} is {found}: call model.double() and give float64 inputs")
