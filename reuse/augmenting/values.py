"""Changes to values wherever they stand: noise, masking, erasing."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from reuse.augmenting.pixels import Pixels, by_channel, drawn, normal, uniform
from reuse.errors import UsageError

LOG_SHAPE = 1.2  # erased rectangles are 0.3:1 to 3.3:1, as in the paper


def add_noise(inputs: Tensor, deviation: float) -> Tensor:
    """Add normal noise of this standard deviation."""
    return inputs + deviation * normal(inputs)


def mask(inputs: Tensor, share: float) -> Tensor:
    """Set each value to 0 with probability `share`."""
    return inputs * (uniform(inputs.shape, inputs) >= share)


def erase(images: Tensor, share: float, value: float = 0.0) -> Tensor:
    """Set a rectangle of each image to `value` (random erasing, Zhong et al. 2020, https://arxiv.org/abs/1708.04896).

    Its area is drawn up to `share` of the image's, its shape from 0.3:1 to 3.3:1, its centre anywhere; what of it lies
    outside the frame is lost.

    Args:
        images: `(batch, channels, height, width)`.
        share: of the area, above 0 up to 1.
        value: what the rectangle is filled with.
    """
    area, shape = drawn(images, 0, share), drawn(images, -LOG_SHAPE, LOG_SHAPE).exp()
    lines = _within(images, 2, (area * shape).sqrt())
    columns = _within(images, 3, (area / shape).sqrt())
    return images.masked_fill(lines[:, None, :, None] & columns[:, None, None, :], value)


def _within(images: Tensor, dim: int, size: Tensor) -> Tensor:
    """Return which pixels along `dim` lie within half of `size` (a share of the side) of a random place."""
    places = (torch.arange(images.shape[dim], device=images.device) + 0.5) / images.shape[dim]
    return (places - drawn(images, 0, 1)[:, None]).abs() < size[:, None] / 2


def _image_noise(deviation: float, pixels: Pixels) -> Callable[[Tensor], Tensor]:
    if not pixels.std:
        return partial(add_noise, deviation=deviation)
    return lambda images: images + deviation * normal(images) / by_channel(pixels.std, images)


def _erase(share: float, pixels: Pixels) -> Callable[[Tensor], Tensor]:
    if not 0 < share <= 1:
        raise UsageError(f"erase:{share:g}: give the largest share of the area, above 0 up to 1")
    # Grey: the mean where inputs are standardised, else the middle of the range.
    return partial(erase, share=share, value=0.0 if pixels.mean else 0.5)


def _table_noise(deviation: float) -> Callable[[Tensor], Tensor]:
    return partial(add_noise, deviation=deviation)


def _mask(share: float) -> Callable[[Tensor], Tensor]:
    if not share < 1:
        raise UsageError(f"mask:{share:g} leaves nothing: give a share below 1")
    return partial(mask, share=share)


IMAGE_VALUES: dict[str, Callable[[float, Pixels], Callable[[Tensor], Tensor]]] = {
    "noise": _image_noise,
    "erase": _erase,
}
TABLE_VALUES: dict[str, Callable[[float], Callable[[Tensor], Tensor]]] = {"noise": _table_noise, "mask": _mask}
