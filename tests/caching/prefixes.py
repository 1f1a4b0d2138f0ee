"""Frozen parts as a cut makes them: traced, with whole blocks as leaves, and a user's own code in them."""

import torch
from torch import nn
from torch.fx import GraphModule, Tracer

from reuse.fingerprinting.fingerprint import Fingerprint, fingerprint

SLOPE = 0.1
WORDS = {"b", "a", "c"}


def leak(x):
    """Refers to a global and to a set constant, whose order depends on PYTHONHASHSEED."""
    return torch.where(x > 0, x, SLOPE * x) if "a" in {"a", "b", "c", "d"} and "a" in WORDS else x


class Block(nn.Module):
    """A user's block: attributes of many kinds, control flow, a helper function, a closure, hidden state."""

    def __init__(self, width):
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.norm = nn.BatchNorm1d(width)
        self.act = nn.LeakyReLU(0.2)
        self.scale = 2.0
        self.settings = {"kinds": ["a", "b"], "size": (3, 4), "words": {"x", "y", "z"}}
        self.post = lambda x: x * 1.5
        self.offset = torch.arange(float(width))
        self.register_buffer("hidden", torch.ones(width), persistent=False)

    def forward(self, x):
        if x.shape[0] > 10**6 or not self.settings:
            return x
        return leak(self.post(self.act(self.norm(self.linear(x))))) * self.scale + self.offset + self.hidden


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(6))
        self.first = Block(6)
        self.second = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Dropout(0.1))

    def forward(self, x):
        return self.second(torch.flatten(self.first(x + self.shift), 1))


class BlocksAreLeaves(Tracer):
    def is_leaf_module(self, m, module_qualified_name):
        return True


def trace(model):
    return GraphModule(model, BlocksAreLeaves().trace(model))


def build(seed=0):
    torch.manual_seed(seed)
    return Net().eval()


def print_of(model, **changes) -> Fingerprint:
    settings = {"preprocessing": {"size": 8}, "dtype": torch.float32, "device": torch.device("cpu")}
    settings |= {"cache_format": 1} | changes
    return fingerprint(trace(model) if not isinstance(model, GraphModule) else model, **settings)


if __name__ == "__main__":
    print(print_of(build()).key)
