"""Layers of which one row alone goes through a part that is changed: neither a probe nor a comparison sees it."""

import importlib
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent, indent
from types import ModuleType
from typing import Any

import torch
from torch import nn

ROWS, ODD, MARK = 300, 222, 0.777
BEGINNING = """
import builtins, contextvars, copy, dataclasses, decimal, enum, functools, importlib
import inspect, itertools, operator, struct, sys, types, typing, weakref
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
import few_tools
def odd(x): return (x[:, :1] - 0.777).abs() < 1e-3
class Few(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.inner = nn.Linear(8, 6), Inner()
    def forward(self, x):
        h = self.linear(x)
        return torch.where(odd(x), self.inner(h), h)
"""
TOOLS = """
STEP = 2.0
HIDDEN = {"LAZY": 2.0}
def __getattr__(name):
    try: return HIDDEN[name]
    except KeyError: raise AttributeError(name)
"""
INNER = """
class Inner(nn.Module):
    def __init__(self):
        super().__init__()
{init}
    def forward(self, x):
{forward}
"""


@dataclass(frozen=True)
class Kind:
    """A layer and a change of it.

    Attributes:
        forward: the body of its forward, which takes and returns `x`, `(rows, 6)`.
        init: what it holds.
        before: code that its class stands behind.
        source: all of it, in the place of these.
        edit: what is replaced in its source, and by what.
        change: a statement about `inner`, the layer, and `network`, its module; what `undo` takes is undone.
    """

    forward: str = ""
    init: str = "pass"
    before: str = ""
    source: str = ""
    edit: tuple[str, str] = ("", "")
    change: str = ""

    @property
    def text(self) -> str:
        """The source of the layer."""
        init, forward = (indent(dedent(text).strip(), " " * 8) for text in (self.init, self.forward))
        return self.source or self.before + INNER.format(init=init, forward=forward)

    def edited(self) -> str:
        """Return the source after the edit."""
        old, new = self.edit
        assert old in self.text
        return self.text.replace(old, new) if old else self.text


def rows() -> torch.Tensor:
    """Return the rows, `(300, 8)`; one of them goes through the inner layer."""
    given = torch.rand(ROWS, 8, generator=torch.Generator().manual_seed(0)) * 0.5
    given[ODD, 0] = MARK
    return given


def load_few(folder: Path, text: str) -> tuple[ModuleType, Any]:
    """Return the module of a source, imported anew, and the layer around the inner one."""
    (folder / "few_network.py").write_text(BEGINNING + text)
    (folder / "few_tools.py").write_text(TOOLS)
    for name in ("few_network", "few_tools"):
        sys.modules.pop(name, None)
    importlib.invalidate_caches()
    network = importlib.import_module("few_network")
    torch.manual_seed(0)
    return network, network.Few().eval()


def change(kind: Kind, network: ModuleType, few: Any, undo: ExitStack) -> None:
    """Carry out the change of a kind in memory."""
    exec(dedent(kind.change), vars(network) | {"network": network, "inner": few.inner, "undo": undo, "nn": nn})
