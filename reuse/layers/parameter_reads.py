"""Reads of parameters that train, by layers that do not hold them: through a reference, or the weights' own data."""

from typing import Any

import torch
from torch import nn

from reuse.layers.parameter_writes import Watch
from reuse.layers.structure import tensors_in


class Watched:
    """A frozen part of a model, watched while it is called: no gradient tells of a read without one.

    Attributes:
        found: names of the model's parameters that train and that a call read.
    """

    def __init__(self, model: nn.Module, part: nn.Module):
        trained = ((name, p) for name, p in model.named_parameters() if p.requires_grad and p.numel())
        self.found: dict[str, None] = {}
        self._part = part
        self._names = {place: name for name, p in trained if (place := p.data_ptr())}  # 0: it lies nowhere, as on meta

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Call the part, without its hooks."""
        with _Reads(self._names, self.found):
            return self._part.forward(*arguments, **keywords)


class _Reads(Watch):  # type: ignore[no-untyped-call]
    """Note the operations that are given a parameter that trains, or what lies where it begins."""

    def __init__(self, names: dict[int, str], found: dict[str, None]):
        super().__init__()
        self.names, self.found = names, found

    def see(self, func: Any, args: Any, kwargs: Any) -> None:  # noqa: ARG002
        """Note which parameters an operation is given."""
        for tensor in tensors_in([args, kwargs]):
            name = self.names.get(tensor.data_ptr()) if tensor.layout == torch.strided else None
            if name is not None:
                self.found[name] = None
