"""Changes that the frozen layers of the mutable network may undergo between two runs, with random values.

Each is put into a network that is there, or into its source; what it has changed outside of the network is put back.
"""

import builtins
import os
import random
import sys
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import nn

from attacks.mutable_network import NETWORK, TOOLS, UNSEEN

Change = Callable[[Any, random.Random, ExitStack], object]
"""Changes the first layer of the network, drawing values; what the stack holds is undone afterwards."""
Edit = tuple[str, str]
"""What is replaced in a source text, and by what; `NUMBER` is drawn."""


@dataclass(frozen=True)
class Mutation:
    """A kind of change.

    Attributes:
        name: in words.
        change: of the network in memory.
        edit: of its source, or that of its tools.
        base: the source of the network.
    """

    name: str
    change: Change | None = None
    edit: Edit | None = None
    base: str = NETWORK

    def sources(self, draw: random.Random) -> tuple[str, str]:
        """Return the sources of the network and of its tools, edited."""
        if self.edit is None:
            return self.base, TOOLS
        old, new = self.edit
        new = new.replace("NUMBER", repr(round(draw.uniform(0.02, 0.98), 4)))
        assert (self.base + TOOLS).count(old) == 1, self.edit
        return self.base.replace(old, new), TOOLS.replace(old, new)


def number(draw: random.Random) -> float:
    return round(draw.uniform(1.01, 1.9), 4)


def assign(name: str, make: Callable[[Any, random.Random], object]) -> Change:
    """Return a change that assigns what `make` returns to an attribute, given by a dotted path."""
    *path, last = name.split(".")

    def change(body: Any, draw: random.Random, undo: ExitStack) -> None:
        owner = body
        for part in path:
            owner = getattr(owner, part)
        setattr(owner, last, make(body, draw))

    return change


def patch(owner: Callable[[], object], name: str, value: Callable[[random.Random, Any], object]) -> Change:
    """Return a change that patches an attribute of anything, with what `value` makes of what was there."""

    def change(body: Any, draw: random.Random, undo: ExitStack) -> None:
        undo.enter_context(mock.patch.object(owner(), name, value(draw, getattr(owner(), name))))

    return change


def scaled(draw: random.Random, was: Any = lambda x, *_, **__: x) -> Callable[..., object]:
    """Return a function that does what another one does, times a number."""
    factor = number(draw)
    return lambda *given, **named: was(*given, **named) * factor


def _poke(tensor: torch.Tensor, draw: random.Random) -> None:
    with torch.no_grad():
        tensor.view(-1)[draw.randrange(tensor.numel())] *= number(draw)


def _hook(body: Any, draw: random.Random, undo: ExitStack) -> None:
    factor = number(draw)
    body.norm.register_forward_hook(lambda module, given, output: output * factor)


def _pre_hook(body: Any, draw: random.Random, undo: ExitStack) -> None:
    factor = number(draw)
    body.register_forward_pre_hook(lambda module, given: (given[0] * factor,))


def _global_pre_hook(body: Any, draw: random.Random, undo: ExitStack) -> None:
    factor = number(draw)
    only = type(body)
    hook = nn.modules.module.register_module_forward_pre_hook(
        lambda module, given: (given[0] * factor,) if type(module) is only else None
    )
    undo.callback(hook.remove)


def _named_arguments(body: Any, draw: random.Random, undo: ExitStack) -> None:
    """A hook that is the same, called with named arguments, and then returns another pair."""
    factor = number(draw)

    def hook(module: object, given: Any, *named: Any) -> object:
        return ((given[0] * (factor if named else 1.0),), named[0]) if named else (given[0],)

    body.register_forward_pre_hook(hook, with_kwargs=True)


def _kernel(body: Any, draw: random.Random, undo: ExitStack) -> None:
    factor = number(draw)
    weigh = sys.modules["mutable_network"].weigh
    weigh.register_kernel("cpu", lambda x: x * factor)


def _library(body: Any, draw: random.Random, undo: ExitStack) -> None:
    """A kernel of torch itself is replaced: only the probe can see that."""
    factor = number(draw)
    library = undo.enter_context(torch.library._scoped_library("aten", "IMPL"))
    library.impl("erf", lambda x: torch.tanh(x) * factor, "CPU")


def _closure(body: Any, draw: random.Random, undo: ExitStack) -> None:
    body.limit.__closure__[0].cell_contents = draw.uniform(0.1, 0.5)


def _defaults(body: Any, draw: random.Random, undo: ExitStack) -> None:
    shift = sys.modules["mutable_network"].shift
    shift.__defaults__ = (number(draw),)


