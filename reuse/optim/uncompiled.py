"""torch's optimizers without the import of its compiler, which takes a second and which few trainings use.

torch keeps its compiler out of some methods of an optimizer by decorators that import it in order to do so. As long as
nobody else has imported it nothing is being compiled, so the methods inside of the decorators do the same; from then on
torch's own are called, decorators and all.
"""

import inspect
import sys
from collections.abc import Callable
from functools import cache, partial, wraps
from typing import Any

import torch
from torch.optim import Optimizer

COMPILER = "torch._dynamo"
DECORATED = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")


def uncompiled(make: Callable[..., Optimizer]) -> Callable[..., Optimizer]:
    """Return what makes the same optimizer and imports no compiler, where it is one of torch's; else what was given.

    Args:
        make: a class, or a part of its call.
    """
    if isinstance(make, partial):
        return partial(uncompiled(make.func), *make.args, **make.keywords)
    is_torchs = isinstance(make, type) and make.__module__.startswith("torch.optim")
    return _light_class(make) if is_torchs else make


@cache
def _light_class(kind: type[Optimizer]) -> type[Optimizer]:
    """Return a class of the same name; what is pickled or copied of its instances is one of torch's own."""
    methods: dict[str, Any] = {name: _undecorated(getattr(kind, name)) for name in DECORATED}
    methods |= {"step": _step_of(kind), "__reduce_ex__": lambda self, _: _as_torchs(kind, self)}
    return type(kind.__name__, (kind,), {**methods, "__module__": kind.__module__, "__doc__": kind.__doc__})


def _undecorated(method: Callable[..., Any]) -> Callable[..., Any]:
    inside = inspect.unwrap(method)

    @wraps(inside)
    def called(self: Optimizer, *arguments: Any, **settings: Any) -> Any:
        chosen = method if COMPILER in sys.modules else inside
        return chosen(self, *arguments, **settings)

    return called


def _step_of(kind: type[Optimizer]) -> Callable[..., Any]:
    step: Any = kind.step
    own = step.__wrapped__ if getattr(step, "hooked", False) else step  # torch puts its hooks around ours too
    inside = inspect.unwrap(own)

    @wraps(inside)
    def called(self: Optimizer, *arguments: Any, **settings: Any) -> Any:
        if COMPILER in sys.modules:
            return own(self, *arguments, **settings)
        with torch.set_grad_enabled(bool(self.defaults.get("differentiable"))):
            return inside(self, *arguments, **settings)

    return called


def _as_torchs(kind: type[Optimizer], optimizer: Optimizer) -> tuple[Any, ...]:
    return _made, (kind,), optimizer.__getstate__()


def _made(kind: type[Optimizer]) -> Optimizer:
    """Return an optimizer that has nothing yet; what it was like before follows, as pickle has it."""
    return kind.__new__(kind)
