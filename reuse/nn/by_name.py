"""A model that takes its inputs by name, called by position as the trainer calls networks."""

from typing import Any

from torch import Tensor, nn

from reuse.layout import Layout, called, names_of


class ByName(nn.Module):
    """A model that takes its inputs by name, given them in order.

    Its layers and parameters are the model's own, under the model's names, and its mode is the model's.

    Args:
        model: the model.
        layout: of a row of its inputs.
    """

    model: nn.Module

    def __init__(self, model: nn.Module, layout: Layout) -> None:
        super().__init__()
        self.layout = layout
        object.__setattr__(self, "model", model)  # outside of the module tree, which would give all names a prefix
        for table in ("_modules", "_parameters", "_buffers", "_non_persistent_buffers_set"):
            object.__setattr__(self, table, getattr(model, table))
        self.training = model.training

    def forward(self, *inputs: Tensor) -> Any:
        """Return what the model returns of the tensors of some rows, each `(batch, ...)`."""
        return called(self.model, self.layout, inputs)

    def train(self, mode: bool = True) -> "ByName":
        """Set the mode of the model; frozen layers stay in evaluation mode."""
        self.training = mode
        self.model.train(mode)
        return self


def by_position(model: nn.Module, layout: Layout) -> nn.Module:
    """Return a module that is called by position: the model itself, unless it takes its inputs by name."""
    return ByName(model, layout) if names_of(layout) else model