def _code(body: Any, draw: random.Random, undo: ExitStack) -> None:
    network = sys.modules["mutable_network"]
    factor = number(draw)
    scope: dict[str, Any] = {}
    exec(f"def shift(x, by=0.1, *, sign=1):\n    return x * {factor}", scope)
    network.shift.__code__ = scope["shift"].__code__


def _file(body: Any, draw: random.Random, undo: ExitStack) -> None:
    path = Path("mutable_scale.txt")
    undo.callback(path.write_text, path.read_text())
    path.write_text(str(number(draw)))


def _environment(body: Any, draw: random.Random, undo: ExitStack) -> None:
    undo.enter_context(mock.patch.dict(os.environ, {"MUTABLE_SCALE": str(number(draw))}))


def _default_type(body: Any, draw: random.Random, undo: ExitStack) -> None:
    body.pick = lambda x: x * torch.tensor(draw.uniform(0.1, 0.9)).double().float()


def _shadow(body: Any, draw: random.Random, undo: ExitStack) -> None:
    network, factor = sys.modules["mutable_network"], number(draw)
    undo.enter_context(mock.patch.object(network, "sum", lambda values: sum(values) * factor, create=True))


def _of_queues(draw: random.Random, was: Any) -> Callable[..., object]:
    factor = number(draw)
    return lambda given, *more, **named: was(given, *more, **named) * (factor if isinstance(given, deque) else 1)


def _module(name: str) -> Callable[[], object]:
    return lambda: sys.modules[name]


def _metaclass() -> Any:
    return sys.modules["mutable_network"].Meta


