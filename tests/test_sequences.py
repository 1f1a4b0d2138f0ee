"""Texts and sequences from file to trained network: learned, cached like any other inputs, restored by name."""

import copy
import csv
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import reuse
from reuse.data.dataset import Dataset
from reuse.devices import Compute
from reuse.features.choosing import Upcoming
from reuse.features.feeding import feed_activations, feed_inputs
from reuse.features.planned import half_steps, plan_features
from reuse.objectives.supervised import Classification
from reuse.optim.groups import OptimizerSettings
from reuse.reporting import Reporter
from reuse.settings.caching import StoringSettings
from reuse.training.feeds import Feed
from reuse.training.settings import LoopSettings
from reuse.training.trainer import Trainer

SUBJECTS = {
    "cooking": "pan oil onion garlic stir simmer salt oven",
    "sailing": "wind sail harbour rope keel tide mast bow",
}
SHARED = "the a of and it was with then we they after before"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Write texts of two subjects, most of whose words are shared, and whose lengths differ."""
    random = np.random.default_rng(0)
    path = tmp_path / "texts.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["review", "subject"])
        for number in range(240):
            subject = list(SUBJECTS)[number % 2]
            words = random.choice(SHARED.split(), random.integers(4, 16)).tolist()
            words += random.choice(SUBJECTS[subject].split(), random.integers(2, 5)).tolist()
            rows.writerow([" ".join(random.permutation(words)).capitalize() + ".", subject])
    return path


def network(data: Dataset, spec: str, **settings: object) -> torch.nn.Module:
    torch.manual_seed(0)
    settings = {"num_tokens": data.num_tokens, "embedding_size": 8, **settings}
    return reuse.build(spec, data.input_shape, data.num_outputs, **settings)  # type: ignore[arg-type]


def train(model: torch.nn.Module, feed: Feed, precision: str, epochs: int) -> tuple[list[float], dict[str, float]]:
    trainer = Trainer(
        model,
        Classification(2),
        optimization=OptimizerSettings("adam", 0.02),
        loop=LoopSettings(precision=precision),
        network=feed.network,
    )
    losses = [epoch.train["loss"] for epoch in trainer.epochs(*feed.splits["train"], epochs=epochs)]
    return losses, trainer.evaluate(*feed.splits["test"])


@pytest.mark.parametrize("spec", ["gru:16", "lstm:16", "mlp:16"])
def test_texts_are_learned(spec: str, table: Path) -> None:
    data = reuse.load(table, text="review")
    model = network(data, spec)
    _, metrics = train(model, feed_inputs(model, data, Compute(torch.device("cpu"), "float32")), "float32", 8)
    assert metrics["accuracy"] > 0.9


def test_steps_are_learned() -> None:
    data = reuse.load("digits", sequences=True, labels=400)
    model = reuse.build("gru:32", data.input_shape, data.num_outputs, norm="layer")
    trainer = Trainer(model, Classification(10), optimization=OptimizerSettings("adam", 0.01))
    feed = feed_inputs(model, data, Compute(torch.device("cpu"), "float32"))
    list(trainer.epochs(*feed.splits["train"], epochs=12))
    assert trainer.evaluate(*feed.splits["test"])["accuracy"] > 0.8


def test_tokens_that_do_not_fit_into_memory_are_read_as_whole_numbers(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts, compute = reuse.load(table, text="review"), Compute(torch.device("cpu"), "float64")
    tokens = reuse.load((texts.train.inputs.resident(), texts.train.targets), vocabulary=texts.num_tokens)
    model = network(tokens, "gru:4").double()
    resident, _ = feed_inputs(model, tokens, compute).splits["test"]
    monkeypatch.setattr("reuse.data.inputs.free_memory", lambda device: 1)
    tokens = reuse.load((texts.train.inputs.resident(), texts.train.targets), vocabulary=texts.num_tokens)
    rows, _ = feed_inputs(model, tokens, compute).splits["test"]
    assert type(rows) is not type(resident)
    indices = torch.tensor([2, 0])
    (found,), (expected,) = rows.gather(indices), resident.gather(indices)
    assert found.dtype == torch.int64
    assert torch.equal(found, expected)
    assert torch.equal(model(found), model(expected))


@pytest.mark.parametrize("freeze", ["embedding,lstm1", "embedding,lstm1,lstm2"])
def test_texts_are_cached_and_train_the_same(freeze: str, table: Path) -> None:
    data, compute = reuse.load(table, text="review"), Compute(torch.device("cpu"), "float64")
    model = network(data, "lstm:7,6", dropout=0.2, recurrent_dropout=0.2).double()
    reuse.freeze(model, freeze)
    other, again = copy.deepcopy(model), copy.deepcopy(model)
    upcoming = Upcoming(3, partial(half_steps, Classification(2)), comparable=False)
    features = plan_features(model, data, compute, StoringSettings(), upcoming)
    feed = feed_activations(features, data, compute, Reporter())
    assert feed.cache is not None
    assert feed.cache["rows"] == {"computed": 240, "found": 0}
    cached = train(model, feed, "float64", 3)
    plain = train(other, feed_inputs(other, data, compute), "float64", 3)
    assert cached[0] == pytest.approx(plain[0], rel=0, abs=1e-9)
    assert cached[1] == pytest.approx(plain[1], rel=0, abs=1e-9)
    torch.testing.assert_close(model.state_dict(), other.state_dict(), rtol=0, atol=1e-9)
    found = plan_features(again, data, compute, StoringSettings(), upcoming)
    hit = feed_activations(found, data, compute, Reporter())
    assert hit.cache is not None
    assert hit.cache["hit"]


def test_dropout_between_hidden_states_is_not_inherited_by_a_net_without_any(table: Path, tmp_path: Path) -> None:
    settings = {"text": "review", "recurrent_dropout": 0.3, "dropout": 0.2}
    run = reuse.pretrain("supervised", data=table, model="gru:6", epochs=1, out=tmp_path / "run", **settings).run
    result = reuse.finetune(run, data=table, text="review", model="mlp:5", epochs=1, out=tmp_path / "tuned")
    assert (result.settings["recurrent_dropout"], result.settings["dropout"]) == (0.0, 0.2)
