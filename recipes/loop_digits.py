"""Digits and a small network, which the examples of other toolkits' training loops share."""

from collections import OrderedDict

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
