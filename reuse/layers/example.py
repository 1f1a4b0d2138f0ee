"""What a model is called with: arguments and keywords, the tensors among them rows first."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reuse.devices import dtype_name
from reuse.errors import CutError
from reuse.layers.structure import leaves, map_tensors, tensors_in

Given = Tensor | Mapping[str, Any] | Sequence[Any]
"""The forms of an example: a tensor, a mapping of keywords, a sequence of arguments."""


@dataclass(frozen=True)
class Example:
    """Arguments of a model's call.

    Attributes:
        arguments: by position: tensors, or containers of tensors, numbers and None.
        keywords: by name, the same.
    """

    arguments: tuple[Any, ...]
    keywords: dict[str, Any]

    @property
    def tensors(self) -> list[Tensor]:
        """The tensors among them, in order."""
        return list(tensors_in([self.arguments, self.keywords]))

    def __str__(self) -> str:
        """Return what it holds, for messages: `given (3, 6) float64`."""
        return f"given {', '.join(f'{tuple(t.shape)} {dtype_name(t.dtype)}' for t in self.tensors)}"

    def call(self, module: nn.Module | Callable[..., Any]) -> Any:
        """Return what a module makes of them."""
        return module(*self.arguments, **self.keywords)

    def map(self, function: Callable[[Tensor], Any]) -> "Example":
        """Return an example with each tensor replaced by what a function makes of it."""
        arguments, keywords = map_tensors(function, [self.arguments, self.keywords])
        return Example(tuple(arguments), keywords)

    def copy(self) -> "Example":
        """Return an example whose tensors a forward may write into."""
        return self.map(torch.clone)

    def rows(self, chosen: slice | Tensor) -> "Example":
        """Return some of its rows."""
        return self.map(lambda tensor: tensor[chosen])


def as_example(given: Given) -> Example:
    """Return a tensor as one argument, a mapping as keywords, a sequence as arguments.

    Raises:
        CutError: it holds no tensor, an array, tensors without rows, or tensors of unequal numbers of rows.
    """
    if isinstance(given, Tensor):
        example = Example((given,), {})
    elif isinstance(given, Mapping):
        example = Example((), dict(given))
    else:
        example = Example(tuple(given), {})
    tensors = example.tensors
    if any(isinstance(leaf, np.ndarray) for leaf in leaves([example.arguments, example.keywords])):
        raise CutError("a model is cut on tensors, and the example holds a NumPy array: use torch.from_numpy")
    if not tensors:
        raise CutError("a model is cut on tensors, and the example holds none")
    if any(tensor.dim() == 0 for tensor in tensors) or len({len(tensor) for tensor in tensors}) > 1:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors)
        raise CutError(f"each tensor of the example must hold the same number of rows; these have the shapes {shapes}")
    return example
