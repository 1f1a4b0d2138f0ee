"""What every side of `bench_epoch` trains: the same rows, batches, network and rate."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reuse.data.loading import load
from reuse.errors import DataError

BATCH, RATE = 32, 1e-3
FEATURES, WIDTHS, CLASSES = 784, (300, 100, 50, 50, 50), 10
ROWS, HELD_OUT = 60_000, 6_000

Ended = Callable[[], None]
"""To be called after each epoch with its validation; it comes back when the next one is to begin."""


@dataclass(frozen=True)
class Rows:
    """Inputs `(rows, 784)` in [0, 1] and classes `(rows,)` int64, of training and of validation."""

    inputs: Tensor
    labels: Tensor
    valid_inputs: Tensor
    valid_labels: Tensor


def load_rows(part: int) -> Rows:
    """Return one `part`-th of Fashion-MNIST's training images, the last tenth of it for validation.

    Where there is no Fashion-MNIST they are random numbers, which cost a dense network the same.
    """
    count = ROWS // part
    held_out = count // (ROWS // HELD_OUT)
    inputs, labels = _images(count)
    return Rows(inputs[:-held_out], labels[:-held_out], inputs[-held_out:], labels[-held_out:])


def _images(count: int) -> tuple[Tensor, Tensor]:
    try:
        data = load("fashion-mnist")
    except DataError:
        torch.manual_seed(0)
        return torch.rand(count, FEATURES), torch.randint(CLASSES, (count,))
    inputs, labels = data.train.inputs.resident(), data.train.targets
    assert inputs is not None
    assert labels is not None
    every = torch.arange(count) % len(inputs)  # a split of its own holds some images back; their number is what counts
    return inputs.flatten(1)[every].clone(), labels[every].clone()


def build_network() -> nn.Sequential:
    """Return the network as one writes it in torch: dense layers and ReLU, normal He weights, biases at zero."""
    layers: list[nn.Module] = []
    sizes = (FEATURES, *WIDTHS)
    for before, width in zip(sizes[:-1], WIDTHS, strict=True):
        layers += [nn.Linear(before, width), nn.ReLU()]
    network = nn.Sequential(*layers, nn.Linear(WIDTHS[-1], CLASSES))
    for layer in network:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    return network
