"""Changes to where things are in images: by whole pixels exactly, all else by one resampling."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from reuse.augmenting.pixels import Pixels, by_channel, drawn, whole_numbers
from reuse.errors import UsageError

Draw = Callable[[Tensor], Tensor]
"""From a batch to one matrix a row, `(batch, 3, 3)`: from places in the new image to places in the old."""

LOG_SHAPE = math.log(4 / 3)  # windows are 3:4 to 4:3, as torchvision's RandomResizedCrop cuts them


def shift(limit: float, pixels: Pixels) -> Callable[[Tensor], Tensor]:
    """Return what moves each image by whole pixels, each number from -limit to limit as likely, in both directions."""
    reach = int(limit)
    if reach != limit or not reach < min(pixels.height, pixels.width):
        smaller = min(pixels.height, pixels.width)
        raise UsageError(f"shift:{limit:g}: give a whole number of pixels below {smaller}, the size of the images")

    def shifted(images: Tensor) -> Tensor:
        down, right = whole_numbers(-reach, reach, (2, len(images)), images)
        return move(images, down, right, reach, pixels.black)

    return shifted


def move(images: Tensor, down: Tensor, right: Tensor, reach: int, fill: Sequence[float] = ()) -> Tensor:
    """Return images moved by whole pixels; values that stay in the frame stay what they are, bit for bit.

    Args:
        images: `(batch, channels, height, width)`.
        down: pixels down, negative for up, int64 `(batch,)`, from -reach to reach.
        right: pixels to the right, likewise.
        reach: the greatest of them.
        fill: value of each channel for what comes in; empty: 0.
    """
    rows, channels, height, width = images.shape
    framed = images.new_zeros(rows, channels, height + 2 * reach, width + 2 * reach)
    if fill:
        framed = framed + by_channel(fill, images)
    framed[:, :, reach : reach + height, reach : reach + width] = images
    windows = framed.unfold(2, height, 1).unfold(3, width, 1)  # a view: (batch, channels, down, right, height, width)
    return windows[torch.arange(rows, device=images.device), :, reach - down, reach - right]


def mirror(share: float, pixels: Pixels) -> Callable[[Tensor], Tensor]:  # noqa: ARG001 - the shape of the menu
    """Return what exchanges left and right in a `share` of the images."""
    return _turned(3, _checked_share("mirror", share))


def flip(share: float, pixels: Pixels) -> Callable[[Tensor], Tensor]:  # noqa: ARG001 - as above
    """Return what exchanges top and bottom in a `share` of the images."""
    return _turned(2, _checked_share("flip", share))


def _turned(dim: int, share: float) -> Callable[[Tensor], Tensor]:
    def turned(images: Tensor) -> Tensor:
        chosen = drawn(images, 0, 1) < share
        return torch.where(chosen.view(-1, 1, 1, 1), images.flip(dim), images)

    return turned


def rotate(degrees: float) -> Draw:
    """Return what draws rotations about the centre."""
    limit = math.radians(_checked_angle("rotate", degrees, 180))

    def rotations(images: Tensor) -> Tensor:
        angle = drawn(images, -limit, limit)
        return matrices((angle.cos(), -angle.sin(), 0), (angle.sin(), angle.cos(), 0), images)

    return rotations


def shear(degrees: float) -> Draw:
    """Return what draws slants: vertical lines lean by the angle."""
    limit = math.radians(_checked_angle("shear", degrees, 80))

    def slants(images: Tensor) -> Tensor:
        return matrices((1, drawn(images, -limit, limit).tan(), 0), (0, 1, 0), images)

    return slants


def zoom(share: float) -> Draw:
    """Return what draws sizes from 1 - share to 1 + share times the size."""
    if not share < 1:
        raise UsageError(f"zoom:{share:g}: give a share below 1, such as 0.1 for sizes from 0.9 to 1.1")

    def zooms(images: Tensor) -> Tensor:
        size = drawn(images, 1 - share, 1 + share)
        return matrices((1 / size, 0, 0), (0, 1 / size, 0), images)

    return zooms


def crop(share: float) -> Draw:
    """Return what draws windows of a `share` of the area or more, which become the whole image.

    As torchvision's RandomResizedCrop, but that a window that is wider or higher than the image is cut to it.
    """
    if not 0 < share <= 1:
        raise UsageError(f"crop:{share:g}: give the least share of the area, above 0 up to 1; pixels are shift's")

    def windows(images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        area, shape = drawn(images, share, 1), drawn(images, -LOG_SHAPE, LOG_SHAPE).exp()
        wide, high = (area * shape).sqrt().clamp(max=1), (area / shape).sqrt().clamp(max=1)
        right = (1 - wide) * drawn(images, -width / 2, width / 2)
        down = (1 - high) * drawn(images, -height / 2, height / 2)
        return matrices((wide, 0, right), (0, high, down), images)

    return windows


MOVES: dict[str, Callable[[float, Pixels], Callable[[Tensor], Tensor]]] = {
    "shift": shift,
    "mirror": mirror,
    "flip": flip,
}
WARPS: dict[str, Callable[[float], Draw]] = {"rotate": rotate, "shear": shear, "zoom": zoom, "crop": crop}

Entry = Tensor | float


def matrices(first: tuple[Entry, Entry, Entry], second: tuple[Entry, Entry, Entry], images: Tensor) -> Tensor:
    """Return one matrix a row of `images`, `(batch, 3, 3)`.

    Args:
        first: the row that gives the distance to the right of the centre, in pixels: numbers, or tensors `(batch,)`.
        second: the row that gives the distance below the centre.
        images: whose number, type and device are meant.
    """
    ones = images.new_ones(len(images))
    lines = [torch.stack([ones * entry for entry in line], 1) for line in (first, second, (0, 0, 1))]
    return torch.stack(lines, 1)


def warp(draws: Sequence[Draw], pixels: Pixels) -> Callable[[Tensor], Tensor]:
    """Return what draws one matrix of each kind for each image and resamples it once, by all of them in turn."""

    def warped(images: Tensor) -> Tensor:
        whole = draws[0](images)
        for draw in draws[1:]:
            whole = whole @ draw(images)
        return resample(images, whole, pixels.black)

    return warped


def resample(images: Tensor, places: Tensor, fill: Sequence[float] = ()) -> Tensor:
    """Return images resampled bilinearly.

    Args:
        images: `(batch, channels, height, width)`.
        places: `(batch, 3, 3)`: from a place in the new image to that in the old, (right, below, 1) from the centre.
        fill: value of each channel outside the frame; empty: 0.
    """
    height, width = images.shape[2:]
    half = images.new_ones(3, 1)  # torch measures from the centre to the edge as 1
    half[0], half[1] = width / 2, height / 2
    theta = (places * half.view(1, 3) / half)[:, :2]
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    if not any(fill):
        return functional.grid_sample(images, grid, align_corners=False)
    outside = by_channel(fill, images)
    return functional.grid_sample(images - outside, grid, align_corners=False) + outside


def _checked_share(name: str, share: float) -> float:
    if share > 1:
        raise UsageError(f"{name}:{share:g}: give the share of images, from 0 to 1")
    return share


def _checked_angle(name: str, degrees: float, limit: float) -> float:
    if degrees > limit:
        raise UsageError(f"{name}:{degrees:g}: give degrees from 0 to {limit:g}")
    return degrees
