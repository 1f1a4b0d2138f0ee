"""Types of values whose text says all of them, and classes that stand for themselves."""

from pathlib import PurePath
from types import (
    ClassMethodDescriptorType,
    FunctionType,
    GetSetDescriptorType,
    MethodDescriptorType,
    WrapperDescriptorType,
)

import numpy as np
import torch

from reuse.fingerprinting.digests import module_name

# Classes that stand for themselves: the version of torch or Python pins them.
FOUNDATIONS: frozenset[type] = frozenset({object, torch.nn.Module, dict, list, tuple, set, str, int, float})
REPR_TYPES = (
    type(None),
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    type(...),
    range,
    slice,
    np.generic,
    np.dtype,
    PurePath,
)
PLAIN_CONTAINERS: frozenset[type] = frozenset({dict, list, tuple, set, frozenset})
DESCRIPTORS = (MethodDescriptorType, WrapperDescriptorType, ClassMethodDescriptorType, GetSetDescriptorType)
# Methods that Python calls and that compute nothing of what a layer returns.
NOT_COMPUTING = frozenset(
    {"__repr__", "__str__", "__getstate__", "__setstate__", "__reduce__", "__reduce_ex__", "__deepcopy__", "__copy__",
     "__del__", "__dir__", "__sizeof__", "__init_subclass__", "__replace__"}
)  # fmt: skip
CYTHON = "cython_function_or_method"  # the class of its functions, another one for each version of it
TORCH_NAMES = (torch.dtype, torch.layout, torch.memory_format, torch._ops.OpOverload, torch._ops.OpOverloadPacket)


def package_of(thing: type | FunctionType) -> str:
    """Return the package at the top of those that a function or class was defined in."""
    return (module_name(thing) or "builtins").split(".")[0]
