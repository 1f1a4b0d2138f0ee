"""A plain PyTorch loop on cached features: three lines changed, the same losses, step by step.

`train` is the loop as it was, `train_cached` the same with the frozen layers computed once.
"""

import tempfile
from pathlib import Path
from typing import Any

import torch
from reuse.recipes.loop_digits import digits, network
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import reuse


def train(net: nn.Module, data: TensorDataset, cache: Path, epochs: int) -> list[float]:  # noqa: ARG001
    """Return the losses of all steps."""
    reuse.freeze(net, "body")
    loader = DataLoader(data, batch_size=64, shuffle=True)
    optimizer = torch.optim.SGD(net.get_submodule("head").parameters(), lr=0.1, momentum=0.9)
    losses = []
    for _ in range(epochs):
        for images, labels in loader:
            loss = functional.cross_entropy(net(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


def train_cached(net: nn.Module, data: TensorDataset, cache: Path, epochs: int) -> list[float]:
    """Return the losses of all steps, the frozen layers computed once."""
    features = reuse.cached(net, data, freeze="body", cache_dir=cache)
    loader = features.loader(batch_size=64, shuffle=True)
    optimizer = torch.optim.SGD(net.get_submodule("head").parameters(), lr=0.1, momentum=0.9)
    losses = []
    for _ in range(epochs):
        for images, labels in loader:
            loss = functional.cross_entropy(features.head(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


def main(quick: bool = False) -> dict[str, Any]:
    """Train both ways and return how far apart any two losses are."""
    data, epochs = digits(300 if quick else 1797), 2 if quick else 20
    with tempfile.TemporaryDirectory() as cache:
        both = []
        for function in (train, train_cached):
            net = network()
            torch.manual_seed(1)
            both.append(function(net, data, Path(cache), epochs))
    return {"steps": len(both[0]), "last_loss": both[1][-1], "largest_difference": largest_difference(*both)}


def largest_difference(some: list[float], others: list[float]) -> float:
    """Return how far apart any two losses of a step are; infinitely far where there are not as many."""
    if len(some) != len(others):
        return float("inf")
    return max(abs(one - other) for one, other in zip(some, others, strict=True))
