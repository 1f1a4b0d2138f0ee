"""The evidence lower bound, against torch's own distributions, and what holds of it."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

import reuse
from finished_runs import history
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.objectives.variational import Variational, VariationalAutoencoder

DRAW = torch.Generator().manual_seed(0)
ROWS = torch.randn(9, 2, 3, generator=DRAW, dtype=torch.float64)


def said(*values: Tensor) -> Any:
    """Return a network that gives these values whatever it is called on."""
    return lambda _: values


@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0])
def test_losses_are_those_of_the_distributions(beta: float) -> None:
    decoded, mean, log_variance = (
        torch.randn(*shape, generator=DRAW, dtype=torch.float64) for shape in ((9, 2, 3), (9, 4), (9, 4))
    )
    losses = Variational(beta=beta).losses(said(decoded, mean, log_variance), Batch((ROWS,)))
    posterior, prior = Normal(mean, (log_variance / 2).exp()), Normal(torch.zeros_like(mean), torch.ones_like(mean))
    torch.testing.assert_close(losses["divergence"], beta * kl_divergence(posterior, prior).sum(1).mean())
    scale = (decoded - ROWS).square().mean().sqrt()
    likelihood = Normal(decoded, scale).log_prob(ROWS).flatten(1).sum(1).mean()
    constant = 6 / 2 * (1 + math.log(2 * math.pi))
    torch.testing.assert_close(losses["reconstruction"] + constant, -likelihood)
    wider, narrower = (Normal(decoded, scale * factor).log_prob(ROWS).sum() for factor in (1.01, 0.99))
    assert max(wider, narrower) < Normal(decoded, scale).log_prob(ROWS).sum(), "no other variance fits better"


def test_a_code_that_says_nothing_diverges_from_nothing() -> None:
    zeros = torch.zeros(9, 4, dtype=torch.float64)
    assert Variational().losses(said(ROWS + 1, zeros, zeros), Batch((ROWS,)))["divergence"] == 0


def test_the_scale_of_the_inputs_adds_a_constant() -> None:
    decoded, mean, log_variance = ROWS + 1, torch.ones(9, 4), torch.ones(9, 4)
    loss, scaled = (
        Variational().losses(said(k * decoded, mean, log_variance), Batch((k * ROWS,)))["reconstruction"]
        for k in (1, 7)
    )
    assert float(scaled - loss) == pytest.approx(6 * math.log(7))


def test_codes_are_drawn_from_what_the_encoder_says() -> None:
    posterior = nn.Linear(3, 4).double()
    network = VariationalAutoencoder(nn.Identity(), posterior, nn.Identity())
    row = torch.randn(1, 3, dtype=torch.float64, generator=DRAW)
    codes, mean, log_variance = network(row.expand(200_000, 3))
    torch.testing.assert_close(codes.mean(0), mean[0], rtol=0, atol=0.02)
    torch.testing.assert_close(codes.var(0), log_variance[0].exp(), rtol=0.02, atol=0)


@pytest.mark.parametrize("model", ["mlp:20,12", "convnet:4,6", "timm:test_resnet"])
def test_any_encoder_learns_codes_and_lends_its_layers(model: str) -> None:
    images = np.random.default_rng(0).random((60, 3, 32, 32), dtype=np.float32)
    data = reuse.load((images, None))
    objective = Variational(size=5)
    trained = objective.build(reuse.build(model, data.input_shape, 3), data)
    decoded, mean, log_variance = trained(torch.zeros(2, *data.input_shape))
    assert (decoded.shape, mean.shape, log_variance.shape) == ((2, 3, 32, 32), (2, 5), (2, 5))
    names = dict(reuse.build(model, data.input_shape, 3).named_parameters())
    assert {name for name, _ in objective.encoder(trained).named_parameters()} < names.keys()


def test_training_raises_the_bound() -> None:
    result = reuse.pretrain("variational", data="digits", model="mlp:40,20", epochs=8, out="run")
    measured = [epoch["valid"]["loss"] for epoch in history("run")]
    assert measured[-1] < measured[0] - 10
    assert result.metrics["test"]["loss"] == pytest.approx(
        result.metrics["test"]["reconstruction"] + result.metrics["test"]["divergence"]
    )
    assert result.metrics["test"]["divergence"] > 3, "codes say something"


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match="beta is -1"):
        Variational(beta=-1)
    data = reuse.load((np.zeros((20, 4), np.float32), None))
    with pytest.raises(UsageError, match="start from 0 numbers"):
        Variational(size=0).build(reuse.build("mlp:8", (4,), 2), data)
