"""Twenty layers that keep something while they are used, and read none of it into what they compute.

Run as a program it prints the key of each, after the layers were used a number of times.
"""

import itertools
import logging
import random
import sys
import threading
import time
import uuid
from collections import Counter, defaultdict, deque
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

FOLDER = Path(__file__).parents[1]


class Layer(nn.Module):
    """Six numbers in, six out."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def compute(self, x: Tensor) -> Tensor:
        return self.linear(x).relu()


class CountsCalls(Layer):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return self.compute(x)


class CountsRows(Layer):
    def __init__(self):
        super().__init__()
        self.rows = 0

    def forward(self, x):
        self.rows = self.rows + len(x)
        return self.compute(x)


class CountsInBuffer(Layer):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x):
        self.calls += 1
        return self.compute(x)


class KeepsList(Layer):
    def __init__(self):
        super().__init__()
        self.means = []

    def forward(self, x):
        self.means.append(x.mean().item())
        return self.compute(x)


class KeepsRecent(Layer):
    def __init__(self):
        super().__init__()
        self.sizes = deque(maxlen=10)

    def forward(self, x):
        self.sizes.append(len(x))
        return self.compute(x)


class KeepsSet(Layer):
    def __init__(self):
        super().__init__()
        self.shapes = set()

    def forward(self, x):
        self.shapes.add(x.shape)
        return self.compute(x)


class KeepsTable(Layer):
    def __init__(self):
        super().__init__()
        self.seen = {"calls": 0}

    def forward(self, x):
        self.seen["calls"] += 1
        self.seen["rows"] = len(x)
        return self.compute(x)


class KeepsCounter(Layer):
    def __init__(self):
        super().__init__()
        self.seen, self.more = Counter(), defaultdict(int)

    def forward(self, x):
        self.seen[len(x)] += 1
        self.more["rows"] += len(x)
        return self.compute(x)


class KeepsLast(Layer):
    def __init__(self):
        super().__init__()
        self.last = None

    def forward(self, x):
        out = self.compute(x)
        self.last = out.detach()
        return out


class KeepsLastInput(Layer):
    def forward(self, x):
        self.given = x
        return self.compute(x)


class KeepsBeginning(Layer):
    def __init__(self):
        super().__init__()
        self.begun = time.time()

    def forward(self, x):
        return self.compute(x)


class KeepsTime(Layer):
    def __init__(self):
        super().__init__()
        self.begun, self.elapsed = time.perf_counter(), 0.0

    def forward(self, x):
        self.elapsed = time.perf_counter() - self.begun
        self.ended = time.time()
        return self.compute(x)


class KeepsGenerator(Layer):
    def __init__(self):
        super().__init__()
        self.numbers = itertools.count()
        self.lazy = (number * 2 for number in range(100))

    def forward(self, x):
        self.number = next(self.numbers)
        return self.compute(x)


class KeepsRandomState(Layer):
    def __init__(self):
        super().__init__()
        self.generators = [torch.Generator(), random.Random(), np.random.default_rng()]

    def forward(self, x):
        return self.compute(x)


class KeepsIdentity(Layer):
    def __init__(self):
        super().__init__()
        self.name = uuid.uuid4().hex

    def forward(self, x):
        return self.compute(x)


class KeepsLockAndLogger(Layer):
    def __init__(self):
        super().__init__()
        self.lock, self.log = threading.Lock(), logging.getLogger("layer")

    def forward(self, x):
        return self.compute(x)


class KeepsInNested(Layer):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(CountsCalls(), KeepsLast())

    def forward(self, x):
        return self.compute(self.inner(x))


class KeepsPath(Layer):
    def __init__(self):
        super().__init__()
        self.folder, self.arguments = Path.cwd(), sys.argv[:]

    def forward(self, x):
        return self.compute(x)

    def summary(self):
        return f"{self.folder} {self.arguments}"


class KeepsStatistics(Layer):
    def __init__(self):
        super().__init__()
        self.total, self.largest = 0.0, 0.0

    def forward(self, x):
        self.total += x.detach().sum().item()
        self.largest = max(self.largest, x.max().item())
        return self.compute(x)


class KeepsPartOfLoop(Layer):
    def __init__(self):
        super().__init__()
        self.steps = 0

    def forward(self, x):
        for _ in range(3):
            x = self.compute(x)
            self.steps += 1
        return x


MODELS = [
    kind for kind in list(vars().values()) if isinstance(kind, type) and issubclass(kind, Layer) and kind is not Layer
]


def build(kind: type) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(kind()).eval()


if __name__ == "__main__":
    from caching.prefixes import print_of

    uses = int(sys.argv[1])
    for kind in MODELS:
        model = build(kind)
        for number in range(uses):
            model(torch.rand(number + 1, 6))
        print(kind.__name__, print_of(model).key)
