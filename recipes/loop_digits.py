"""Digits, a small network and the comparison, which the examples of other toolkits' training loops share."""

import tempfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import TensorDataset


def digits(rows: int) -> TensorDataset:
    """Return images `(1, 8, 8)` from 0 to 1 in float64, and their labels."""
    pixels, labels = load_digits(return_X_y=True)
    images = torch.from_numpy(pixels[:rows]).reshape(-1, 1, 8, 8) / 16
    return TensorDataset(images, torch.from_numpy(labels[:rows]))


def network() -> nn.Module:
    """Return a network: its `body`, with batch norm, stands for layers that somebody has trained; its head learns."""
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten())
    return nn.Sequential(OrderedDict(body=body, drop=nn.Dropout(0.2), head=nn.Linear(288, 10))).double()


Train = Callable[[nn.Module, TensorDataset, Path, int], list[float]]
"""Takes a network, data, a folder for the cache and epochs; returns losses."""


def compared(train: Train, train_cached: Train, quick: bool) -> dict[str, Any]:
    """Train in both ways and return the number of losses, the last one, and how far apart any two are."""
    data, epochs = digits(300 if quick else 1797), 2 if quick else 20
    with tempfile.TemporaryDirectory() as folder:
        both = []
        for function in (train, train_cached):
            net = network()
            torch.manual_seed(1)
            both.append(function(net, data, Path(folder), epochs))
    return {"steps": len(both[0]), "last_loss": both[1][-1], "largest_difference": largest_difference(*both)}


def largest_difference(some: list[float], others: list[float]) -> float:
    """Return how far apart any two losses of a step are; infinitely far where there are not as many."""
    if len(some) != len(others):
        return float("inf")
    return max(abs(one - other) for one, other in zip(some, others, strict=True))
