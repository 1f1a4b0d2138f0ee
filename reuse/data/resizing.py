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
MOST_RESIZED = 2**26  # pixels of a picture whose shorter side was brought to a length, before it is cropped
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's conversion to grey


def resize_picture(image: Image.Image, preprocessing: Preprocessing) -> np.ndarray:
    """Return a picture of the right mode, resized, as uint8 `(channels, height, width)`.

    Raises:
        ValueError: it is so much longer than wide that it would not be resized in memory.
    """
    if preprocessing.crop_pct is not None:
        _refuse_elongated(image, preprocessing)
        return np.asarray(_timm_transform(preprocessing, for_tensors=False)(image))
    if preprocessing.image_size is not None:
        height, width = preprocessing.image_size
        if image.size != (width, height):
            image = image.resize((width, height), lookup(PILLOW_FILTERS, preprocessing.interpolation, "interpolation"))
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _refuse_elongated(image: Image.Image, preprocessing: Preprocessing) -> None:
    """Raise where a picture's shorter side is enlarged, and its longer one with it, beyond what is read."""
    assert preprocessing.image_size is not None
    assert preprocessing.crop_pct is not None
    shorter, longer = sorted(image.size)
    side = min(preprocessing.image_size) / preprocessing.crop_pct
    if preprocessing.crop_mode == "center" and side * side * longer / shorter > MOST_RESIZED:
        raise ValueError(f"{image.width}×{image.height} pixels are too long to bring the shorter side to {side:.0f}")


def resize_arrays(raw: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Return images converted and resized; raw values stay on their scale.

    Args:
        raw: `(n, channels, height, width)`, uint8 or floating point.
        preprocessing: the size, channels, interpolation and crop, and the divisor of the raw values.

    Returns:
        `(n, preprocessing.channels, *preprocessing.image_size)`.
    """
    images = convert_channels(raw, preprocessing.channels or raw.shape[1], preprocessing.divisor)
    if preprocessing.crop_pct is not None:
        return _cropped(images, preprocessing)
    size = preprocessing.image_size
    if size is None or tuple(images.shape[-2:]) == size or len(images) == 0:
        return images if size is None or len(images) else images.new_empty((0, images.shape[1], *size))
    mode = lookup(TENSOR_MODES, preprocessing.interpolation, "interpolation for arrays")
    antialias = mode in ("bilinear", "bicubic")
    return torch.nn.functional.interpolate(images.to(torch.float32), size, mode=mode, antialias=antialias)


def _cropped(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Return images as timm prepares them, which rounds bytes and no others: so what are bytes in truth become some."""
    transform = _timm_transform(preprocessing, for_tensors=True)
    if images.dtype == torch.uint8 or len(images) == 0:
        cropped: Tensor = transform(images)
        return cropped
    scaled = images.to(torch.float32) * (255 / preprocessing.divisor)
    is_whole = ((scaled - scaled.round()).abs() < 1e-3).flatten(1).all(1)
    as_bytes = transform(scaled[is_whole].round().clamp(0, 255).to(torch.uint8)).to(torch.float32)
    others = transform(images[~is_whole].to(torch.float32))
    cropped = others.new_empty((len(images), *(as_bytes if len(as_bytes) else others).shape[1:]))
    cropped[is_whole], cropped[~is_whole] = as_bytes * (preprocessing.divisor / 255), others
    return cropped


def convert_channels(images: Tensor, channels: int, white: float = 255.0) -> Tensor:
    """Return `images` `(n, c, height, width)` with `channels` channels: grey repeated, RGB weighted, alpha on white.

    Raises:
        UsageError: there is no such conversion.
    """
    given = images.shape[1]
    if given == channels:
        return images
    if given == 1 and channels == 3:
        return images.expand(-1, 3, -1, -1)
    if given == 4 and channels in (1, 3):
        alpha = images[:, 3:].to(torch.float32) / white
        return convert_channels(images[:, :3].to(torch.float32) * alpha + white * (1 - alpha), channels)
    if given == 3 and channels == 1:
        weights = torch.tensor(LUMA, dtype=torch.float32).view(1, 3, 1, 1)
        return (images.to(torch.float32) * weights).sum(dim=1, keepdim=True)
    raise UsageError(f"images of {given} channels cannot become images of {channels}: give channels={given}")


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
