"""Bringing images to one size and number of channels: Pillow images from files, tensors from arrays.

With a `crop_pct`, both go through timm's own evaluation transform, so a pretrained model sees what it knows.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from reuse.data.preprocessing import Preprocessing
from reuse.errors import UsageError
from reuse.menus import lookup

IMAGE_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
PILLOW_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}
TENSOR_MODES = {"nearest": "nearest-exact", "bilinear": "bilinear", "bicubic": "bicubic"}
UINT16_MAXIMUM = 2**16 - 1
FEWEST_OF_16_BITS = 2**12  # a maximum below it speaks of 8- or 12-bit content in 16-bit pixels
AS_BYTES = "convert to 8 bits, or give arrays"
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's conversion to grey


def resize_picture(image: Image.Image, preprocessing: Preprocessing) -> np.ndarray:
    """Return a decoded picture, converted and resized, as uint8 `(channels, height, width)`."""
    image = _convert_mode(image, preprocessing.channels or 3)
    if preprocessing.crop_pct is not None:
        return np.asarray(_timm_transform(preprocessing, for_tensors=False)(image))
    if preprocessing.image_size is not None:
        height, width = preprocessing.image_size
        if image.size != (width, height):
            image = image.resize((width, height), lookup(PILLOW_FILTERS, preprocessing.interpolation, "interpolation"))
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def resize_arrays(raw: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Return images converted and resized; raw values stay on their scale.

    Args:
        raw: `(n, channels, height, width)`, uint8 or floating point.
        preprocessing: the size, channels, interpolation and crop.

    Returns:
        `(n, preprocessing.channels, *preprocessing.image_size)`.
    """
    images = convert_channels(raw, preprocessing.channels or raw.shape[1])
    if preprocessing.crop_pct is not None:
        result: Tensor = _timm_transform(preprocessing, for_tensors=True)(images)
        return result
    size = preprocessing.image_size
    if size is None or tuple(images.shape[-2:]) == size or len(images) == 0:
        return images if size is None or len(images) else images.new_empty((0, images.shape[1], *size))
    mode = lookup(TENSOR_MODES, preprocessing.interpolation, "interpolation for arrays")
    antialias = mode in ("bilinear", "bicubic")
    return torch.nn.functional.interpolate(images.to(torch.float32), size, mode=mode, antialias=antialias)


def convert_channels(images: Tensor, channels: int) -> Tensor:
    """Return `images` `(n, c, height, width)` with `channels` channels: grey repeated, RGB weighted, alpha dropped.

    Raises:
        UsageError: there is no such conversion.
    """
    given = images.shape[1]
    if given == channels:
        return images
    if given == 1 and channels == 3:
        return images.expand(-1, 3, -1, -1)
    if given == 4 and channels == 3:
        return images[:, :3]
    if given in (3, 4) and channels == 1:
        weights = torch.tensor(LUMA, dtype=torch.float32).view(1, 3, 1, 1)
        return (images[:, :3].to(torch.float32) * weights).sum(dim=1, keepdim=True)
    raise UsageError(f"images of {given} channels cannot become images of {channels}: give channels={given}")


def _convert_mode(image: Image.Image, channels: int) -> Image.Image:
    mode = lookup({str(n): mode for n, mode in IMAGE_MODES.items()}, str(channels), "number of channels")
    if image.mode == "I" or image.mode.startswith("I;16"):  # 16-bit grey, which Pillow would cut off at 255
        image = Image.fromarray(_highest_bits(np.asarray(image)))
    if image.mode == "F":
        raise ValueError(f"floating-point grey with values up to {np.asarray(image).max():g}: {AS_BYTES}")
    if "transparency" in image.info:  # Pillow warns unless transparency is made a channel first
        image = image.convert("RGBA")
    return image if image.mode == mode else image.convert(mode)


def _highest_bits(pixels: np.ndarray) -> np.ndarray:
    """Return 16-bit grey as 8 bits; values that fill fewer bits, or more, would all turn black, or wrap around."""
    lowest, highest = int(pixels.min()), int(pixels.max())
    if lowest < 0 or highest > UINT16_MAXIMUM:
        raise ValueError(f"32-bit grey with values from {lowest} to {highest}: {AS_BYTES}")
    if highest < FEWEST_OF_16_BITS:
        raise ValueError(f"16-bit grey with values up to {highest}: {AS_BYTES}")
    return (pixels >> 8).astype(np.uint8)


@lru_cache(maxsize=8)
def _timm_transform(preprocessing: Preprocessing, for_tensors: bool) -> Callable[[Any], Any]:
    """Return timm's evaluation transform up to uint8 pixels; the normalisation is ours, after the gather."""
    from timm.data import create_transform  # importing timm takes seconds, and only pretrained models need it

    assert preprocessing.image_size is not None
    transform: Callable[[Any], Any] = create_transform(
        input_size=(preprocessing.channels or 3, *preprocessing.image_size),
        is_training=False,
        interpolation=preprocessing.interpolation,
        crop_pct=preprocessing.crop_pct,
        crop_mode=preprocessing.crop_mode,
        mean=preprocessing.mean or (0.0,) * (preprocessing.channels or 3),
        std=preprocessing.std or (1.0,) * (preprocessing.channels or 3),
        use_prefetcher=not for_tensors,
        normalize=not for_tensors,
    )
    return transform
