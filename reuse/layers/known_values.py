"""Values of frozen layers, computed once: a model is observed in two modes, and cut at several places."""

from collections.abc import Mapping
from typing import Any

from torch import fx, nn

from reuse.fingerprinting.digests import digest
from reuse.layers.attributes import AssignAttribute, ReadAttribute
from reuse.layers.probing import Moving
from reuse.layers.structure import tensors_in
from reuse.layers.trainability import is_frozen

Origins = dict[fx.Node, str | None]
"""How each node's value comes from the inputs, as a digest; None for one that may be another the next time."""


class KnownValues:
    """Values of frozen layers by how they come from the inputs; those that were written into since are forgotten."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, str], tuple[Any, list[int]]] = {}

    def find(self, rows: int, origin: str) -> tuple[Any] | None:
        """Return a value in a tuple, None where it is not known.

        Args:
            rows: of the batch.
            origin: of the value.
        """
        value, versions = self._found.get((rows, origin), (None, []))
        return (value,) if versions and versions == _versions(value) else None

    def keep(self, rows: int, origin: str, value: Any) -> None:
        """Remember a value."""
        self._found[rows, origin] = value, _versions(value)


def origin_of(node: fx.Node, origins: Origins, targets: Mapping[str, Any], moving: Moving) -> str | None:
    """Return how the value of a node comes from the inputs.

    Args:
        node: none that draws random numbers, changes a buffer or writes in place.
        origins: of the nodes before.
        targets: what modules and tensors its name stands for.
        moving: what calls of the model move.
    """
    arguments = [origins[argument] for argument in node.all_input_nodes]
    if None in arguments or (node.op == "call_module" and not _is_steady(node, targets, moving)):
        return None
    if node.op == "get_attr" and not _is_fixed(targets[str(node.target)], moving):
        return None
    texts = {argument: _Text(f"<{origins[argument]}>") for argument in node.all_input_nodes}
    given = fx.node.map_arg((node.args, node.kwargs), texts.__getitem__)
    target = node.target if isinstance(node.target, str) else f"{id(node.target)} {_name(node.target)}"
    return digest(f"{node.op} {target} {given!r}{_modes(node, targets)}")


def written_by(value: str | None, writer: str | None) -> str | None:
    """Return how a value comes from the inputs that was written into, of how both came from them."""
    return None if value is None or writer is None else digest(f"{value} written by {writer}")


def is_kept(node: fx.Node, targets: Mapping[str, Any]) -> bool:
    """Return whether the value of a node is worth remembering: that of a frozen layer, or of what one is made of."""
    if node.op == "call_module":
        return is_frozen(targets[str(node.target)])
    read = (targets[str(argument.target)] for argument in node.all_input_nodes if argument.op == "get_attr")
    return any(isinstance(value, nn.Parameter) and not value.requires_grad for value in read)


class _Text(str):
    """A text that stands for a node inside printed arguments."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _is_steady(node: fx.Node, targets: Mapping[str, Any], moving: Moving) -> bool:
    """Return whether a module computes the same whenever it is called."""
    target, module = str(node.target), targets[str(node.target)]
    if isinstance(module, AssignAttribute | ReadAttribute) or next(moving.counted_in(target), None) is not None:
        return False
    holds_nothing = not any(True for _ in module.parameters()) and not any(True for _ in module.buffers())
    return (is_frozen(module) and not moving.writes_into(module)) or holds_nothing


def _is_fixed(value: Any, moving: Moving) -> bool:
    return (
        isinstance(value, nn.Parameter) and not value.requires_grad and all(value is not p for p in moving.parameters)
    )


def _modes(node: fx.Node, targets: Mapping[str, Any]) -> str:
    if node.op != "call_module":
        return ""
    return f" {[int(module.training) for module in targets[str(node.target)].modules()]}"


def _name(function: Any) -> str:
    return str(getattr(function, "__name__", function))


def _versions(value: Any) -> list[int]:
    return [tensor._version for tensor in tensors_in(value)]
