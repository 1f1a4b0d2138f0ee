"""A plain PyTorch loop on cached features: three lines changed, the same losses, step by step.

`train` is the loop as it was, `train_cached` the same with the frozen layers computed once.
"""

from pathlib import Path
from typing import Any

import torch
from reuse.recipes.loop_digits import compared
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import reuse


def train(net: nn.Module, data: TensorDataset, cache: Path, epochs: int) -> list[float]:  # noqa: ARG001 - all loops take the same
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
    outcome: dict[str, Any] = compared(train, train_cached, quick)
    return outcome
