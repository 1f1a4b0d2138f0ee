"""Rows in pieces of which some can be hidden: square patches of images, single values of vectors."""

import math
from dataclasses import dataclass

from torch import Tensor

from reuse.errors import UsageError

LEAST, SIDES = 2, 8  # pixels of a patch where nobody says how many: about an eighth of the image's side
LEAST_VARIANCE = 1e-6  # added to that of a patch before its values are divided by the deviation


@dataclass(frozen=True)
class Patches:
    """Images cut into squares, numbered row by row; a vector is cut into its values.

    Attributes:
        shape: of a row, `(channels, height, width)` or `(values,)`.
        side: pixels of a patch's side; 1 for vectors.
    """

    shape: tuple[int, ...]
    side: int = 1

    @property
    def grid(self) -> tuple[int, int]:
        """How many patches lie one below the other, and how many side by side."""
        if len(self.shape) == 1:
            return (1, self.shape[0])
        return (self.shape[1] // self.side, self.shape[2] // self.side)

    @property
    def width(self) -> int:
        """How many values a patch has."""
        return self.shape[0] * self.side**2 if len(self.shape) == 3 else 1

    def __len__(self) -> int:
        """Return the number of patches in a row."""
        return math.prod(self.grid)

    def cut(self, x: Tensor) -> Tensor:
        """Return the patches of rows, `(batch, patches, width)`; the values of one go channel by channel."""
        if len(self.shape) == 1:
            return x.unsqueeze(2)
        down, across = self.grid
        placed = x.reshape(len(x), self.shape[0], down, self.side, across, self.side)
        return placed.permute(0, 2, 4, 1, 3, 5).reshape(len(x), len(self), self.width)

    def join(self, patches: Tensor) -> Tensor:
        """Return the rows that `cut` has cut."""
        if len(self.shape) == 1:
            return patches.squeeze(2)
        down, across = self.grid
        placed = patches.reshape(len(patches), down, across, self.shape[0], self.side, self.side)
        return placed.permute(0, 3, 1, 4, 2, 5).reshape(len(patches), *self.shape)

    def hide(self, x: Tensor, hidden: Tensor) -> Tensor:
        """Return rows with 0 for the patches that are `hidden`, bool `(batch, patches)`."""
        return self.join(self.cut(x).masked_fill(hidden.unsqueeze(2), 0.0))


def patches_of(shape: tuple[int, ...], side: int | None) -> Patches:
    """Return how rows of a shape are cut.

    Args:
        shape: `(channels, height, width)` or `(values,)`.
        side: pixels of a patch's side; None: what divides both sides and is nearest to an eighth of the shorter one.

    Raises:
        UsageError: the side does not divide the image, or there are fewer than two patches.
    """
    if len(shape) == 1:
        return _several(Patches(shape))
    common = math.gcd(shape[1], shape[2])
    sides = [number for number in range(LEAST, common + 1) if common % number == 0]
    wanted = min(shape[1:]) / SIDES
    chosen = side if side is not None else min(sides, key=lambda number: abs(number - wanted), default=0)
    if chosen < 1 or common % chosen:
        known = ", ".join(map(str, sides)) or "none: resize them (image size)"
        raise UsageError(
            f"patches of {chosen or 'any number of'} pixels a side do not cut images of {shape[1]}×{shape[2]}: "
            f"those that do have {known}"
        )
    return _several(Patches(shape, chosen))


def _several(patches: Patches) -> Patches:
    if len(patches) < 2:
        raise UsageError(
            f"rows of shape {patches.shape} are one patch, and some are told from others: give smaller ones"
        )
    return patches


def deviations(patches: Tensor) -> Tensor:
    """Return the standard deviation of each of `(batch, patches, width)`, `(batch, patches, 1)`, never 0."""
    return (patches.var(2, keepdim=True) + LEAST_VARIANCE).sqrt()
