"""Several inputs as one: the splits of a data set, one after the other."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from reuse.data.inputs import Inputs
from reuse.errors import DataError


class Joined(Inputs):
    """The samples of several inputs, one after the other; they are read from where they lie.

    Args:
        parts: the inputs, all of one shape and type; some may be empty.

    Raises:
        DataError: there are none, or they differ in shape or type.
    """

    def __init__(self, parts: Sequence[Inputs]) -> None:
        shapes = {part.shape for part in parts}
        if len(shapes) != 1 or len({part.dtype for part in parts}) != 1:
            raise DataError(f"inputs of one shape and type can be joined, and these have {sorted(shapes) or 'none'}")
        super().__init__(sum(map(len, parts)))
        self.shape, self.dtype = parts[0].shape, parts[0].dtype
        self._parts = tuple(parts)
        self._ends = np.cumsum([len(part) for part in parts])

    def _prepare(self, indices: np.ndarray) -> Tensor:
        owners = np.searchsorted(self._ends, indices, side="right")
        samples = torch.empty(len(indices), *self.shape, dtype=self.dtype)
        for number, part in enumerate(self._parts):
            places = np.flatnonzero(owners == number)
            if len(places) == 0:
                continue
            inside = indices[places] - (self._ends[number] - len(part))
            found = part.gather(torch.from_numpy(inside))[0]
            if len(places) == len(indices):
                return found
            samples[torch.from_numpy(places)] = found
        return samples

    def _digest(self) -> np.ndarray:
        return np.concatenate([part.digests() for part in self._parts])

    def names(self) -> list[str] | None:
        """Return what each sample is called, or None where the samples of a part have no names."""
        names = [part.names() for part in self._parts]
        return None if None in names else [name for some in names if some is not None for name in some]
