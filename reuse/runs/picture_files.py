"""Picture files: grids of images, and points on a map."""

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from reuse.runs.disk import saving

SHOWN = 56  # pixels a side to which smaller images are enlarged, in whole times
GAP = 2  # white pixels between images
MAP, MARGIN, DOT = 480, 12, 3  # pixels of a map's side, around it, and of a point's radius
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb", "#ee8866", "#44bb99", "#000000")
"""Of classes, told apart by most colour-blind readers (Paul Tol); the eleventh class begins anew."""


def save_grid(path: Path, grid: Tensor) -> None:
    """Write a grid of images as a PNG.

    Args:
        path: of the file.
        grid: pixels from 0 to 1, `(rows, columns, channels, height, width)`; channels other than three are shown as
            their mean.
    """
    shown = grid if grid.size(2) == 3 else grid.mean(2, keepdim=True).expand(-1, -1, 3, -1, -1)
    pixels = (shown.clamp(0, 1) * 255).round().to(torch.uint8)
    times = max(1, SHOWN // min(pixels.shape[-2:]))
    pixels = pixels.repeat_interleave(times, -1).repeat_interleave(times, -2)
    rows, columns, _, height, width = pixels.shape
    sheet = torch.full((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, 3), 255, dtype=torch.uint8)
    for row in range(rows):
        for column in range(columns):
            top, left = GAP + row * (height + GAP), GAP + column * (width + GAP)
            sheet[top : top + height, left : left + width] = pixels[row, column].permute(1, 2, 0)
    with saving(path):
        Image.fromarray(sheet.numpy()).save(path)


def save_map(path: Path, points: Tensor, classes: Sequence[int] | None) -> None:
    """Write points on a square map as a PNG, coloured by class.

    Args:
        path: of the file.
        points: `(points, 2)`.
        classes: of each point, from 0; None: they have one colour.
    """
    sheet = Image.new("RGB", (MAP, MAP), "white")
    draw = ImageDraw.Draw(sheet)
    centred = points - points.mean(0)
    places = centred / centred.abs().max().clamp(min=1e-12) * (MAP / 2 - MARGIN) + MAP / 2
    for number, (right, up) in enumerate(places.tolist()):
        colour = COLOURS[0 if classes is None else classes[number] % len(COLOURS)]
        down = MAP - up
        draw.ellipse((right - DOT, down - DOT, right + DOT, down + DOT), fill=colour)
    with saving(path):
        sheet.save(path)
