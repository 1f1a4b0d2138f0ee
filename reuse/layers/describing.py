"""A model as a table of layers: what each is, what it gives, whether it is frozen, and on which side of a cut it is."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, fx, nn

from reuse.layers.example import Given, as_example
from reuse.layers.parts import Cut
from reuse.layers.preserving import unchanged_state
from reuse.layers.suffix import called_and_read
from reuse.layers.trainability import is_frozen, is_mixed


@dataclass(frozen=True)
class Layer:
    """A layer of a model, as one line of the table.

    Attributes:
        name: in the model.
        type: its class; `Parameter` for a tensor that the model holds beside its layers.
        parameters: the number of its parameters, everything below it included; shared ones count each time.
        shape: of its output for one row, without the batch; None where it was not called or returns no tensor.
        bytes: of its output for one row; None where there is no shape.
        frozen: "yes", "no", "partly", or "" where it has no parameters.
        part: "prefix", "suffix" or "both" of a cut; "" where there is no cut, or no call of it in the traced graph.
    """

    name: str
    type: str
    parameters: int
    shape: tuple[int, ...] | None
    bytes: int | None
    frozen: str
    part: str


def describe_layers(model: nn.Module, example: Given, parts: Cut | None = None, depth: int = 1) -> list[Layer]:
    """Return the layers of `model` in order of registration.

    Args:
        model: is run once in evaluation mode and left as it was.
        example: its input, `(batch, *shape)`, or several of them, as `cut` takes them.
        parts: its cut, if it has one.
        depth: how far to go down; 1 names the model's own children.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
        >>> [(layer.name, layer.shape, layer.parameters) for layer in describe_layers(model, torch.zeros(1, 4))]
        [('0', (3,), 15), ('1', (3,), 0)]
    """
    outputs = _outputs(model, example)
    sides = _sides(parts)
    return [_layer(name, thing, outputs.get(name), sides) for name, thing in _shown(model, depth)]


def _shown(model: nn.Module, depth: int, prefix: str = "") -> Iterator[tuple[str, nn.Module | nn.Parameter]]:
    """Yield the modules `depth` levels down, shallower ones without children, and parameters beside those."""
    yield from ((prefix + name, p) for name, p in model.named_parameters(recurse=False, remove_duplicate=False))
    for name, child in model.named_children():
        if depth > 1 and any(True for _ in child.children()):
            yield from _shown(child, depth - 1, f"{prefix}{name}.")
        else:
            yield prefix + name, child


def _layer(name: str, thing: nn.Module | nn.Parameter, output: Tensor | None, sides: dict[str, set[str]]) -> Layer:
    in_parts = [part for part, targets in sides.items() if any(_overlap(name, target) for target in targets)]
    shape = None if output is None else tuple(output.shape[1:])
    own = [thing] if isinstance(thing, nn.Parameter) else list(thing.parameters())
    return Layer(
        name=name,
        type=type(thing).__name__,
        parameters=sum(p.numel() for p in own),
        shape=shape,
        bytes=None if shape is None or output is None else prod(shape) * output.element_size(),
        frozen=_frozen(thing),
        part="both" if len(in_parts) > 1 else "".join(in_parts),
    )


def _frozen(thing: nn.Module | nn.Parameter) -> str:
    if isinstance(thing, nn.Parameter):
        return "no" if thing.requires_grad else "yes"
    if next(thing.parameters(), None) is None:
        return ""
    if is_mixed(thing):
        return "partly"
    return "yes" if is_frozen(thing) else "no"


def _outputs(model: nn.Module, example: Given) -> dict[str, Tensor]:
    """Return by name the tensor that each module gave last, the first of several; on the meta device, sizes alone."""
    outputs: dict[str, Tensor] = {}

    def remember(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            first = output[0] if isinstance(output, tuple | list) and output else output
            if isinstance(first, Tensor) and first.dim() > 0:
                outputs[name] = first.to("meta")

        return hook

    handles = [module.register_forward_hook(remember(name)) for name, module in model.named_modules() if name]
    try:
        with unchanged_state(model), torch.no_grad():
            model.eval()
            as_example(example).call(model)
    finally:
        for handle in handles:
            handle.remove()
    return outputs


def _sides(parts: Cut | None) -> dict[str, set[str]]:
    """Return the names of modules and tensors that each part calls or reads."""
    if parts is None:
        return {}
    graphs: dict[str, tuple[fx.GraphModule, ...]] = {"prefix": (parts.prefix,), "suffix": parts.suffix.graphs}
    return {part: {name for module in modules for name in called_and_read(module)} for part, modules in graphs.items()}


def _overlap(name: str, target: str) -> bool:
    """Return whether one of two names is the other or lies below it."""
    return name == target or target.startswith(f"{name}.") or name.startswith(f"{target}.")
