"""The Jacobian's norm: exact against the closed form of one layer and torch.func's of two; drawn, right on average."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, jacrev, vmap

import reuse
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.nn.coding import ShownCoding
from reuse.objectives.contractive import Contractive

ROWS = np.random.default_rng(0).random((50, 6))
X = torch.from_numpy(ROWS[:9])


def built(model: str) -> ShownCoding:
    torch.manual_seed(0)
    network = Contractive().build(reuse.build(model, (6,), 3, activation="sigmoid"), reuse.load((ROWS, None)))
    assert isinstance(network, ShownCoding)
    return network.double()


def test_of_one_layer_of_sigmoids_it_is_the_closed_form() -> None:
    network = built("mlp:5")
    layer = network.encoder.get_submodule("hidden1.linear")
    assert isinstance(layer, nn.Linear)
    h, w = network(X)[1].detach().numpy(), layer.weight.detach().numpy()
    expected = ((h * (1 - h)) ** 2 @ (w**2).sum(1)).mean()  # Σ_j (h_j (1 - h_j))² Σ_i W_ji²
    losses = Contractive(weight=0.4, directions=0).losses(network, Batch((X,)))
    assert float(losses["contraction"].detach()) == pytest.approx(0.4 * expected / 6, rel=1e-12)
    expected = ((network(X)[0] - X) ** 2).mean().item()
    assert float(losses["reconstruction"].detach()) == pytest.approx(expected, rel=1e-12)


def test_of_several_layers_it_is_what_torch_says_of_the_jacobian() -> None:
    network = built("mlp:7,5")
    jacobian = vmap(jacrev(lambda x: functional_call(network.encoder, {}, (x[None],))[0]))(X)
    rows = X.clone().requires_grad_()
    torch.testing.assert_close(
        Contractive(directions=0).norms(network(rows)[1], rows), jacobian.square().flatten(1).sum(1)
    )


def test_what_is_drawn_is_right_on_average() -> None:
    network, rows = built("mlp:7,5"), X.clone().requires_grad_()
    coding = network(rows)[1]
    torch.manual_seed(0)
    drawn = Contractive(directions=20_000).norms(coding, rows)
    torch.testing.assert_close(drawn, Contractive(directions=0).norms(coding, rows), rtol=0.05, atol=0)


def test_it_is_measured_without_gradients_too() -> None:
    network, objective = built("mlp:7,5"), Contractive(directions=0)
    with torch.no_grad():
        tally = objective.tally(network, Batch((X,)))
    assert objective.metrics(tally)["contraction"] > 0


@pytest.mark.parametrize("bad", [{"weight": -1.0}, {"weight": float("nan")}, {"directions": -1}])
def test_settings_that_mean_nothing_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        Contractive(**bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("settings", [{}, {"weight": 0.0}, {"directions": 0}])
def test_an_encoder_with_attention_has_a_jacobian_too(settings: dict[str, Any]) -> None:
    rows = np.random.default_rng(0).random((12, 3, 32, 32), dtype=np.float32)
    model = {"model": "timm:test_vit", "image_size": 32}
    result = reuse.pretrain(Contractive(**settings), data=(rows, None), **model, epochs=1, batch_size=4, out="run")
    assert (result.metrics["train"]["contraction"] > 0) == bool(settings.get("weight", 0.1))
