"""Networks that give what a test says, and rows for methods that compare views."""

from typing import Any

import torch
from torch import Tensor

from reuse.data.rows import Batch

ROWS = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
BATCH = Batch((ROWS,))


def said(*values: Tensor) -> Any:
    """Return a network that gives these values whatever it is called on."""
    return lambda _: values


def drawn(*shape: int, seed: int = 1) -> Tensor:
    """Return normal numbers in float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
