"""The precision in which the network computes."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from reuse.devices import dtype_name
from reuse.errors import UsageError
from reuse.menus import lookup
from reuse.overlapping import Overlapping

PRECISIONS: dict[str, torch.dtype | None] = {
    "float32": None,
    "float64": None,
    "tf32": None,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
"""The type in which autocast computes matrix products; None leaves everything in the type of the weights."""


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Return a context, to be entered once a step, in which the network computes in `precision`.

    Raises:
        UsageError: the precision is not one of `PRECISIONS`, or the device has no such arithmetic.
    """
    dtype = lookup(PRECISIONS, precision, "precision")
    if precision == "tf32":
        _check_tf32(device)
        return _TF32
    if precision == "float16" and device.type == "cpu" and not _cpu_has_float16():
        raise UsageError("precision is float16, and this CPU has no float16 arithmetic: choose bfloat16 or float32")
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype)


def describe_precision(precision: str, device: torch.device) -> list[str]:
    """Return a sentence where the device computes in a precision far more slowly than in float32; mostly none."""
    if precision != "bfloat16" or device.type != "cpu" or _cpu_has_bfloat16():
        return []
    return ["precision is bfloat16, and this CPU has no such arithmetic: float32 is several times as fast here"]


def loss_scaler(precision: str, device: torch.device) -> torch.amp.GradScaler | None:
    """Return what keeps small float16 gradients from vanishing (Micikevicius et al. 2018, https://arxiv.org/abs/1710.03740).

    None for every other precision, which needs none.
    """
    return torch.amp.GradScaler(device.type) if precision == "float16" else None


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


class _TensorFloat32:
    """Lets float32 matrix products and convolutions round their factors to TensorFloat-32, and then as before.

    torch keeps this for the whole process.
    """

    def begin(self) -> None:
        self._before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True

    def end(self) -> None:
        torch.set_float32_matmul_precision(self._before[0])
        torch.backends.cudnn.allow_tf32 = self._before[1]


_ROUNDING = _TensorFloat32()
_TF32 = Overlapping(_ROUNDING.begin, _ROUNDING.end)


def _check_tf32(device: torch.device) -> None:
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < (8, 0):
        raise UsageError(
            f"precision is tf32, which CUDA devices since Ampere have, and the device is {device}: choose float32 or "
            "bfloat16"
        )


def _cpu_has_bfloat16() -> bool:
    """Return whether oneDNN multiplies bfloat16 matrices here; without it torch converts them, number by number."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _cpu_has_float16() -> bool:
    """Return whether oneDNN multiplies float16 matrices here; without it torch would do so very slowly."""
    return bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())
