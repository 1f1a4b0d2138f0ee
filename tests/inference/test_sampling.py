"""Monte-Carlo dropout: means and spreads against many passes by hand, modes and random state left alone."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from reuse.data.preprocessing import Preprocessing
from reuse.errors import UsageError
from reuse.inference.predicting import predict_run
from reuse.inference.sampling import dropouts, enabled_dropout, sample_predictions
from reuse.nn.building import build
from reuse.pretraining.pretrain import pretrain
from reuse.runs.models import SavedModel

ROWS = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))


def saved(network: nn.Module, task: str = "classification") -> SavedModel:
    return SavedModel(network, task, (), Preprocessing("vectors"))


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Dropout(0.4), nn.Linear(6, 3))


def passes_by_hand(network: nn.Module, passes: int) -> Tensor:
    """The same draws, one pass after the other, `(passes, rows, outputs)`."""
    network.eval()
    network[2].train()
    torch.manual_seed(5)
    with torch.no_grad():
        return torch.stack([network(ROWS) for _ in range(passes)])


def test_classes_have_the_entropy_of_the_mean(network: nn.Module) -> None:
    found = sample_predictions(saved(network), ROWS, 20, seed=5)
    mean = passes_by_hand(network, 20).softmax(2).double().mean(0)
    torch.testing.assert_close(found.mean, mean, atol=1e-6, rtol=1e-5)
    entropy = torch.distributions.Categorical(mean).entropy()[:, None]
    torch.testing.assert_close(found.uncertainty, entropy, atol=1e-6, rtol=1e-5)


def test_numbers_have_the_deviation_over_passes(network: nn.Module) -> None:
    found = sample_predictions(saved(network, "regression"), ROWS, 20, seed=5)
    each = passes_by_hand(network, 20).double()
    torch.testing.assert_close(found.mean, each.mean(0), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(found.uncertainty, each.std(0), atol=1e-6, rtol=1e-5)


def test_labels_add_up_their_entropies(network: nn.Module) -> None:
    found = sample_predictions(saved(network, "multilabel"), ROWS, 20, seed=5)
    mean = passes_by_hand(network, 20).sigmoid().double().mean(0)
    expected = torch.distributions.Bernoulli(mean).entropy().sum(1, keepdim=True)
    torch.testing.assert_close(found.uncertainty, expected, atol=1e-6, rtol=1e-5)


def test_the_variance_is_what_dropout_makes_it() -> None:
    """One input of 1, kept with probability 0.8 and then 1.25 as large: the variance is 1.25² · 0.8 · 0.2."""
    model = saved(nn.Dropout(0.2), "regression")
    model.network.register_buffer("unused", torch.zeros(1))
    found = sample_predictions(model, torch.ones(2000, 1), 30)
    assert found.uncertainty.square().mean().item() == pytest.approx(1.25**2 * 0.8 * 0.2, rel=0.03)
    assert found.mean.mean().item() == pytest.approx(1, rel=0.01)


def test_it_repeats_and_leaves_everything_alone(network: nn.Module) -> None:
    model = saved(network)
    statistics = network[1].running_mean.clone()
    state = torch.get_rng_state()
    first, again = (sample_predictions(model, ROWS, 4, seed=1) for _ in range(2))
    assert torch.equal(first.mean, again.mean)
    assert not torch.equal(first.mean, sample_predictions(model, ROWS, 4, seed=2).mean)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(network[1].running_mean, statistics)
    assert not any(module.training for module in model.modules())


def test_recurrent_dropout_drops_too() -> None:
    model = saved(build("lstm:4", (6, 5), 2, recurrent_dropout=0.5))
    rows = torch.randn(3, 6, 5)
    assert len(dropouts(model)) == 1
    found = sample_predictions(model, rows, 10)
    assert not torch.allclose(found.mean.float(), model.values(rows))


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit"])
def test_dropout_in_front_of_the_classifier_of_timm_drops(name: str) -> None:
    """Some of timm's models drop by a function, not by a module."""
    torch.manual_seed(0)
    model = saved(build(f"timm:{name}", (3, 32, 32), 3, dropout=0.5, drop_path=0.3))
    rows = torch.randn(2, 3, 32, 32)
    plain = model.values(rows)
    assert not torch.equal(sample_predictions(model, rows, 3).mean.float(), plain)
    assert torch.equal(model.values(rows), plain)
    assert not any(module.training for module in model.modules())
    with pytest.raises(UsageError, match="has no dropout"):
        sample_predictions(saved(build(f"timm:{name}", (3, 32, 32), 3)), rows, 3)


def test_without_dropout_it_is_refused() -> None:
    model = saved(nn.Sequential(nn.Linear(5, 3), nn.Dropout(0.0)))
    with pytest.raises(UsageError, match="has no dropout"):
        sample_predictions(model, ROWS, 4)
    with pytest.raises(UsageError, match="no dropout"), enabled_dropout(nn.Linear(2, 2)):
        pass
    with pytest.raises(UsageError, match="mc_dropout is 1"):
        sample_predictions(model, ROWS, 1)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_run_predicts_with_its_uncertainty(task: str) -> None:
    generator = np.random.default_rng(0)
    x = generator.random((60, 4))
    y = np.arange(60) % 3 if task == "classification" else np.stack([x.sum(1), x[:, 0]], 1)
    pretrain("supervised", data=(x, y), model="mlp:8", epochs=2, dropout=0.3, out="run")
    found = predict_run("run", data=(x, None), mc_dropout=10)
    plain = predict_run("run", data=(x, None))
    columns = ["uncertainty"] if task == "classification" else ["uncertainty 1", "uncertainty 2"]
    assert found.header == plain.header + columns
    lines = list(found.lines())
    assert all(len(line) == len(found.header) for line in lines)
    highest = math.log(3) if task == "classification" else math.inf
    assert all(0 < cell <= highest for line in lines for cell in line[-len(columns) :])
    assert [len(line) for line in plain.lines()] == [len(plain.header)] * 60
    assert list(predict_run("run", data=(x, None), mc_dropout=10, seed=0).lines()) == lines
