"""Patches: as slices cut them, put together again bit for bit, of a side that divides the image."""

import pytest
import torch

from reuse.augmenting.patches import Patches, patches_of
from reuse.errors import UsageError
from reuse.nn.masks import draw_mask, exact_count


def test_patches_are_the_slices_of_the_image() -> None:
    images = torch.randn(2, 3, 6, 8)
    patches = Patches((3, 6, 8), 2)
    cut = patches.cut(images)
    assert (len(patches), patches.grid, patches.width, cut.shape) == (12, (3, 4), 12, (2, 12, 12))
    for number in range(12):
        down, right = 2 * (number // 4), 2 * (number % 4)
        assert torch.equal(cut[:, number], images[:, :, down : down + 2, right : right + 2].flatten(1))
    assert torch.equal(patches.join(cut), images)


def test_hidden_patches_are_zero_and_the_others_untouched() -> None:
    images, patches = torch.randn(5, 1, 4, 4), Patches((1, 4, 4), 2)
    hidden = draw_mask(5, 4, 2, images.device)
    left = patches.cut(patches.hide(images, hidden))
    assert not left[hidden].any()
    assert torch.equal(left[~hidden], patches.cut(images)[~hidden])


@pytest.mark.parametrize(
    ("shape", "side"), [((1, 28, 28), 4), ((3, 32, 32), 4), ((1, 8, 8), 2), ((3, 224, 224), 28), ((9,), 1)]
)
def test_the_side_where_nobody_says_it(shape: tuple[int, ...], side: int) -> None:
    assert patches_of(shape, None).side == side


def test_an_exact_number_is_hidden_whatever_the_share() -> None:
    assert [exact_count(share, 10) for share in (0.0, 0.04, 0.25, 0.5, 0.97, 1.0)] == [1, 1, 2, 5, 9, 9]
    mask = draw_mask(2000, 8, 3, torch.device("cpu"))
    assert (mask.sum(1) == 3).all()
    assert ((mask.float().mean(0) - 3 / 8).abs() < 0.06).all(), "each is hidden as often"


def test_what_cuts_nothing_is_refused() -> None:
    for shape, side, message in (((1, 9, 9), 2, "those that do have 3, 9"), ((1, 7, 9), None, "resize them")):
        with pytest.raises(UsageError, match=message):
            patches_of(shape, side)
