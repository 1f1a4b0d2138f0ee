"""Tiles: slices of the image, each from within its own cell, in the order of reading."""

import torch

from reuse.augmenting.tiles import Tiles


def test_without_gaps_tiles_are_the_cells_enlarged() -> None:
    images = torch.randn(2, 3, 9, 6)
    tiles = Tiles(3, 0.0).cut(images)
    assert tiles.shape == (2, 9, 3, 9, 6)
    for number in range(9):
        down, right = 3 * (number // 3), 2 * (number % 3)
        cell = images[:, :, down : down + 3, right : right + 2]
        expected = torch.nn.functional.interpolate(cell, (9, 6), mode="bilinear")
        torch.testing.assert_close(tiles[:, number], expected, rtol=0, atol=0)


def test_with_gaps_each_tile_lies_anywhere_within_its_cell_and_rows_differ() -> None:
    """Of an image of cell numbers each tile is constant; of pixel numbers the first pixels say where it was cut."""
    cells = torch.arange(4.0).view(2, 2).repeat_interleave(6, 0).repeat_interleave(6, 1)
    tiles = Tiles(2, 0.3).cut(cells.expand(50, 1, 12, 12))
    torch.testing.assert_close(tiles, torch.arange(4.0).view(1, 4, 1, 1, 1).expand(50, 4, 1, 12, 12))
    columns = torch.arange(12.0).expand(200, 1, 12, 12)
    torch.manual_seed(0)
    starts = Tiles(2, 0.3).cut(columns)[:, :, 0, 0, 0]
    assert set(starts[:, 0].tolist()) == {0.0, 1.0, 2.0}
    assert set(starts[:, 1].tolist()) == {6.0, 7.0, 8.0}
    assert (starts[:, 0] != starts[:, 2]).any(), "each tile is drawn by itself"
