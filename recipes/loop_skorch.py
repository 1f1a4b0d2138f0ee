"""skorch on cached features: three lines changed, the same losses, epoch by epoch.

`train` is the fit as it was, `train_cached` the same with the frozen layers computed once.
"""

import tempfile
from pathlib import Path
from typing import Any

import torch
from reuse.recipes.loop_digits import digits, network
from reuse.recipes.loop_torch import largest_difference
from skorch import NeuralNetClassifier
from torch import nn
from torch.utils.data import TensorDataset

import reuse

SETTINGS: dict[str, Any] = {
    "criterion": nn.CrossEntropyLoss,
    "lr": 0.1,
    "batch_size": 64,
    "iterator_train__shuffle": True,
    "train_split": None,
    "verbose": 0,
}


def train(net: nn.Module, data: TensorDataset, cache: Path, epochs: int) -> list[float]:  # noqa: ARG001
    """Return the losses of all epochs."""
    reuse.freeze(net, "body")
    classifier = NeuralNetClassifier(net, max_epochs=epochs, **SETTINGS)
    classifier.fit(data, data.tensors[1])
    return [float(loss) for loss in classifier.history[:, "train_loss"]]


def train_cached(net: nn.Module, data: TensorDataset, cache: Path, epochs: int) -> list[float]:
    """Return the losses of all epochs, the frozen layers computed once."""
    features = reuse.cached(net, data, freeze="body", cache_dir=cache)
    classifier = NeuralNetClassifier(features.head, max_epochs=epochs, **SETTINGS)
    classifier.fit(features, features.targets)
    return [float(loss) for loss in classifier.history[:, "train_loss"]]


def main(quick: bool = False) -> dict[str, Any]:
    """Train both ways and return how far apart any two losses are."""
    data, epochs = digits(300 if quick else 1797), 2 if quick else 20
    with tempfile.TemporaryDirectory() as folder:
        both = []
        for function in (train, train_cached):
            net = network()
            torch.manual_seed(1)
            both.append(function(net, data, Path(folder), epochs))
    return {"steps": len(both[0]), "last_loss": both[1][-1], "largest_difference": largest_difference(*both)}
