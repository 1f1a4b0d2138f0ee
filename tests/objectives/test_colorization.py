"""Colours from lightness: CIE's formulas pixel by pixel, both losses by hand, an encoder that sees no colour."""

import math

import numpy as np
import pytest
import torch

import reuse
from reuse.augmenting.lab import grey_of, to_lab
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.objectives.colorization import Colorization, Painter

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.random((24, 3, 32, 32), dtype=np.float32)


def built(objective: Colorization, model: str = "convnet:4,6", rows: np.ndarray = IMAGES) -> Painter:
    torch.manual_seed(0)
    trained = objective.build(reuse.build(model, rows.shape[1:], 3), reuse.load((rows, None)))
    assert isinstance(trained, Painter)
    return trained.double()


def lab_by_hand(red: float, green: float, blue: float) -> list[float]:
    """Return CIE 1976 L*a*b* of one sRGB pixel, in Python's floats."""
    r, g, b = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (red, green, blue))
    x = 0.4124564 * r + 0.3575761 * g + 0.1804375 * b
    y = 0.2126729 * r + 0.7151522 * g + 0.0721750 * b
    z = 0.0193339 * r + 0.1191920 * g + 0.9503041 * b
    fx, fy, fz = (
        t ** (1 / 3) if t > 216 / 24389 else (24389 / 27 * t + 16) / 116 for t in (x / 0.95047, y, z / 1.08883)
    )
    return [116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)]


def pixel(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).view(1, 3, 1, 1)


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((1, 1, 1), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((1, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 1, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 1), (32.30, 79.19, -107.86)),
    ],
)
def test_lab_of_known_colours(rgb: tuple[float, ...], lab: tuple[float, ...]) -> None:
    assert to_lab(pixel(*rgb)).flatten().tolist() == pytest.approx(lab, abs=0.02)


def test_lab_is_the_formula_for_every_pixel_and_a_grey_has_the_lightness_and_no_colour() -> None:
    for rgb in [*RANDOM.random((50, 3)), *RANDOM.random((20, 3)) * 0.05]:
        found = to_lab(pixel(*rgb))
        assert found.flatten().tolist() == pytest.approx(lab_by_hand(*rgb), rel=1e-9, abs=1e-9)
        grey = to_lab(grey_of(pixel(*rgb)))
        assert grey[0, 0].item() == pytest.approx(found[0, 0].item(), abs=2e-3)
        assert grey[0, 1:].abs().max() < 0.01


@pytest.mark.parametrize("levels", [0, 4])
def test_both_losses_by_hand(levels: int) -> None:
    told = torch.randn(2, 2 * max(levels, 1), 3, 3, dtype=torch.float64)
    colours = torch.rand(2, 2, 3, 3, dtype=torch.float64) * 2 - 1
    loss = Colorization(levels).losses(lambda _: (told, colours), Batch((colours,)))["loss"]
    total = 0.0
    for row, axis, y, x in np.ndindex(2, 2, 3, 3):
        truth = colours[row, axis, y, x].item()
        if levels:
            logits = [told[row, 2 * level + axis, y, x].item() for level in range(levels)]
            interval = min(int((truth + 1) / (2 / levels)), levels - 1)
            total += math.log(sum(map(math.exp, logits))) - logits[interval]
        else:
            total += (told[row, axis, y, x].item() - truth) ** 2
    assert loss.item() == pytest.approx(total / 36, rel=1e-9)


def test_the_encoder_sees_no_colour_and_pixels_in_the_scale_of_the_inputs() -> None:
    network, seen = built(Colorization()), []
    network.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.from_numpy(IMAGES[:4]).double()
    network(x)
    assert torch.equal(seen[0][:, 0], seen[0][:, 1])
    assert torch.equal(seen[0][:, 0], seen[0][:, 2])
    grey = x.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    network(grey)
    torch.testing.assert_close(seen[1], grey, rtol=0, atol=1e-5)


@pytest.mark.parametrize("model", ["mlp:20", "convnet:4", "timm:test_resnet", "timm:test_vit"])
def test_any_encoder_of_colour_images_learns_and_lends_its_layers(model: str) -> None:
    reuse.pretrain("colorization", data=(IMAGES, None), model=model, epochs=2, batch_size=8, out="run")
    assert reuse.finetune("run", data=(IMAGES, np.arange(24) % 2), epochs=1, cache=False).restored


def test_what_it_does_not_take() -> None:
    with pytest.raises(UsageError, match="colours have 1 levels"):
        Colorization(1)
    with pytest.raises(UsageError, match="these images have 1"):
        built(Colorization(), rows=IMAGES[:, :1])
    with pytest.raises(UsageError, match="give images"):
        built(Colorization(), "mlp:4", IMAGES[:, 0, 0])
