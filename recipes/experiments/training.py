"""One training of an experiment: all epochs, the last one's weights, every split measured."""

import inspect
from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any

from reuse.recipes.experiments.experiment import Figures

from reuse.data.dataset import SPLITS, Dataset
from reuse.devices import Compute, choose_device
from reuse.features.feeding import feed_inputs
from reuse.nn.building import build
from reuse.objectives.supervised import supervised
from reuse.optim.groups import OptimizerSettings
from reuse.optim.optimization import Optimization
from reuse.seeding import seed_everything
from reuse.training.feeds import Feed
from reuse.training.settings import LoopSettings
from reuse.training.threads import fitting_threads
from reuse.training.trainer import Trainer


def train_network(data: Dataset, *, model: str, epochs: int, seed: int, **settings: Any) -> Figures:
    """Train a network from scratch on the labels of a data set.

    Unlike `reuse.pretrain` it writes no run and keeps the weights of the last epoch, whatever the validation rows say:
    published experiments mostly report that epoch.

    Args:
        data: the rows; the validation split is measured after each epoch.
        model: a model spec.
        epochs: how many.
        seed: of initial weights, order and dropout.
        settings: of `reuse.build`, and of `OptimizerSettings`, `Optimization` and `LoopSettings`, by their names.

    Returns:
        `seconds` of the epochs with validation, `train_loss`, `valid_accuracy`, … after the last epoch, and the lowest
        validation loss of all epochs as `best_valid_loss`.

    Raises:
        UsageError: a setting that neither takes.
        ReuseError: the loss is not finite.
    """
    trainer, feed = begin(data, model=model, seed=seed, **settings)
    rows = feed.splits["train"]
    with fitting_threads(feed.network, trainer.model, rows[0], trainer.loop.batch_size):
        history = list(trainer.epochs(*rows, *feed.splits["valid"], epochs=epochs))
        measured = {name: trainer.evaluate(*feed.splits[name]) for name in SPLITS}
    figures = {f"{split}_{name}": value for split, metrics in measured.items() for name, value in metrics.items()}
    best = min(epoch.valid["loss"] for epoch in history)
    return figures | {"best_valid_loss": best, "seconds": sum(epoch.seconds for epoch in history)}


def begin(data: Dataset, *, model: str, seed: int, **settings: Any) -> tuple[Trainer, Feed]:
    """Return a trainer of a new network, and the rows as it reads them; the arguments are those of `train_network`."""
    seed_everything(seed)
    building, training = _parted({"seed": seed, **settings})
    network = build(model, data.input_shape, data.num_outputs, **building)
    compute = Compute(choose_device("auto"), "float32")
    network.to(compute.device)
    trainer = Trainer(network, supervised(data.task, data.num_outputs), **training)
    return trainer, feed_inputs(network, data, compute)


def _parted(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what `build` takes, and the rest as the trainer takes it."""
    left = dict(settings)
    building = _taken(left, inspect.signature(build).parameters)
    optimizer = OptimizerSettings(left.pop("optimizer", "adam"), **_taken(left, _names(OptimizerSettings)))
    optimization = Optimization(optimizer, **_taken(left, _names(Optimization)))
    return building, {"optimization": optimization, "loop": LoopSettings(**left)}


def _taken(settings: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Take the settings of some names out of all and return them."""
    return {name: settings.pop(name) for name in [*settings] if name in names}


def _names(group: type[Any]) -> set[str]:
    return {field.name for field in fields(group)}
