"""skorch on cached features: three lines changed, the same losses, epoch by epoch.

`train` is the fit as it was, `train_cached` the same with the frozen layers computed once.
"""

from pathlib import Path
from typing import Any

from reuse.recipes.loop_digits import compared
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


def train(net: nn.Module, data: TensorDataset, cache: Path, epochs: int) -> list[float]:  # noqa: ARG001 - all loops take the same
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
    outcome: dict[str, Any] = compared(train, train_cached, quick)
    return outcome
