"""Sources besides resident tensors: inputs read as they are asked for, and rows in other types."""

from contextlib import ExitStack

import torch
from torch import Tensor

from reuse.data.inputs import Inputs
from reuse.training.batches import Source, read_in_order, windows_of


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
        self.windows = windows_of(source)

    def __len__(self) -> int:
        return len(self.source)

    def gather(self, indices: Tensor) -> tuple[Tensor, ...]:
        """Return the rows `indices` in the types asked for."""
        pairs = zip(self.source.gather(indices), self.dtypes, strict=True)
        return tuple([tensor.to(dtype) if tensor.is_floating_point() else tensor for tensor, dtype in pairs])

    def in_order(self, order: Tensor) -> "ConvertedInOrder":
        """Return the same rows, which will be gathered in the order of the row numbers `order`."""
        return ConvertedInOrder(self, order)


class ConvertedInOrder(Converted):
    """Rows of another source in other types, which are read ahead in an order that is known.

    Args:
        rows: the rows.
        order: their numbers in the order in which they will be asked for.
    """

    def __init__(self, rows: Converted, order: Tensor) -> None:
        self._reading = ExitStack()
        super().__init__(self._reading.enter_context(read_in_order(rows.source, order)), rows.dtypes)

    def close(self) -> None:
        """Stop reading."""
        self._reading.close()
