"""Jigsaws: orders far from each other, the loss by hand, tiles that come to lie where the order says."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch

import reuse
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.objectives.jigsaw import Jigsaw, OrderTeller, far_orders

IMAGES = np.random.default_rng(0).random((24, 3, 32, 32), dtype=np.float32)


def built(objective: Jigsaw, model: str = "convnet:4", rows: np.ndarray = IMAGES) -> OrderTeller:
    torch.manual_seed(0)
    trained = objective.build(reuse.build(model, rows.shape[1:], 3), reuse.load((rows, None)))
    assert isinstance(trained, OrderTeller)
    return trained.double()


def test_each_order_is_as_far_from_those_before_as_any_could_be() -> None:
    """The paper's greedy choice, over all 24 orders of four tiles in plain Python."""
    orders = [tuple(order) for order in far_orders(4, 10).tolist()]
    assert len(set(orders)) == 10
    for number in range(1, 10):
        before = orders[:number]
        totals = {
            order: sum(a != b for other in before for a, b in zip(order, other, strict=True))
            for order in itertools.permutations(range(4))
            if order not in before
        }
        assert totals[orders[number]] == max(totals.values())


def test_of_nine_tiles_orders_differ_in_most_places() -> None:
    orders = far_orders(9, 64)
    distances = (orders[:, None] != orders[None]).sum(2)
    assert distances[~torch.eye(64, dtype=torch.bool)].double().mean() > 8.0, "of orders drawn at random it is 8"
    assert torch.equal(orders.sort(1).values, torch.arange(9).expand(64, -1))
    assert len(far_orders(4, 1000)) == 24, "there are no more"


def test_the_loss_is_the_cross_entropy_of_the_order_that_was_drawn() -> None:
    objective = Jigsaw(grid=2, orders=5, gap=0.0, hidden=7)
    network, x = built(objective), torch.from_numpy(IMAGES[:6]).double()
    torch.manual_seed(3)
    loss = objective.losses(network, Batch((x,)))["loss"].item()
    torch.manual_seed(3)
    drawn = torch.randint(5, (6,))
    total = 0.0
    for row, number in enumerate(drawn.tolist()):
        tiles = []
        for place in network.orders[number].tolist():
            down, right = 16 * (place // 2), 16 * (place % 2)
            tile = x[row : row + 1, :, down : down + 16, right : right + 16]
            large = torch.nn.functional.interpolate(tile, (32, 32), mode="bilinear")
            tiles.append(network.encoder(large).flatten(1))
        logits = network.order(torch.cat(tiles, 1))[0].tolist()
        total += math.log(sum(map(math.exp, logits))) - logits[number]
    assert loss == pytest.approx(total / 6, rel=1e-9)


@pytest.mark.parametrize("model", ["mlp:20", "convnet:4", "timm:test_resnet", "timm:test_vit"])
def test_any_encoder_of_images_learns_and_lends_its_layers(model: str) -> None:
    objective = Jigsaw(grid=2, orders=6, hidden=8)
    result = reuse.pretrain(objective, data=(IMAGES, None), model=model, epochs=2, batch_size=8, out="run")
    assert set(result.metrics["test"]) == {"loss", "accuracy"}
    assert reuse.finetune("run", data=(IMAGES, np.arange(24) % 2), epochs=1, cache=False).restored


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"grid": 4}, "give 2 or 3"),
        ({"grid": 1}, "give 2 or more"),
        ({"orders": 1}, "1 orders"),
        ({"hidden": 0}, "0 hidden units"),
        ({"gap": 1.0}, "share of 1"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Jigsaw(**settings)


@pytest.mark.parametrize(
    ("shape", "model", "message"),
    [((1, 5, 9), "convnet:4", "5×9 pixels are too small for 3×3 tiles"), ((9,), "mlp:4", "give images")],
)
def test_data_that_it_does_not_take(shape: tuple[int, ...], model: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        built(Jigsaw(), model, np.zeros((20, *shape), np.float32))
