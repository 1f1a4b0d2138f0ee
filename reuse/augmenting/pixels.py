"""Batches that are changed: the meaning of an image's numbers, and the random numbers that are drawn for each row.

They come from torch's global state, or for a while from a generator of its own. That counts for the thread that set it
alone, so that rows can be changed in the background of a training without a trace in its random state.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from reuse.data.preprocessing import Preprocessing

_own: ContextVar[Generator | None] = ContextVar("generator", default=None)


@dataclass(frozen=True)
class Pixels:
    """Images `(batch, channels, height, width)` whose values are `(pixel - mean) / std`, pixels from 0 to 1.

    Attributes:
        channels: 1 grey, 3 RGB, or any other number.
        height: in pixels.
        width: in pixels.
        mean: one value a channel; empty: nothing was subtracted or divided by.
        std: one value a channel.
    """

    channels: int
    height: int
    width: int
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    @classmethod
    def of(cls, input_shape: Sequence[int], preprocessing: Preprocessing | None) -> "Pixels":
        """Return what the inputs of `input_shape` are after `preprocessing`."""
        channels, height, width = input_shape
        if preprocessing is None:
            return cls(channels, height, width)
        return cls(channels, height, width, preprocessing.mean, preprocessing.std)

    @property
    def black(self) -> tuple[float, ...]:
        """A black pixel in each channel; empty where it is 0."""
        return tuple([-mean / std for mean, std in zip(self.mean, self.std, strict=True)])

    def restored(self, images: Tensor) -> Tensor:
        """Return the pixels from 0 to 1 that `images` were made of."""
        return images * by_channel(self.std, images) + by_channel(self.mean, images) if self.mean else images

    def standardised(self, pixels: Tensor) -> Tensor:
        """Return pixels from 0 to 1 as inputs."""
        return (pixels - by_channel(self.mean, pixels)) / by_channel(self.std, pixels) if self.mean else pixels


def by_channel(values: Sequence[float], images: Tensor) -> Tensor:
    """Return one value a channel as `(channels, 1, 1)`, of the type and on the device of `images`.

    Filled there, not copied: nothing waits for the device.
    """
    return torch.stack([images.new_full((), value) for value in values]).view(-1, 1, 1)


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


def drawn(images: Tensor, lowest: float, highest: float) -> Tensor:
    """Return one number a row of `images`, uniform from `lowest` to `highest`: `(batch,)`, of their type and device."""
    return lowest + (highest - lowest) * uniform([len(images)], images)