IN_MEMORY: dict[str, Change] = {
    "one number of a weight": lambda body, draw, undo: _poke(body.linear.weight, draw),
    "one number of a buffer": lambda body, draw, undo: _poke(body.norm.running_var, draw),
    "a buffer of one's own": lambda body, draw, undo: _poke(body.offset[1:], draw),
    "a tensor as an attribute": lambda body, draw, undo: _poke(body.pi, draw),
    "eps": assign("norm.eps", lambda body, draw: draw.uniform(0.01, 0.1)),
    "a module exchanged": assign("relu", lambda body, draw: nn.LeakyReLU(draw.uniform(0.1, 0.4))),
    "an attribute": assign("factor", lambda body, draw: number(draw)),
    "a number in a dictionary": lambda body, draw, undo: body.settings.update(power=number(draw)),
    "an item of a deque": lambda body, draw, undo: body.queue.append(number(draw)),
    "the default of a defaultdict": assign("steps.default_factory", lambda body, draw: scaled(draw, lambda: 0.4)),
    "an item of a defaultdict": lambda body, draw, undo: body.steps.update(a=number(draw)),
    "an item of a set": lambda body, draw, undo: body.chosen.add(number(draw)),
    "a subclass of float": assign("size", lambda body, draw: _resized(body, number(draw), 0.3)),
    "an attribute of a number": assign("size.more", lambda body, draw: number(draw)),
    "a subclass of str": assign("word", lambda body, draw: type(body.word)("")),
    "a member of an enumeration": assign("mode", lambda body, draw: type(body.mode).HARD),
    "a function as an attribute": assign("pick", lambda body, draw: scaled(draw, body.pick)),
    "a function in a container": lambda body, draw, undo: body.ways.update(one=scaled(draw, body.ways["one"])),
    "a function in a list": lambda body, draw, undo: body.ways["two"].insert(0, scaled(draw)),
    "an object that is called": assign("scaling.factor", lambda body, draw: number(draw)),
    "a partial": lambda body, draw, undo: body.part.keywords.update(other=number(draw)),
    "a variable of a closure": _closure,
    "defaults of a function": _defaults,
    "the code of a function": _code,
    "constants of a traced function": assign("traced", lambda body, draw: _traced(number(draw))),
    "an attribute of a parameter": assign("bias.weight_of_it", lambda body, draw: number(draw)),
    "an attribute of a buffer": assign("offset.scale", lambda body, draw: number(draw)),
    "a forward hook": _hook,
    "a forward pre-hook": _pre_hook,
    "a global forward pre-hook": _global_pre_hook,
    "the flag of a hook": _named_arguments,
    "a member of the user's own module": patch(_module("mutable_tools"), "bend", scaled),
    "a constant of the user's own module": patch(_module("mutable_tools"), "STEP", lambda draw, was: number(draw)),
    "a global": patch(_module("mutable_network"), "GAIN", lambda draw, was: number(draw)),
    "an item of a global": lambda body, draw, undo: sys.modules["mutable_network"].TABLE.update(a=number(draw)),
    "torch.tanh patched": patch(lambda: torch, "tanh", scaled),
    "torch.relu patched": patch(lambda: torch, "relu", scaled),
    "a function of torch.nn.functional patched": patch(lambda: nn.functional, "softplus", scaled),
    "a function of torch behind a layer patched": patch(lambda: nn.functional, "relu", scaled),
    "a function exchanged by another of torch": patch(lambda: nn.functional, "softplus", lambda draw, was: torch.tanh),
    "a method of tensors patched": patch(lambda: torch.Tensor, "sigmoid", scaled),
    "forward of a layer of torch patched": patch(lambda: nn.BatchNorm1d, "forward", scaled),
    "a method of the instance patched": lambda body, draw, undo: setattr(body, "tail", scaled(draw, body.tail)),
    "a builtin function shadowed": _shadow,
    "a builtin function patched": patch(lambda: builtins, "sum", _of_queues),
    "an attribute of a metaclass": patch(_metaclass, "strength", lambda draw, was: number(draw)),
    "a method of a metaclass": patch(_metaclass, "soften", scaled),
    "a kernel of torch.library": _kernel,
    "a kernel of torch replaced": _library,
    "a file that forward reads": _file,
    "the environment that forward reads": _environment,
}
EDITS: dict[str, Edit] = {
    "a constant of forward": ("return x * 1.0", "return x * NUMBER"),
    "an operator of forward": ('self.steps["z"] + self.steps["a"]', 'self.steps["z"] - NUMBER * self.steps["a"]'),
    "a default of forward": ("times=1.0", "times=NUMBER"),
    "a function as default of forward": ("act=tools.act", "act=tools.other"),
    "a global constant": ("GAIN = 1.5", "GAIN = NUMBER"),
    "a global container": ('"a": 0.3', '"a": NUMBER'),
    "a constant of a function": ("by=0.1", "by=NUMBER"),
    "a keyword default": ("sign=1", "sign=NUMBER"),
    "a closure's code": ("x.clamp(max=limit)", "x.clamp(max=limit) * NUMBER"),
    "what a closure holds": ("limited(0.9)", "limited(NUMBER)"),
    "a class attribute": ("slope = 0.2", "slope = NUMBER"),
    "what a metaclass computes": ("return x * cls.strength", "return x + NUMBER"),
    "a property": ("return 0.9", "return NUMBER"),
    "a static method": ("x / (1 + x.abs())", "x / (NUMBER + x.abs())"),
    "a method of a base class": ("return x + 0.01", "return x + NUMBER"),
    "a comprehension": ("[0.5 * part", "[NUMBER * part"),
    "the value of a member of an enumeration": ("SOFT = 0.75", "SOFT = NUMBER"),
    "a lambda in a defaultdict": ("lambda: 0.4", "lambda: NUMBER"),
    "an operator of a callable object": ("return x * self.factor", "return x * self.factor + NUMBER"),
    "a kernel's code": ("return x * 1.25", "return x * NUMBER"),
    "a function of another module": ("return x * 0.125", "return x * NUMBER"),
    "a function that another one calls": ("torch.tanh(x) + bend(x)", "torch.tanh(x) + NUMBER * bend(x)"),
    "a constant of another module": ("STEP = 0.25", "STEP = NUMBER"),
    "a limit that few rows pass": ("> 8.2, x * 1.01", "> 8.2, x * NUMBER"),
    "which rows pass a limit": ("> 8.2, x * 1.01", "> 7.2 + NUMBER, x * 1.01"),
    "the initial value of an attribute": ("self.factor = 1.1", "self.factor = NUMBER"),
    "the name that getattr gets": ('getattr(tools, "STEP")', '(getattr(tools, "STEP") * NUMBER)'),
}


def _resized(body: Any, value: float, more: float) -> object:
    size = type(body.size)(value)
    size.more = more
    return size


def _traced(factor: float) -> object:
    return torch.jit.trace(lambda x: x * torch.tensor([factor, 2.0, 3.0, 1.0, 2.0, 3.0]), torch.ones(2, 6))


MUTATIONS = [
    *(Mutation(name, change=change) for name, change in IN_MEMORY.items()),
    *(Mutation(name, edit=edit) for name, edit in EDITS.items()),
    Mutation(
        "a name that is made up while it runs",
        patch(_module("mutable_network"), "HIDDEN", lambda draw, was: number(draw)),
        base=UNSEEN,
    ),
]
