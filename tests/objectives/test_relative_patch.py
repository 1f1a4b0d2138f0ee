"""Places of tiles: the loss by hand from the middle tile and the one beside it."""

import math
from typing import Any

import numpy as np
import pytest
import torch

import reuse
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.objectives.relative_patch import PlaceTeller, RelativePatch

IMAGES = np.random.default_rng(0).random((24, 3, 24, 24), dtype=np.float32)
PLACES = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1), (2, 2)]


def built(objective: RelativePatch, model: str = "convnet:4", rows: np.ndarray = IMAGES) -> PlaceTeller:
    torch.manual_seed(0)
    trained = objective.build(reuse.build(model, rows.shape[1:], 3), reuse.load((rows, None)))
    assert isinstance(trained, PlaceTeller)
    return trained.double()


def test_the_loss_is_the_cross_entropy_of_the_place_that_was_drawn() -> None:
    objective = RelativePatch(gap=0.0, hidden=7)
    network, x = built(objective), torch.from_numpy(IMAGES[:9]).double()
    torch.manual_seed(3)
    loss = objective.losses(network, Batch((x,)))["loss"].item()
    torch.manual_seed(3)
    drawn = torch.randint(8, (9,))

    def coding(row: int, down: int, right: int) -> torch.Tensor:
        tile = x[row : row + 1, :, 8 * down : 8 * down + 8, 8 * right : 8 * right + 8]
        large = torch.nn.functional.interpolate(tile, (24, 24), mode="bilinear")
        coded: torch.Tensor = network.encoder(large).flatten(1)
        return coded

    total = 0.0
    for row, number in enumerate(drawn.tolist()):
        logits = network.place(torch.cat([coding(row, 1, 1), coding(row, *PLACES[number])], 1))[0].tolist()
        total += math.log(sum(map(math.exp, logits))) - logits[number]
    assert loss == pytest.approx(total / 9, rel=1e-9)


@pytest.mark.parametrize("model", ["mlp:20", "convnet:4", "timm:test_resnet"])
def test_any_encoder_of_images_learns_and_lends_its_layers(model: str) -> None:
    images = np.random.default_rng(0).random((24, 3, 32, 32), dtype=np.float32)
    objective = RelativePatch(hidden=8)
    result = reuse.pretrain(objective, data=(images, None), model=model, epochs=2, batch_size=8, out="run")
    assert set(result.metrics["test"]) == {"loss", "accuracy"}
    assert reuse.finetune("run", data=(images, np.arange(24) % 2), epochs=1, cache=False).restored


def test_it_learns_where_the_parts_of_digits_lie() -> None:
    result = reuse.pretrain("relative_patch", data="digits", model="convnet:16", epochs=10, seed=0, out="run")
    assert result.metrics["test"]["accuracy"] > 0.2, "chance is 0.125, and its deviation over these rows 0.017"


@pytest.mark.parametrize(("settings", "message"), [({"gap": -0.1}, "share of -0.1"), ({"hidden": 0}, "0 hidden units")])
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        RelativePatch(**settings)


@pytest.mark.parametrize(
    ("shape", "model", "message"), [((1, 5, 5), "convnet:4", "too small for 3×3 tiles"), ((9,), "mlp:4", "give images")]
)
def test_data_that_it_does_not_take(shape: tuple[int, ...], model: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        built(RelativePatch(), model, np.zeros((20, *shape), np.float32))
