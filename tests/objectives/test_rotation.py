"""Rotation: each image turned as numpy turns it, the loss by hand, square images alone."""

import math

import numpy as np
import pytest
import torch

import reuse
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.objectives.rotation import Rotation, TurnTeller

IMAGES = np.random.default_rng(0).random((24, 3, 32, 32), dtype=np.float32)


def built(model: str = "convnet:4", rows: np.ndarray = IMAGES) -> TurnTeller:
    torch.manual_seed(0)
    trained = Rotation().build(reuse.build(model, rows.shape[1:], 3), reuse.load((rows, None)))
    assert isinstance(trained, TurnTeller)
    return trained.double()


def test_loss_and_accuracy_are_those_of_every_image_turned_every_way() -> None:
    network, x = built(), torch.from_numpy(IMAGES[:5]).double()
    loss, right = 0.0, 0
    for image in IMAGES[:5]:
        for quarters in range(4):
            turned = torch.from_numpy(np.rot90(image, quarters, (1, 2)).astype(np.float64))[None]
            logits = network.turns(network.encoder(turned).flatten(1))[0].detach().numpy()
            loss += math.log(np.exp(logits).sum()) - logits[quarters]
            right += int(logits.argmax()) == quarters
    objective, batch = Rotation(), Batch((x,))
    assert objective.losses(network, batch)["loss"].item() == pytest.approx(loss / 20, rel=1e-9)
    with torch.no_grad():
        metrics = objective.metrics(objective.tally(network, batch))
    assert metrics == {"loss": pytest.approx(loss / 20, rel=1e-9), "accuracy": right / 20}


@pytest.mark.parametrize("model", ["mlp:20", "convnet:4", "timm:test_resnet", "timm:test_vit"])
def test_any_encoder_of_images_learns_and_lends_its_layers(model: str) -> None:
    result = reuse.pretrain("rotation", data=(IMAGES, None), model=model, epochs=2, batch_size=8, out="run")
    assert set(result.metrics["test"]) == {"loss", "accuracy"}
    assert reuse.finetune("run", data=(IMAGES, np.arange(24) % 2), epochs=1, cache=False).restored


def test_it_learns_which_way_up_digits_stand() -> None:
    result = reuse.pretrain("rotation", data="digits", model="convnet:16", epochs=6, seed=0, out="run")
    assert result.metrics["test"]["accuracy"] > 0.7


@pytest.mark.parametrize(
    ("shape", "model", "message"),
    [
        ((1, 8, 6), "convnet:4", "8×6 pixels do not fit: make them"),
        ((9,), "mlp:4", "of shape \\(9,\\): give images"),
    ],
)
def test_data_that_it_does_not_take(shape: tuple[int, ...], model: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        built(model, np.zeros((20, *shape), np.float32))
