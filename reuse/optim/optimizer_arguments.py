"""Which arguments an optimizer takes from its setting: `adam:betas=0.9/0.99`."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from reuse.errors import UsageError
from reuse.menus import suggest

OWN_SETTINGS = ("lr", "weight_decay", "momentum")
"""What has a setting of its own: learning rate, weight decay, momentum."""

FIXED = ("self", "params", "foreach", "fused", "maximize", "differentiable", "capturable")
"""What `reuse` decides: the parameters, and how the arithmetic is done."""


def check_arguments(name: str, make: Callable[..., object], given: Mapping[str, Any]) -> None:
    """Refuse arguments that the optimizer does not take.

    Args:
        name: the optimizer's name, for the message.
        make: its class.
        given: arguments by keyword.

    Raises:
        UsageError: one of them is unknown, has a setting of its own, or is no truth value where one is wanted; the
            message lists what the optimizer takes.
    """
    parameters = inspect.signature(make).parameters
    takes = [n for n in parameters if n not in (*OWN_SETTINGS, *FIXED)]
    for key, value in given.items():
        if key in OWN_SETTINGS:
            own = "learning rate" if key == "lr" else key.replace("_", " ")
            raise UsageError(f"optimizer {name!r} is given {key} behind its colon: use the setting {own} instead")
        if key not in takes:
            listed = f"it takes {', '.join(takes)}" if takes else "it takes none"
            raise UsageError(f"optimizer {name!r} takes no {key!r} ({suggest(key, takes)}): {listed}")
        if isinstance(parameters[key].default, bool) and not isinstance(value, bool):  # torch finds out in a kernel
            raise UsageError(f"{key} of optimizer {name!r} is {value!r}: give true or false")
