"""Modes that are entered around a computation and change what torch's functions do: `with Mode(): ...`."""

from torch.overrides import TorchFunctionMode
from torch.overrides import _get_current_function_mode_stack as function_modes
from torch.utils._device import DeviceContext
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack as dispatch_modes


def modes() -> list[TorchFunctionMode | TorchDispatchMode]:
    """Return the modes that are entered now, the outermost first; that of a default device only makes tensors there."""
    entered = *function_modes(), *dispatch_modes()  # type: ignore[no-untyped-call]
    return [mode for mode in entered if not isinstance(mode, DeviceContext)]
