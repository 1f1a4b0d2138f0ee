"""One tensor that crosses from prefix to suffix and is stored, as the cache knows it."""

from dataclasses import dataclass
from math import prod

import torch

from reuse.devices import dtype_name


@dataclass(frozen=True)
class FrontierTensor:
    """One tensor of the frontier: its name in the cut, and the shape and type of one row (without the batch)."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def row_bytes(self) -> int:
        """The bytes of one row."""
        return prod(self.shape) * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{self.name} {dtype_name(self.dtype)} {self.shape}"
