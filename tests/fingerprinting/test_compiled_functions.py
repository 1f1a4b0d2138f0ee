"""Functions of Cython are described by their names: their classes tell no module."""

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from caching.prefixes import print_of
from reuse.layers.cutting import cut
from reuse.layers.freezing import freeze


class Draws(nn.Module):
    """Takes functions that are compiled: as an attribute, and by a global's name."""

    def __init__(self, make: object = np.random.default_rng) -> None:
        super().__init__()
        self.a, self.b, self.make = nn.Linear(4, 4), nn.Linear(4, 2), make

    def forward(self, x: Tensor) -> Tensor:
        noise = torch.from_numpy(np.random.default_rng(0).random(4)).float()
        return self.b(self.a(x) + noise) if self.make is not None else self.b(self.a(x))


def test_a_model_that_reads_them_is_cut() -> None:
    model, x = Draws(), torch.randn(3, 4)
    freeze(model, "a")
    parts = cut(model, x)
    torch.testing.assert_close(parts.suffix.train()(*parts.prefix(x)), model(x), rtol=0, atol=0)


def test_what_was_compiled_anew_is_another_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "my_kernels.so"
    module = ModuleType("my_kernels")
    module.__file__ = str(file)
    monkeypatch.setitem(sys.modules, "my_kernels", module)
    kind = type("cython_function_or_method", (), {"__call__": lambda self, x: x, "__module__": "my_kernels"})
    function = kind()
    function.__module__, function.__qualname__, function.__name__ = "my_kernels", "doubled", "doubled"
    model = Draws(function).eval()
    keys = []
    for content in (b"twice", b"thrice", b"twice"):
        file.write_bytes(content)
        keys.append(print_of(nn.Sequential(model)).key)
    assert keys[0] == keys[2] != keys[1]


def test_another_function_is_another_key() -> None:
    functions = (np.random.default_rng, np.random.Generator.normal, np.random.Generator.random)
    torch.manual_seed(0)
    weights = Draws().state_dict()
    keys = []
    for function in (*functions, functions[0]):
        model = Draws(function).eval()
        model.load_state_dict(weights)
        keys.append(print_of(nn.Sequential(model)).key)
    assert len(set(keys)) == 3
    assert keys[0] == keys[3]
