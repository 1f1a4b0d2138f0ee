"""Values of the nodes of a graph without their numbers: on the meta device, as far as somebody asks for them.

A forward that iterates over a value (`reshape(rows, *size)`, `for step in range(x.shape[1])`) asks a tracer how much it
holds. Only what follows from the shapes of the inputs is answered: a number that depends on what stands in the rows is
another one for other rows. Calls of libraries' layers are looked up, in what the model's own call has shown, and those
of layers of anybody else are not known; all else is computed again, of what the nodes before it hold.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, fx, nn

from reuse.layers.example import Example
from reuse.layers.structure import map_tensors
from reuse.layers.trainability import has_hooks

LIBRARIES = ("torch", "torchvision", "timm")
FUNCTIONS = ("torch", "builtins", "operator", "_operator", "math")
TRIMMING = "torch.nn.modules.transformer"  # an encoder with a mask cuts off what is padding in all rows

Returned = Mapping[str, Sequence[Any]]
"""What each module returned, by its name, call by call, its tensors on the meta device."""


def returned_values(model: nn.Module, example: Example) -> Returned:
    """Call a model in its present mode, and return what its modules returned that look at shapes alone."""
    names = {id(m): name for name, m in reversed(list(model.named_modules())) if _follows_from_shapes(m)}
    found: defaultdict[str, list[Any]] = defaultdict(list)

    def note(module: nn.Module, _: Any, value: Any) -> None:
        if id(module) not in names:
            return
        try:
            found[names[id(module)]].append(map_tensors(_on_meta, value))
        except (RuntimeError, ValueError):  # a packed sequence must hold numbers: nothing is known of this layer
            del names[id(module)]

    hook = nn.modules.module.register_module_forward_hook(note)
    try:
        with torch.no_grad():
            example.copy().call(model)
    finally:
        hook.remove()
    return found


def _follows_from_shapes(module: nn.Module) -> bool:
    """Return whether all of a module is of a library whose layers look at shapes alone, and as it was written."""
    return all(_is_plain(part) for part in module.modules())


def _is_plain(module: nn.Module) -> bool:
    kind = type(module).__module__
    own = kind.partition(".")[0] in LIBRARIES and not kind.startswith(TRIMMING)
    return own and "forward" not in vars(module) and not has_hooks(module)


class MetaValues:
    """Values of the nodes of a graph that is being traced, computed when they are asked for, once.

    Args:
        model: whose graph it is.
        example: its inputs.
        returned: what its modules return.
    """

    def __init__(self, model: nn.Module, example: Example, returned: Returned) -> None:
        self._model, self._returned = model, returned
        self._inputs = [*example.arguments, *example.keywords.values()]
        self._found: dict[fx.Node, Any] = {}

    def value(self, node: fx.Node) -> Any:
        """Return what a node holds.

        Raises:
            Exception: it cannot be known without numbers.
        """
        if node not in self._found:
            self._found[node] = self._computed(node)
        return self._found[node]

    def _computed(self, node: fx.Node) -> Any:
        if node.op == "placeholder":
            return map_tensors(_on_meta, self._inputs[_number(node)])
        for argument in node.all_input_nodes:
            self.value(argument)  # a layer that looks at shapes alone may be given what somebody has cut off
        if node.op == "call_module":
            return self._returned[str(node.target)][_number(node)]
        if node.op == "get_attr":
            return map_tensors(_on_meta, attrgetter(str(node.target))(self._model))
        arguments, keywords = fx.node.map_arg((node.args, node.kwargs), self.value)
        if node.op == "call_method":
            return getattr(arguments[0], str(node.target))(*arguments[1:], **keywords)
        if str(getattr(node.target, "__module__", None) or "torch").partition(".")[0] not in FUNCTIONS:
            raise ValueError(f"{node.name} calls a function that may look at the rows")
        return node.target(*arguments, **keywords)  # type: ignore[operator]


def _number(node: fx.Node) -> int:
    """Return how many nodes of its kind stand before a node: placeholders, or calls of the same module."""
    kind = ("op",) if node.op == "placeholder" else ("op", "target")
    alike = [n for n in node.graph.nodes if all(getattr(n, name) == getattr(node, name) for name in kind)]
    return alike.index(node)


def _on_meta(tensor: Tensor) -> Tensor:
    return torch.empty_like(tensor, device="meta")
