"""Augmentation against torchvision image by image, exact shifts, what is drawn, and what is refused."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as reference

from reuse.augmenting.augmentation import IMAGE_MENU, TABLE_MENU, WITHOUT_NUMBER, parse_augmentation
from reuse.augmenting.colours import brighten, saturate, set_contrast, turn_hue
from reuse.augmenting.positions import crop, matrices, move, resample, rotate, shear, zoom
from reuse.data.preprocessing import Preprocessing, image_preprocessing
from reuse.errors import UnknownNameError, UsageError
from torch_versions import ON_TORCH_2_9

SHAPE = (3, 9, 13)
ALL = "shift:2,mirror,flip,rotate:20,shear:10,zoom:0.2,crop:0.5,brightness:0.3,contrast:0.3,saturation:0.3,hue:0.2"
ALL += ",noise:0.1,erase:0.3"


@pytest.fixture
def images() -> Tensor:
    return torch.rand(6, *SHAPE, generator=torch.Generator().manual_seed(0))


def one_by_one(change: Callable[..., Tensor], images: Tensor, numbers: Tensor) -> Tensor:
    return torch.stack([change(image, number) for image, number in zip(images, numbers.tolist(), strict=True)])


@pytest.mark.parametrize(
    ("ours", "theirs", "numbers"),
    [
        (brighten, reference.adjust_brightness, torch.tensor([0, 0.5, 0.9, 1, 1.4, 2])),
        (set_contrast, reference.adjust_contrast, torch.tensor([0, 0.5, 0.9, 1, 1.4, 2])),
        (saturate, reference.adjust_saturation, torch.tensor([0, 0.5, 0.9, 1, 1.4, 2])),
        (turn_hue, reference.adjust_hue, torch.tensor([-0.5, -0.2, 0, 0.1, 0.3, 0.5])),
    ],
)
def test_colours_are_torchvisions_with_a_number_for_each_image(
    ours: Callable[..., Tensor], theirs: Callable[..., Tensor], numbers: Tensor, images: Tensor
) -> None:
    images[:, :, 0] = 0.3  # grey has no hue
    images[:, :2, 1] = images[:, :2, 1].amax(1, keepdim=True)  # two channels alike
    torch.testing.assert_close(ours(images, numbers), one_by_one(theirs, images, numbers), atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_one_resampling_is_torchvisions_affine(channels: int, images: Tensor) -> None:
    """torchvision turns clockwise for positive angles, ours lets the old place turn, which is the same picture."""
    images = images[:, :channels]
    angles, sizes = torch.linspace(-60, 60, 6), torch.linspace(0.7, 1.3, 6)
    radians = torch.deg2rad(angles)
    turned = matrices((radians.cos(), radians.sin(), 0), (-radians.sin(), radians.cos(), 0), images)
    scaled = matrices((1 / sizes, 0, 0), (0, 1 / sizes, 0), images)
    expected = [
        reference.affine(image, angle, [0, 0], size, [0.0, 0.0], InterpolationMode.BILINEAR)
        for image, angle, size in zip(images, angles.tolist(), sizes.tolist(), strict=True)
    ]
    torch.testing.assert_close(resample(images, scaled @ turned), torch.stack(expected), atol=1e-4, rtol=1e-4)


def test_a_crop_is_torchvisions_resized_crop_away_from_its_edges(images: Tensor) -> None:
    """At its edges torchvision repeats them, and ours looks at the pixels beyond."""
    wide, high, right, down = 6 / 13, 4 / 9, 3 + 6 / 2 - 13 / 2, 1 + 4 / 2 - 9 / 2
    found = resample(images, matrices((wide, 0, right), (0, high, down), images))
    expected = reference.resized_crop(images, 1, 3, 4, 6, [9, 13], antialias=False)
    torch.testing.assert_close(found[:, :, 2:-2, 2:-2], expected[:, :, 2:-2, 2:-2], atol=1e-5, rtol=1e-5)


def test_shifts_are_exact_and_fill_with_black(images: Tensor) -> None:
    down, right = torch.tensor([0, 1, -2, 2, -1, 0]), torch.tensor([0, -2, 1, 2, 0, -1])
    black = (-1.0, -2.0, -3.0)
    for image, found, dy, dx in zip(images, move(images, down, right, 2, black), down, right, strict=True):
        for line in range(9):
            for column in range(13):
                y, x = line - int(dy), column - int(dx)
                inside = 0 <= y < 9 and 0 <= x < 13
                expected = image[:, y, x] if inside else torch.tensor(black)
                assert torch.equal(found[:, line, column], expected)


def test_every_shift_is_as_likely() -> None:
    point = torch.zeros(5000, 1, 7, 7)
    point[:, 0, 3, 3] = 1
    torch.manual_seed(0)
    shares = parse_augmentation("shift:1", (1, 7, 7))(point).mean((0, 1))
    assert torch.allclose(shares[2:5, 2:5], torch.tensor(1 / 9), atol=0.02)
    assert shares[2:5, 2:5].sum() == pytest.approx(1)


@pytest.mark.parametrize(("name", "dim"), [("mirror", 3), ("flip", 2)])
@pytest.mark.parametrize("share", [0.5, 0.2, 1.0])
def test_mirrored_images_are_torchs_flip(name: str, dim: int, share: float) -> None:
    images = torch.rand(2000, 1, 3, 4)
    torch.manual_seed(0)
    found = parse_augmentation(f"{name}:{share}", (1, 3, 4))(images)
    turned = (found == images.flip(dim)).flatten(1).all(1)
    assert torch.equal(found[~turned], images[~turned])
    assert turned.double().mean().item() == pytest.approx(share, abs=0.03)
    if share == 0.5:
        torch.manual_seed(0)
        assert torch.equal(parse_augmentation(name, (1, 3, 4))(images), found)


def test_drawn_places_are_within_their_limits() -> None:
    images = torch.zeros(4000, 1, 10, 20)
    torch.manual_seed(0)
    turned = rotate(30)(images)
    angles = torch.rad2deg(torch.atan2(turned[:, 1, 0], turned[:, 0, 0]))
    assert angles.abs().max() <= 30
    assert angles.std().item() == pytest.approx(60 / math.sqrt(12), rel=0.05)  # of a uniform distribution
    sizes = 1 / zoom(0.2)(images)[:, 0, 0]
    assert (float(sizes.min()), float(sizes.max())) == pytest.approx((0.8, 1.2), abs=0.01)
    slants = torch.rad2deg(shear(15)(images)[:, 0, 1].atan())
    assert (float(slants.min()), float(slants.max())) == pytest.approx((-15, 15), abs=0.1)
    windows = crop(0.4)(images)
    wide, high = windows[:, 0, 0], windows[:, 1, 1]
    assert float((wide * high).min()) >= 0.4 * 0.9  # a window that is cut to the image is a little smaller
    assert float(torch.maximum(wide, high).max()) <= 1
    assert bool((windows[:, 0, 2].abs() <= (1 - wide) * 10 + 1e-5).all())
    assert bool((windows[:, 1, 2].abs() <= (1 - high) * 5 + 1e-5).all())


@pytest.mark.parametrize("name", IMAGE_MENU)
def test_each_row_is_changed_by_its_own_numbers(name: str) -> None:
    images = torch.rand(1, *SHAPE, generator=torch.Generator().manual_seed(1)).expand(40, -1, -1, -1)
    number = {"shift": "2", "rotate": "20", "shear": "20"}.get(name, "0.4")
    given = images.clone()
    torch.manual_seed(0)
    found = parse_augmentation(f"{name}:{number}", SHAPE)(images)
    different = {tuple(row.flatten().tolist()) for row in found}
    assert len(different) >= (2 if name in WITHOUT_NUMBER else 10)
    assert torch.equal(images, given)
    assert (found.shape, found.dtype) == (images.shape, images.dtype)


def test_the_random_state_decides(images: Tensor) -> None:
    augment = parse_augmentation(ALL, SHAPE)
    torch.manual_seed(4)
    first, second = augment(images), augment(images)
    torch.manual_seed(4)
    assert torch.equal(augment(images), first)
    assert not torch.equal(first, second)


def test_standardised_pixels_are_changed_as_the_pixels_they_were(images: Tensor) -> None:
    preprocessing = image_preprocessing((0.5, 0.4, 0.3), (0.2, 0.25, 0.3), "bilinear", None, SHAPE[1:])
    inputs = preprocessing.normalise(images * 255)
    names = ALL.replace(",erase:0.3", "")  # whose grey is the mean
    torch.manual_seed(2)
    expected = preprocessing.normalise(parse_augmentation(names, SHAPE)(images) * 255)
    torch.manual_seed(2)
    found = parse_augmentation(names, SHAPE, preprocessing)(inputs)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_noise_and_erasing_have_the_sizes_asked_for() -> None:
    images = torch.full((400, 1, 40, 40), 0.25)
    torch.manual_seed(0)
    noise = parse_augmentation("noise:0.1", (1, 40, 40))(images) - images
    assert noise.std().item() == pytest.approx(0.1, rel=0.01)
    erased = parse_augmentation("erase:0.2", (1, 40, 40))(images)
    assert set(erased.unique().tolist()) == {0.25, 0.5}
    shares = (erased == 0.5).double().mean((1, 2, 3))
    assert shares.max().item() <= 0.22
    assert shares.mean().item() > 0.05
    for lines in (erased == 0.5).any(3)[:, 0].int():
        assert int(lines.diff().abs().sum()) <= 2  # one piece


def test_tables() -> None:
    rows = torch.full((300, 200), 3.0, dtype=torch.float64)
    torch.manual_seed(0)
    noisy = parse_augmentation("noise:0.5", (200,))(rows)
    assert (noisy - rows).std().item() == pytest.approx(0.5, rel=0.01)
    masked = parse_augmentation("mask:0.3", (200,))(rows)
    assert set(masked.unique().tolist()) == {0.0, 3.0}
    assert (masked == 0).double().mean().item() == pytest.approx(0.3, abs=0.01)
    assert parse_augmentation("mask:0.3,noise:0.1", (10, 20))(torch.zeros(3, 10, 20)).shape == (3, 10, 20)


@pytest.mark.skipif(ON_TORCH_2_9, reason="torch 2.9 does not compile context variables")
def test_it_compiles_as_one_graph(images: Tensor) -> None:
    augment = parse_augmentation(ALL, SHAPE)
    compiled = torch.compile(augment, backend="eager", fullgraph=True)
    torch.manual_seed(3)
    expected = augment(images)
    torch.manual_seed(3)
    torch.testing.assert_close(compiled(images), expected)


@pytest.mark.parametrize(
    ("text", "shape", "words"),
    [
        ("shift:1", (20,), "for images.*noise, mask"),
        ("mask:0.1", (1, 8, 8), "unknown augmentation of images 'mask'"),
        ("mirrors_", (1, 8, 8), "did you mean 'mirror'"),
        ("nois:1", (20,), "did you mean 'noise'"),
        ("shift", (1, 8, 8), "needs a number"),
        ("shift:x", (1, 8, 8), "one number"),
        ("shift:-1", (1, 8, 8), "one number"),
        ("rotate:nan", (1, 8, 8), "one number"),
        ("shift:1.5", (1, 8, 8), "whole number of pixels below 8"),
        ("shift:8", (1, 8, 9), "whole number of pixels below 8"),
        ("mirror:1.5", (1, 8, 8), "from 0 to 1"),
        ("rotate:200", (1, 8, 8), "0 to 180"),
        ("shear:90", (1, 8, 8), "0 to 80"),
        ("zoom:1", (1, 8, 8), "below 1"),
        ("crop:4", (1, 8, 8), "above 0 up to 1"),
        ("erase:0", (1, 8, 8), "above 0 up to 1"),
        ("brightness:2", (1, 8, 8), "from 0 to 1"),
        ("hue:0.1", (1, 8, 8), "3 channels, and these have 1"),
        ("contrast:0.1", (4, 8, 8), "1 or 3 channels, and these have 4"),
        ("hue:0.6", (3, 8, 8), "0 to 0.5"),
        ("mask:1", (20,), "leaves nothing"),
        ("shift:1,,mirror", (1, 8, 8), "empty place"),
        ("", (1, 8, 8), "empty place"),
        ("shift:1,shift:2", (1, 8, 8), "twice"),
    ],
)
def test_what_cannot_be_done_is_refused(text: str, shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_augmentation(text, shape)


def test_tokens_are_refused() -> None:
    with pytest.raises(UsageError, match="inputs are tokens"):
        parse_augmentation("noise:0.1", (20,), Preprocessing("tokens", vocabulary=9))
    with pytest.raises(UnknownNameError, match="choose one of mask, noise"):
        parse_augmentation("xyz:1", (20,))
    assert set(TABLE_MENU) == {"noise", "mask"}
