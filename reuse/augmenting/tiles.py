"""Tiles of images: cut from a grid with gaps between them, each enlarged to the size of a whole image."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from reuse.errors import UsageError


@dataclass(frozen=True)
class Tiles:
    """Tiles of a grid, each cut at random within its cell, so that no edge goes on in the next (Doersch et al. 2015).

    Attributes:
        grid: cells a side.
        gap: share of a cell's side that its tile leaves out.
    """

    grid: int = 3
    gap: float = 0.15

    def __post_init__(self) -> None:
        if self.grid < 2:
            raise UsageError(f"images are cut into {self.grid} cells a side: give 2 or more")
        if not 0 <= self.gap < 1:
            raise UsageError(f"tiles leave out a share of {self.gap} of their cell: give 0 or more and less than 1")

    def check(self, height: int, width: int) -> None:
        """Raise a UsageError where an image is too small to be cut."""
        if min(height, width) < 2 * self.grid:
            raise UsageError(
                f"images of {height}×{width} pixels are too small for {self.grid}×{self.grid} tiles: give images of "
                f"{2 * self.grid} pixels a side or more"
            )

    def cut(self, images: Tensor) -> Tensor:
        """Return the tiles, row by row: `(batch, grid², channels, height, width)`.

        Args:
            images: `(batch, channels, height, width)`; what does not divide is left out at the right and below.
        """
        height, width = images.shape[2:]
        lines = torch.arange(self.grid, device=images.device)
        rows = self._places(lines.repeat_interleave(self.grid), height, len(images))
        columns = self._places(lines.repeat(self.grid), width, len(images))
        one = torch.arange(len(images), device=images.device).view(-1, 1, 1, 1)
        cut = images.movedim(1, 3)[one, rows.unsqueeze(3), columns.unsqueeze(2)].movedim(4, 2)
        large = interpolate(cut.flatten(0, 1), (height, width), mode="bilinear", align_corners=False)
        return large.reshape(len(images), self.grid**2, *images.shape[1:])

    def _places(self, cells: Tensor, side: int, num_rows: int) -> Tensor:
        """Return the pixels that the tile of each cell takes along one side, int64 `(num_rows, grid², pixels)`."""
        cell = side // self.grid
        pixels = max(1, round((1 - self.gap) * cell))
        starts = cell * cells + torch.randint(cell - pixels + 1, (num_rows, len(cells)), device=cells.device)
        return starts.unsqueeze(2) + torch.arange(pixels, device=cells.device)
