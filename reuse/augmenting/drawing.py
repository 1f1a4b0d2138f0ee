"""Where augmentation draws random numbers from: torch's global state, or for a while a generator of its own.

The generator counts for the thread that set it alone, so that rows can be changed in the background of a training
without a trace in its random state.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Generator, Tensor

_own: ContextVar[Generator | None] = ContextVar("generator", default=None)


@contextmanager
def drawing_from(generator: Generator) -> Iterator[None]:
    """Draw from `generator`, which is on the CPU, while the block runs; batches must be there too."""
    token = _own.set(generator)
    try:
        yield
    finally:
        _own.reset(token)


def uniform(size: Sequence[int], like: Tensor) -> Tensor:
    """Return numbers from 0 to 1 of the type and on the device of `like`."""
    return torch.rand(tuple(size), dtype=like.dtype, device=like.device, generator=_own.get())


def normal(like: Tensor) -> Tensor:
    """Return standard normal numbers of the shape, of the type and on the device of `like`."""
    return torch.randn(like.shape, dtype=like.dtype, device=like.device, generator=_own.get())


def whole_numbers(lowest: int, highest: int, size: Sequence[int], like: Tensor) -> Tensor:
    """Return whole numbers from `lowest` to `highest`, both included, on the device of `like`."""
    return torch.randint(lowest, highest + 1, tuple(size), device=like.device, generator=_own.get())
