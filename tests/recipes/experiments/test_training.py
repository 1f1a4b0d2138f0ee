"""A training of an experiment is the trainer's, with the last epoch's weights; and how many steps something takes."""

import pytest
import torch
from reuse.recipes.experiments import last_held_out, train_network, train_until

import reuse
from reuse.data.rows import Resident
from reuse.objectives.supervised import Classification
from reuse.optim.groups import OptimizerSettings
from reuse.seeding import seed_everything
from reuse.training.settings import LoopSettings
from reuse.training.trainer import Trainer

SETTINGS = {"optimizer": "adam", "learning_rate": 0.01, "activation": "tanh"}


@pytest.fixture(scope="module")
def digits() -> reuse.load:
    return reuse.load(last_held_out("digits"))


def test_figures_are_those_of_the_trainers_last_epoch(digits) -> None:
    figures = train_network(digits, model="mlp:16", epochs=3, seed=5, **SETTINGS)
    seed_everything(5)
    model = reuse.build("mlp:16", (1, 8, 8), 10, activation="tanh")
    trainer = Trainer(
        model, Classification(10), optimization=OptimizerSettings("adam", 0.01), loop=LoopSettings(seed=5)
    )
    rows = {name: getattr(digits, name) for name in ("train", "valid")}
    sources = {name: (Resident(split.inputs.resident()), split.targets) for name, split in rows.items()}
    history = list(trainer.epochs(*sources["train"], *sources["valid"], epochs=3))
    assert figures["valid_loss"] == history[-1].valid["loss"]
    assert figures["best_valid_loss"] == min(epoch.valid["loss"] for epoch in history)
    model.eval()
    with torch.no_grad():
        right = model(digits.test.inputs.resident()).argmax(1) == digits.test.targets
    assert figures["test_accuracy"] == pytest.approx(right.double().mean().item())


def test_another_seed_is_another_training(digits) -> None:
    losses = [train_network(digits, model="mlp:8", epochs=1, seed=seed, **SETTINGS)["test_loss"] for seed in (0, 1, 0)]
    assert losses[0] == losses[2]
    assert losses[0] != losses[1]


def test_an_unknown_setting_is_refused(digits) -> None:
    with pytest.raises(TypeError, match="colour"):
        train_network(digits, model="mlp:8", epochs=1, seed=0, colour="red")


def test_steps_until_an_accuracy(digits) -> None:
    settings = {"model": "mlp:32", "seed": 0, "batch_size": 50, "every": 5, **SETTINGS}
    easy = train_until(digits, 0.5, max_steps=200, **settings)
    hard = train_until(digits, 0.85, max_steps=200, **settings)
    assert easy["reached"] == hard["reached"] == 1.0
    assert 0 < easy["steps"] < hard["steps"] <= 200
    assert easy["steps"] % 5 == 0


def test_what_is_never_reached_takes_all_steps(digits) -> None:
    figures = train_until(digits, 1.1, model="mlp:4", seed=0, max_steps=60, every=10, batch_size=100, **SETTINGS)
    assert (figures["steps"], figures["reached"]) == (60, 0.0)


def test_too_few_rows_for_the_steps_between_two_measurements(digits) -> None:
    with pytest.raises(reuse.UsageError, match="measure more often"):
        train_until(digits, 0.9, model="mlp:4", seed=0, max_steps=60, every=100, batch_size=100)
