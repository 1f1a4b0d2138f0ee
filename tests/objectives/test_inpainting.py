"""Context encoders: a hole of exactly so many pixels, and the error inside it by hand."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import reuse
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.objectives.inpainting import Inpainting

IMAGES = np.random.default_rng(0).random((24, 3, 32, 32), dtype=np.float32)


def test_the_loss_is_the_mean_error_inside_the_hole_and_the_encoder_sees_zeros_there() -> None:
    images, told = (torch.randn(3, 2, 8, 6, dtype=torch.float64) for _ in range(2))

    def network(seen: Tensor) -> Tensor:
        assert not seen[:, :, 2:6, 1:4].any()
        seen = seen.clone()
        seen[:, :, 2:6, 1:4] = images[:, :, 2:6, 1:4]
        assert torch.equal(seen, images)
        return told

    loss = Inpainting(0.25).losses(network, Batch((images,)))["loss"]
    errors = [
        (told[row, channel, down, right] - images[row, channel, down, right]).item() ** 2
        for row in range(3)
        for channel in range(2)
        for down in range(2, 6)
        for right in range(1, 4)
    ]
    assert loss.item() == pytest.approx(sum(errors) / len(errors), rel=1e-12)


def test_random_holes_are_rectangles_of_one_size_anywhere() -> None:
    torch.manual_seed(0)
    missing = Inpainting(0.25, "random").missing(torch.zeros(400, 1, 8, 8))[:, 0]
    assert (missing.sum((1, 2)) == 16).all()
    assert (missing.any(1).sum(1) == 4).all()
    assert (missing.any(2).sum(1) == 4).all()
    corners = {tuple(hole.nonzero()[0].tolist()) for hole in missing}
    assert corners == {(top, left) for top in range(5) for left in range(5)}


@pytest.mark.parametrize("model", ["mlp:20", "convnet:4", "timm:test_resnet", "timm:test_vit"])
def test_any_encoder_of_images_learns_and_lends_its_layers(model: str) -> None:
    objective = Inpainting(place="random")
    reuse.pretrain(objective, data=(IMAGES, None), model=model, epochs=2, batch_size=8, out="run")
    assert reuse.finetune("run", data=(IMAGES, np.arange(24) % 2), epochs=1, cache=False).restored


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"share": 0.0}, "share of an image is 0"), ({"share": 1.0}, "is 1"), ({"place": "left"}, "centre")],
)
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Inpainting(**settings)


@pytest.mark.parametrize(("shape", "message"), [((9,), "give images"), ((1, 1, 9), "nothing around a hole")])
def test_data_that_it_does_not_take(shape: tuple[int, ...], message: str) -> None:
    data = reuse.load((np.zeros((20, *shape), np.float32), None))
    with pytest.raises(UsageError, match=message):
        Inpainting().build(reuse.build("mlp:4", shape, 3), data)
