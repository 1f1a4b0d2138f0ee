"""Preprocessed samples of a split, addressed by position, for the trainer and the cache."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from reuse.devices import free_memory
from reuse.errors import DataError
from reuse.layout import Layout, one_tensor

BLOCK_ROWS = 2048  # rows that are prepared at a time, so that no second copy of a data set is made
RESIDENT_SHARE = 3  # one part in three of the free memory may hold a split


class Inputs(ABC):
    """Preprocessed samples 0 … n-1 of one split.

    Most are one tensor each; what is several overrides `layout` and `_prepare_each`.

    Attributes:
        shape: the shape of one preprocessed sample, e.g. `(64,)` or `(3, 64, 64)`; of several tensors, of the first.
        dtype: float32, or int64 for tokens; of several tensors, of the first.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32

    def __init__(self, num_samples: int) -> None:
        self._num_samples = num_samples
        self._resident: tuple[Tensor, ...] | None = None
        self._is_too_large = False
        self._digests: np.ndarray | None = None

    def __len__(self) -> int:
        return self._num_samples

    @abstractmethod
    def _prepare(self, indices: np.ndarray) -> Tensor:
        """Return the samples at `indices` (int64) as a CPU tensor of `dtype`, `(len(indices), *shape)`."""

    @abstractmethod
    def _digest(self) -> np.ndarray:
        """Return the digests of all samples' raw content, `(n, 16)` uint8."""

    @property
    def layout(self) -> Layout:
        """The tensors of one preprocessed sample, and how a model takes them."""
        return one_tensor(self.shape, self.dtype)

    def gather(self, indices: Tensor) -> tuple[Tensor, ...]:
        """Return the samples at `indices`.

        Args:
            indices: positions in the split, int64 on the CPU, in any order, repeats allowed.

        Returns:
            A tensor for each of `layout`, on the CPU: of its type, `(len(indices), *shape)`.
        """
        if self._resident is not None:
            return tuple([tensor.index_select(0, indices) for tensor in self._resident])
        return self._prepare_each(indices.numpy())

    def gather_once(self, indices: Tensor) -> tuple[Tensor, ...]:
        """Return the samples at `indices`, which will not be asked for again: nothing need be kept of them."""
        return self.gather(indices)

    def resident(self) -> Tensor | None:
        """Return all samples as one CPU tensor `(n, *shape)`, or None where it would take too much memory.

        Too much is more than a third of what is free at the first call; the answer is kept.
        """
        whole = self.residents()
        return None if whole is None else whole[0]

    def residents(self) -> tuple[Tensor, ...] | None:
        """Return all samples as a CPU tensor for each of `layout`, or None where they would take too much memory."""
        if self._resident is None and not self._is_too_large:
            self._is_too_large = not self.fits()
            if not self._is_too_large:
                self._resident = self._prepare_all()
        return self._resident

    def fits(self) -> bool:
        """Return whether `resident` would prepare all samples, or has done so."""
        if self._resident is not None or self._is_too_large:
            return self._resident is not None
        num_bytes = len(self) * sum(tensor.dtype.itemsize * math.prod(tensor.shape) for tensor in self.layout)
        return num_bytes <= free_memory(torch.device("cpu")) // RESIDENT_SHARE

    def digests(self) -> np.ndarray:
        """Return a digest of each sample's raw content, before preprocessing: `(n, 16)` uint8, computed once.

        Equal digests mean equal content, type and shape, in whatever data set, split or place the row stands.
        """
        if self._digests is None:
            self._digests = self._digest()
        return self._digests

    def names(self) -> list[str] | None:
        """Return what each sample is called, such as its file, or None where samples have no names."""
        return None

    def _prepare_each(self, indices: np.ndarray) -> tuple[Tensor, ...]:
        """Return the samples at `indices` (int64), a CPU tensor for each of `layout`."""
        return (self._prepare(indices),)

    def _prepare_all(self) -> tuple[Tensor, ...]:
        samples = empty(self.layout, len(self))
        for start in range(0, len(self), BLOCK_ROWS):
            indices = np.arange(start, min(start + BLOCK_ROWS, len(self)))
            for whole, part in zip(samples, self._prepare_each(indices), strict=True):
                whole[start : start + len(indices)] = part
        return samples


class JoinedInputs(Inputs):
    """The samples of several inputs, one after the other; they are read from where they lie.

    Args:
        parts: the inputs, all of one shape and type; some may be empty.

    Raises:
        DataError: there are none, or they differ in shape or type.
    """

    def __init__(self, parts: Sequence[Inputs]) -> None:
        layouts = {part.layout for part in parts}
        if len(layouts) != 1:
            raise DataError(
                f"inputs of one shape and type can be joined, and these have {_shapes_of(layouts) or 'none'}"
            )
        super().__init__(sum(map(len, parts)))
        self.shape, self.dtype = parts[0].shape, parts[0].dtype
        self._parts = tuple(parts)
        self._ends = np.cumsum([len(part) for part in parts])

    @property
    def layout(self) -> Layout:
        """The tensors of one sample, those of each part."""
        return self._parts[0].layout

    def _prepare(self, indices: np.ndarray) -> Tensor:
        return self._prepare_each(indices)[0]

    def gather_once(self, indices: Tensor) -> tuple[Tensor, ...]:
        """Return the samples at `indices`, of which the parts keep nothing."""
        if self._resident is not None:
            return self.gather(indices)
        return self._of_parts(indices.numpy(), lambda part, inside: part.gather_once(inside))

    def _prepare_each(self, indices: np.ndarray) -> tuple[Tensor, ...]:
        return self._of_parts(indices, lambda part, inside: part.gather(inside))

    def _of_parts(
        self, indices: np.ndarray, gather: Callable[[Inputs, Tensor], tuple[Tensor, ...]]
    ) -> tuple[Tensor, ...]:
        owners = np.searchsorted(self._ends, indices, side="right")
        samples = empty(self.layout, len(indices))
        for number, part in enumerate(self._parts):
            places = np.flatnonzero(owners == number)
            if len(places) == 0:
                continue
            inside = indices[places] - (self._ends[number] - len(part))
            found = gather(part, torch.from_numpy(inside))
            if len(places) == len(indices):
                return found
            for whole, some in zip(samples, found, strict=True):
                whole[torch.from_numpy(places)] = some
        return samples

    def _digest(self) -> np.ndarray:
        return np.concatenate([part.digests() for part in self._parts])

    def names(self) -> list[str] | None:
        """Return what each sample is called, or None where the samples of a part have no names."""
        names = [part.names() for part in self._parts]
        return None if None in names else [name for some in names if some is not None for name in some]


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


def empty(layout: Layout, rows: int) -> tuple[Tensor, ...]:
    """Return tensors on the CPU that hold nothing yet of some rows."""
    return tuple([torch.empty((rows, *tensor.shape), dtype=tensor.dtype) for tensor in layout])


def _shapes_of(layouts: Iterable[Layout]) -> list[tuple[int, ...]]:
    return sorted({tensor.shape for layout in layouts for tensor in layout})
