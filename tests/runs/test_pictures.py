"""Pictures of a pretraining: what lies in the run folder, pixel by pixel, and that training does not notice them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import reuse
from finished_runs import history
from reuse.objectives.masked import Masked
from reuse.runs.picture_files import save_grid, save_map
from reuse.runs.pictures import first_filters

IMAGES = np.random.default_rng(0).random((40, 3, 8, 8), dtype=np.float32)
ALWAYS = {"map_before.png", "map_after.png", "filters.png", "neighbours.png"}


def drawn(run: str) -> set[str]:
    return {path.name for path in Path(run, "pictures").glob("*")}


@pytest.mark.parametrize(
    ("objective", "shown"),
    [
        ("autoencoder", {"reconstructions.png"}),
        ("denoising_autoencoder", {"reconstructions.png"}),
        ("variational", {"reconstructions.png", "samples.png"}),
        ("gan", {"samples.png"}),
        ("bigan", {"samples.png", "reconstructions.png"}),
        ("masked", {"reconstructions.png"}),
        ("inpainting", {"reconstructions.png"}),
        ("colorization", {"colours.png"}),
        ("rotation", set()),
    ],
)
def test_each_objective_shows_what_there_is_to_see(objective: str, shown: set[str]) -> None:
    reuse.pretrain(objective, data=(IMAGES, None), model="mlp:12", epochs=1, out="run")
    assert drawn("run") == ALWAYS | shown


def test_training_does_not_notice_them() -> None:
    for run, pictures in (("with", True), ("without", False)):
        reuse.pretrain("gan", data=(IMAGES, None), model="convnet:4", epochs=2, pictures=pictures, out=run)
    assert history("with") == history("without")
    assert not Path("without", "pictures").exists()


def test_rows_of_no_images_have_no_pictures() -> None:
    reuse.pretrain("autoencoder", data=(IMAGES[:, 0, 0], None), model="mlp:4", epochs=1, out="run")
    assert not Path("run", "pictures").exists()


def test_neighbours_stand_behind_the_rows_that_they_are_near() -> None:
    """Every validation row has a twin among the training rows, which comes first."""
    rows = np.concatenate([IMAGES[:10]] * 6)
    reuse.pretrain("autoencoder", data=(rows, None), model="mlp:30", epochs=1, out="run", seed=0)
    sheet = np.asarray(Image.open("run/pictures/neighbours.png")).astype(int)
    side = 56 + 2
    for row in range(sheet.shape[0] // side):
        line = sheet[2 + row * side : 2 + row * side + 56]
        assert np.array_equal(line[:, 2:58], line[:, 2 + side : 58 + side])


def test_a_grid_is_written_pixel_by_pixel(tmp_path: Path) -> None:
    grid = torch.rand(2, 3, 3, 5, 40)
    save_grid(tmp_path / "grid.png", grid)
    pixels = np.asarray(Image.open(tmp_path / "grid.png"))
    assert pixels.shape == (2 * (5 * 11 + 2) + 2, 3 * (40 * 11 + 2) + 2, 3)
    for row, column in np.ndindex(2, 3):
        top, left = 2 + row * 57, 2 + column * 442
        expected = (grid[row, column].permute(1, 2, 0).numpy() * 255).round()
        assert np.array_equal(pixels[top : top + 55 : 11, left : left + 440 : 11], expected)


def test_points_lie_on_the_map_where_they_are_in_the_colour_of_their_class(tmp_path: Path) -> None:
    save_map(tmp_path / "map.png", torch.tensor([[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]]), [0, 1, 0, 1])
    pixels = np.asarray(Image.open(tmp_path / "map.png"))
    corners = [tuple(pixels[y, x].tolist()) for y, x in ((12, 468), (468, 12), (468, 468), (12, 12))]
    assert corners == [(0x44, 0x77, 0xAA), (0xEE, 0x66, 0x77), (0x44, 0x77, 0xAA), (0xEE, 0x66, 0x77)]


def test_filters_are_grey_where_a_weight_is_zero_and_nothing_is_shown_where_they_are_no_images() -> None:
    model = reuse.build("mlp:3", (1, 2, 2), 2)
    with torch.no_grad():
        model.get_parameter("hidden1.linear.weight").copy_(torch.tensor([[0.0, 2, -2, 1]]).expand(3, 4))
    filters = first_filters(model, (1, 2, 2))
    assert filters is not None
    assert filters.shape == (2, 2, 1, 2, 2)
    assert filters[0, 0].flatten().tolist() == [0.5, 1.0, 0.0, 0.75]
    assert first_filters(torch.nn.Conv2d(3, 4, 1), (3, 8, 8)) is None


def test_a_masked_patch_that_is_told_rightly_is_shown_rightly() -> None:
    """A decoder that tells standardised values is shown with the brightness of the true patch."""
    objective = Masked(patch=4)
    trained = objective.build(reuse.build("mlp:6", (3, 8, 8), 2), reuse.load((IMAGES, None)))
    rows = torch.from_numpy(IMAGES[:5])

    def right(x: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        patches = trained.patches.cut(x)  # type: ignore[operator, union-attr]
        told: torch.Tensor = (patches - patches.mean(2, keepdim=True)) / (patches.var(2, keepdim=True) + 1e-6).sqrt()
        return told

    trained.tell = right  # type: ignore[assignment]
    shown = objective.pictures(trained, rows)["reconstructions"]
    torch.testing.assert_close(shown[2], rows)
    assert not torch.equal(shown[1], rows)
