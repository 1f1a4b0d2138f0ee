"""Attributes that a forward assigns, as calls in a graph: read and assigned by name, each time the graph runs."""

from typing import Any

from torch import nn

from reuse.fingerprinting.keeping import Place


class _Attribute(nn.Module):
    """An attribute or buffer of a module, which is held outside the module tree."""

    owner: nn.Module
    attribute: str

    def __init__(self, owner: nn.Module, name: str):
        super().__init__()
        object.__setattr__(self, "owner", owner)
        object.__setattr__(self, "attribute", name)

    def extra_repr(self) -> str:
        """Return the attribute's name."""
        return self.attribute


class ReadAttribute(_Attribute):
    """Value of an attribute, as it is when the graph runs."""

    def forward(self, after: Any = None) -> Any:  # noqa: ARG002
        """Return the value.

        Args:
            after: what was computed before it is read, by a module that assigns it.
        """
        return getattr(self.owner, self.attribute)


class AssignAttribute(_Attribute):
    """Assignment to an attribute."""

    def forward(self, value: Any) -> None:
        """Assign."""
        setattr(self.owner, self.attribute, value)


def dotted(place: Place) -> str:
    """Return a place as it is written in code."""
    return ".".join(part for part in place if part)


def outside(place: Place) -> str:
    """Return in words where something moves that no graph would see."""
    return "what its code reads outside of the model" if place[1] == "class" else f"what is in {dotted(place)!r}"
