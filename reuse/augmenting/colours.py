"""Changes to the colours of images: torchvision's formulas, with a factor for each image instead of one for all."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from reuse.augmenting.pixels import Pixels, drawn
from reuse.errors import UsageError

Change = Callable[[Tensor], Tensor]


def brighten(images: Tensor, factors: Tensor) -> Tensor:
    """Multiply pixels by a factor for each image.

    Args:
        images: pixels from 0 to 1, `(batch, channels, height, width)`.
        factors: `(batch,)`; 0 is black, 1 changes nothing.
    """
    return (images * _each(factors)).clamp(0, 1)


def set_contrast(images: Tensor, factors: Tensor) -> Tensor:
    """Multiply each pixel's distance to the mean grey of its image; arguments as `brighten`; 0 is all grey."""
    return _blend(images, _grey(images).mean((1, 2, 3), keepdim=True), factors)


def saturate(images: Tensor, factors: Tensor) -> Tensor:
    """Multiply each pixel's distance to its own grey; arguments as `brighten`, RGB; 0 is a grey image."""
    return _blend(images, _grey(images), factors)


def turn_hue(images: Tensor, turns: Tensor) -> Tensor:
    """Turn the hue of each pixel, its saturation and value kept (HSV, Smith 1978, https://doi.org/10.1145/965139.807361).

    Args:
        images: RGB from 0 to 1, `(batch, 3, height, width)`.
        turns: how far round the circle, `(batch,)`; 0.5 gives the opposite colour.
    """
    lowest, highest = torch.aminmax(images, dim=1, keepdim=True)
    chroma = highest - lowest
    sector = (_sector(images, highest, chroma) + 6 * _each(turns)) % 6  # 0 red, 2 green, 4 blue
    channels = [highest - chroma * torch.minimum(k, 4 - k).clamp(0, 1) for k in ((sector + n) % 6 for n in (5, 3, 1))]
    return torch.cat(channels, 1)


def _sector(images: Tensor, highest: Tensor, chroma: Tensor) -> Tensor:
    red, green, blue = images.chunk(3, 1)
    divisor = torch.where(chroma == 0, 1, chroma)  # grey has no hue, and any will do
    from_green, from_blue = (blue - red) / divisor + 2, (red - green) / divisor + 4
    otherwise = torch.where(highest == green, from_green, from_blue)
    return torch.where(highest == red, (green - blue) / divisor, otherwise)


def recolour(changes: Sequence[Change], pixels: Pixels) -> Change:
    """Return what makes all `changes` to the pixels from 0 to 1 that inputs were made of."""

    def recoloured(images: Tensor) -> Tensor:
        images = pixels.restored(images)
        for change in changes:
            images = change(images)
        return pixels.standardised(images)

    return recoloured


def _factor(name: str, change: Callable[[Tensor, Tensor], Tensor], channels: tuple[int, ...]) -> "Maker":
    """Return an entry of the menu that draws factors from 1 - share to 1 + share."""

    def make(share: float, pixels: Pixels) -> Change:
        _check_channels(name, pixels, channels)
        if share > 1:
            raise UsageError(f"{name}:{share:g}: give a share from 0 to 1, such as 0.2 for factors from 0.8 to 1.2")
        return lambda images: change(images, drawn(images, 1 - share, 1 + share))

    return make


def _hue(turns: float, pixels: Pixels) -> Change:
    _check_channels("hue", pixels, (3,))
    if turns > 0.5:
        raise UsageError(f"hue:{turns:g}: give a share of the colour circle, from 0 to 0.5")
    return lambda images: turn_hue(images, drawn(images, -turns, turns))


Maker = Callable[[float, Pixels], Change]
COLOURS: dict[str, Maker] = {
    "brightness": _factor("brightness", brighten, (1, 3)),
    "contrast": _factor("contrast", set_contrast, (1, 3)),
    "saturation": _factor("saturation", saturate, (3,)),
    "hue": _hue,
}


def _check_channels(name: str, pixels: Pixels, channels: tuple[int, ...]) -> None:
    if pixels.channels not in channels:
        wanted = " or ".join(str(number) for number in channels)
        raise UsageError(f"{name} is for images of {wanted} channels, and these have {pixels.channels}: leave it out")


def _each(numbers: Tensor) -> Tensor:
    return numbers.view(-1, 1, 1, 1)


def _grey(images: Tensor) -> Tensor:
    """Return `(batch, 1, height, width)`."""
    if images.shape[1] == 1:
        return images
    from torchvision.transforms.v2.functional import rgb_to_grayscale  # it takes more than a second to import

    grey: Tensor = rgb_to_grayscale(images)
    return grey


def _blend(images: Tensor, others: Tensor, factors: Tensor) -> Tensor:
    return (others + (images - others) * _each(factors)).clamp(0, 1)
