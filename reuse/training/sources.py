"""Sources besides resident tensors: inputs read as they are asked for, and rows in other types."""

import torch
from torch import Tensor

from reuse.data.inputs import Inputs
from reuse.training.batches import Source


class ReadInputs:
    """Inputs that do not fit into memory, read batch by batch on the CPU."""

    def __init__(self, inputs: Inputs) -> None:
        self.inputs = inputs
        self.device = torch.device("cpu")

    def __len__(self) -> int:
        return len(self.inputs)

    def gather(self, indices: Tensor) -> tuple[Tensor, ...]:
        """Return the rows `indices`."""
        return self.inputs.gather(indices)


class Converted:
    """Rows of another source in other types, converted as they are read.

    Args:
        source: the rows.
        dtypes: one type for each of its tensors; whole numbers (tokens, lengths) stay what they are.
    """

    def __init__(self, source: Source, dtypes: tuple[torch.dtype, ...]) -> None:
        self.source, self.dtypes, self.device = source, dtypes, source.device

    def __len__(self) -> int:
        return len(self.source)

    def gather(self, indices: Tensor) -> tuple[Tensor, ...]:
        """Return the rows `indices` in the types asked for."""
        pairs = zip(self.source.gather(indices), self.dtypes, strict=True)
        return tuple([tensor.to(dtype) if tensor.is_floating_point() else tensor for tensor, dtype in pairs])
