"""Lightness and colour of pixels: CIE 1976 L*a*b* of sRGB pixels, white of daylight (D65)."""

import torch
from torch import Tensor

FROM_RGB = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
"""Linear sRGB to XYZ (IEC 61966-2-1)."""
WHITE = (0.95047, 1.0, 1.08883)
MOST_COLOUR = 110.0
"""Above the largest a and b, either way, that sRGB pixels have: 98.3 and 107.9."""
_EDGE = 6 / 29


def to_lab(pixels: Tensor) -> Tensor:
    """Return lightness from 0 to 100 and the two axes of colour, a and b.

    Args:
        pixels: RGB from 0 to 1, `(batch, 3, height, width)`.
    """
    matrix, white = (pixels.new_tensor(values) for values in (FROM_RGB, WHITE))
    xyz = torch.einsum("kc,bchw->bkhw", matrix / white[:, None], linear_light(pixels))
    x, y, z = _bent(xyz).unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def from_lab(lab: Tensor) -> Tensor:
    """Return RGB from 0 to 1 of lightness and colours as `to_lab` gives them; what no pixel has is cut off."""
    matrix, white = (lab.new_tensor(values) for values in (FROM_RGB, WHITE))
    light, a, b = lab.unbind(1)
    y = (light + 16) / 116
    bent = torch.stack([y + a / 500, y, y - b / 200], 1)
    xyz = torch.where(bent > _EDGE, bent**3, 3 * _EDGE**2 * (bent - 4 / 29))
    return _displayed(torch.einsum("ck,bkhw->bchw", torch.linalg.inv(matrix / white[:, None]), xyz))


def grey_of(pixels: Tensor) -> Tensor:
    """Return the grey pixels of the same lightness, `(batch, 3, height, width)` of three equal channels."""
    weights = pixels.new_tensor(FROM_RGB[1])
    light = torch.einsum("c,bchw->bhw", weights, linear_light(pixels))
    return _displayed(light).unsqueeze(1).expand(-1, 3, -1, -1)


def linear_light(pixels: Tensor) -> Tensor:
    """Return the light that sRGB pixels stand for, both from 0 to 1."""
    return torch.where(pixels <= 0.04045, pixels / 12.92, ((pixels.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4)


def _displayed(light: Tensor) -> Tensor:
    """Return the sRGB pixels of linear light."""
    light = light.clamp(0, 1)
    return torch.where(light <= 0.0031308, 12.92 * light, 1.055 * light.clamp(min=0.0031308) ** (1 / 2.4) - 0.055)


def _bent(xyz: Tensor) -> Tensor:
    """Return the cube root, straight near 0."""
    return torch.where(xyz > _EDGE**3, xyz.clamp(min=_EDGE**3) ** (1 / 3), xyz / (3 * _EDGE**2) + 4 / 29)
