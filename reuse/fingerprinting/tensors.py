"""Tensors and arrays as text: their values, and of classes of their own the class and what somebody wrote on them."""

from collections.abc import Callable

import numpy as np
import torch

from reuse.fingerprinting.digests import array_text, tensor_text
from reuse.fingerprinting.own_parts import Names
from reuse.fingerprinting.reading import is_read

PLAIN_TENSORS = frozenset({torch.Tensor, torch.nn.Parameter, torch.nn.Buffer})
PLAIN_ARRAYS = frozenset({np.ndarray, np.memmap})

Text = Callable[[object], str]
"""Describes any value."""


def tensor_description(tensor: torch.Tensor, values: str, names: Names, text: Text) -> str:
    """Return the description of a tensor.

    Args:
        tensor: any that has values.
        values: the text of its values.
        names: that the user's own code reads of anything; None: any may be.
        text: describes values and classes.
    """
    if type(tensor) not in PLAIN_TENSORS:
        return f"{text(type(tensor))} {values}{_written(tensor, None, text)}"
    return values + _written(tensor, names, text)


def values_text(tensor: torch.Tensor) -> str:
    """Return the text of a tensor's values, of a class of its own too, and what they mean where they are codes."""
    with torch._C.DisableTorchFunctionSubclass():
        text = tensor_text(tensor)
        if not tensor.is_quantized:
            return text
        return f"{text} {tensor.qscheme()} {tensor_text(tensor.dequantize())}"


def array_description(array: np.ndarray, text: Text) -> str:
    """Return the description of an array, fields and masks included."""
    if array.dtype.hasobject:
        described = f"array {text(array.tolist())}"
    else:
        described = array_text(array) + (f" {array.dtype.descr}" if array.dtype.names else "")
    if type(array) in PLAIN_ARRAYS:
        return described
    return f"{text(type(array))} {described}{_written(array, None, text)}"


def _written(value: torch.Tensor | np.ndarray, names: Names, text: Text) -> str:
    held = {name: part for name, part in vars(value).items() if names is None or is_read(name, names)}
    return "".join(f" {name}={text(held[name])}" for name in sorted(held))
