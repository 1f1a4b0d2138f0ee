"""A network whose frozen layers depend on as many kinds of things as code can read, each of which can be changed."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

TOOLS = """
import torch
STEP = 0.25
def act(x):
    return torch.tanh(x) + bend(x)
def bend(x):
    return x * 0.125
def other(x):
    return x.sigmoid()
"""

NETWORK = """
import collections
import enum
import functools
import operator
import os
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

import mutable_tools as tools

GAIN = 1.5
HIDDEN = 0.5
TABLE = {"a": 0.3, "b": [1.0, 2.0]}

class Size(float):
    pass

class Word(str):
    pass

class Mode(enum.Enum):
    SOFT = 0.75
    HARD = 2.0

class Scale:
    def __init__(self, factor):
        self.factor = factor
    def __call__(self, x):
        return x * self.factor

def limited(limit):
    def limiter(x):
        return x.clamp(max=limit)
    return limiter

def shift(x, by=0.1, *, sign=1):
    return x + sign * by * GAIN

@torch.library.custom_op("mutable::weigh", mutates_args=())
def weigh(x: torch.Tensor) -> torch.Tensor:
    return x * 1.25

@weigh.register_fake
def _(x):
    return torch.empty_like(x)

class Meta(type(nn.Module)):
    strength = 0.6
    def soften(cls, x):
        return x * cls.strength

class Base(nn.Module, metaclass=Meta):
    slope = 0.2
    @staticmethod
    def squeeze(x):
        return x / (1 + x.abs())
    def tail(self, x):
        return x + 0.01

class Body(Base):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 6)
        self.norm = nn.BatchNorm1d(6)
        self.relu = nn.ReLU()
        self.bias = nn.Parameter(torch.linspace(-1, 1, 6))
        self.bias.weight_of_it = 0.5
        self.register_buffer("offset", torch.arange(6.0))
        self.offset.scale = 0.1
        self.pi = torch.full((6,), 3.0)
        self.factor = 1.1
        self.settings = {"power": 2, "names": ["a", "b"], "size": (1.0, 2.0)}
        self.queue = collections.deque([0.1, 0.2])
        self.steps = collections.defaultdict(lambda: 0.4, {"a": 0.2})
        self.chosen = {3, 5}
        self.size = Size(1.2)
        self.size.more = 0.3
        self.word = Word("a")
        self.mode = Mode.SOFT
        self.tools = tools
        self.held = [tools]
        self.pick = tools.act
        self.ways = {"one": tools.other, "two": [tools.bend]}
        self.limit = limited(0.9)
        self.part = functools.partial(torch.mul, other=1.3)
        self.scaling = Scale(0.7)
        self.traced = torch.jit.trace(lambda x: x * torch.tensor([1.0, 2.0, 3.0, 1.0, 2.0, 3.0]), torch.ones(2, 6))
        self.environment = "MUTABLE_SCALE"
        self.file = Path("mutable_scale.txt")

    @property
    def gain(self):
        return 0.9

    def forward(self, x, times=1.0, act=tools.act, module=tools):
        x = self.limit(shift(self.norm(self.linear(x))) * times)
        x = self.relu(x + self.bias * self.bias.weight_of_it) + F.softplus(x) + self.offset * self.offset.scale
        x = torch.where(x.sum(1, keepdim=True) > 8.2, x * 1.01, x)
        x = x + sum(self.queue) + self.steps["z"] + self.steps["a"] + self.pi * self.factor + sum(self.chosen)
        x = x * self.size + self.size.more + TABLE[self.word] if self.word else x
        x = act(x) + self.pick(x) + self.ways["one"](x) + self.ways["two"][0](x) + module.bend(x)
        x = x + self.tools.bend(x) + self.held[0].STEP + getattr(tools, "STEP") + operator.mul(x, self.mode.value)
        x = self.scaling(self.part(self.traced(x))) * self.gain * self.slope + self.settings["power"]
        x = torch.ops.mutable.weigh(self.squeeze(self.tail(x))) + [0.5 * part for part in (1.0, 2.0)][1] + x.erf()
        x = type(self).soften(x)
        x = x * float(os.environ.get(self.environment, "1")) + float(self.file.read_text() or "0")
        return x * 1.0

def network():
    torch.manual_seed(0)
    return nn.Sequential(Body(), nn.Linear(6, 4))
"""


UNSEEN = NETWORK.replace("return x * 1.0", 'return x * globals()["HID" + "DEN"]')


def load_network(folder: Path, network: str = NETWORK, tools: str = TOOLS) -> ModuleType:
    """Return the modules `mutable_network` and `mutable_tools`, written anew and imported as a new process would."""
    for name, text in (("mutable_tools", tools), ("mutable_network", network)):
        path = folder / f"{name}.py"
        if not path.is_file() or path.read_text() != text:
            path.write_text(text)
        sys.modules.pop(name, None)
    importlib.invalidate_caches()
    return importlib.import_module("mutable_network")


def build(module: ModuleType) -> nn.Module:
    """Return the network in evaluation mode."""
    model: nn.Module = module.network().eval()
    with torch.no_grad():  # as if it had been trained
        model[0].norm.running_mean.copy_(torch.linspace(-0.2, 0.3, 6))
    return model
