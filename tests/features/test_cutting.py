"""A cut that was checked is known again, in any process; whatever changes where or what is cut is cut anew."""

import importlib
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from reuse.data.loading import load
from reuse.devices import Compute
from reuse.errors import CutError
from reuse.features import cutting
from reuse.features.cutting import Sample, cut_model, sample_rows
from reuse.fingerprinting.cuts import cut_key
from reuse.hints import Hints
from reuse.layers.freezing import freeze, unfreeze
from reuse.layout import one_tensor
from reuse.nn.building import build

CHANGES = 300
X = torch.from_numpy(np.random.default_rng(0).standard_normal((9, 5), np.float32))
SOURCE = """
import torch
import torch.nn.functional as F
from torch import nn

SCALE = 1.5
TABLE = [1.0, [2.0, {"deep": 0.25}]]

def helper(x, by=0.5):
    return x * by

def make(factor):
    def apply(x):
        return x * factor[0]
    return apply

class Body(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.power = nn.Linear(5, 4), [1.0, [1.0]]
    def forward(self, x):
        return self.linear(x) * self.power[1][0]

class Net(nn.Module):
    weight = 0.75
    def __init__(self):
        super().__init__()
        self.body, self.norm, self.head = Body(), nn.BatchNorm1d(4), nn.Linear(4, 3)
        self.settings, self.close = {"a": [1.0, {"b": 1.25}]}, make([0.9])
        self.register_buffer("shift", torch.ones(4))
        self.plain, self.depth = torch.full((4,), 0.1), 1
    def forward(self, x):
        h = self.body(x) * SCALE + self.shift + self.plain
        for _ in range(self.depth):
            h = helper(h) + TABLE[1][1]["deep"]
        h = self.close(h) * self.settings["a"][1]["b"] * self.weight
        if self.training:
            h = h + 0.0
        return self.head(F.relu(self.norm(h)))
"""


@pytest.fixture
def sample() -> Sample:
    data = load((X.numpy(), np.arange(9) % 3), valid_fraction=0, test_fraction=0)
    return sample_rows(data, Compute(torch.device("cpu"), "float32"))


@pytest.fixture
def net_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    (tmp_path / "fuzzed_net.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    importlib.invalidate_caches()
    yield importlib.import_module("fuzzed_net")
    del sys.modules["fuzzed_net"]


@pytest.fixture
def cuts(monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    """Models that were traced, observed and checked."""
    seen: list[nn.Module] = []
    anew = cutting.cut

    def counting(model: nn.Module, *arguments: Any, **settings: Any) -> Any:
        seen.append(model)
        return anew(model, *arguments, **settings)

    monkeypatch.setattr(cutting, "cut", counting)
    return seen


def made(module: ModuleType, trained: str = "!norm,!head") -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = module.Net()
    freeze(model, trained.split(","))
    return model


def assert_right(model: nn.Module, sample: Sample, hints: Hints) -> None:
    """Cut a model, by what is known or anew, and compare with the model in both modes."""
    try:
        parts = cut_model(model, sample, hints=hints)
    except CutError:
        return
    with torch.no_grad():
        for mode in (True, False):
            model.train(mode)
            outputs = []
            for run in (model, lambda x: parts.suffix(*parts.prefix(x))):
                buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
                torch.manual_seed(1)
                outputs.append(run(X))
                model.load_state_dict(buffers, strict=False)
            torch.testing.assert_close(*outputs)


def test_the_second_time_nothing_is_traced_or_run(
    net_module: ModuleType, sample: Sample, tmp_path: Path, cuts: list[nn.Module]
) -> None:
    hints = Hints(tmp_path / "cache")
    first = cut_model(made(net_module), sample, hints=hints)
    assert len(cuts) == 1
    again = made(net_module)
    with torch.no_grad():
        again.head.weight.normal_()  # type: ignore[union-attr, operator]
    sample = replace(sample)  # nothing of it is read yet
    known = cut_model(again, sample, hints=hints, spared=0)  # it takes no rows
    assert len(cuts) == 1
    assert (known.frontier, known.engine, known.uncached) == (first.frontier, first.engine, first.uncached)
    assert [e.signatures for e in known.earlier] == [e.signatures for e in first.earlier]
    assert "inputs" not in vars(sample)
    assert_right(again, sample, hints)


def test_a_cut_that_costs_too_much_is_refused_and_not_looked_for(
    net_module: ModuleType, sample: Sample, cuts: list[nn.Module]
) -> None:
    with pytest.raises(CutError, match=r"takes 73 rows through .* more than 3 times the 24 "):
        cut_model(made(net_module), sample, spared=24)
    assert not cuts
    assert "inputs" not in vars(sample)  # so that nothing was run
    assert cut_model(made(net_module), sample, spared=25).frontier


def test_training_a_known_cut_trains_the_model(net_module: ModuleType, sample: Sample, tmp_path: Path) -> None:
    hints = Hints(tmp_path / "cache")
    cut_model(made(net_module), sample, hints=hints)
    model, whole = made(net_module), made(net_module)
    parts = cut_model(model, sample, hints=hints)
    model.train()
    whole.train()
    parts.suffix(*parts.prefix(X)).square().sum().backward()
    whole(X).square().sum().backward()
    ours, theirs = dict(model.named_parameters()), dict(whole.named_parameters())
    assert {n for n, p in ours.items() if p.grad is not None} == {n for n, p in theirs.items() if p.grad is not None}
    for name, parameter in theirs.items():
        if parameter.grad is not None:
            torch.testing.assert_close(ours[name].grad, parameter.grad)


# What may change, each with a random value: how a model is then made, and what is done to it.
Change = Callable[[ModuleType, nn.Module, float, pytest.MonkeyPatch], object]


def another_function(x: Tensor, by: float = 2.0) -> Tensor:
    return x + by


def edited(old: str, new: str) -> Change:
    def change(module: ModuleType, model: nn.Module, value: float, patch: pytest.MonkeyPatch) -> object:
        text = SOURCE.replace(old, new.format(value=value))
        patch.setattr(module, "Net", module.Net)
        for name in ("SCALE", "TABLE", "helper", "make", "Body", "Net"):
            patch.setattr(module, name, getattr(module, name))
        exec(compile(text, module.__file__ or "", "exec"), vars(module))
        return made(module)

    return change


def attribute(path: str, name: str) -> Change:
    def change(module: ModuleType, model: nn.Module, value: float, patch: pytest.MonkeyPatch) -> None:
        setattr(model.get_submodule(path), name, value)

    return change


CHANGED: dict[str, Change] = {
    "nothing": lambda module, model, value, patch: None,
    "a constant": lambda module, model, value, patch: patch.setattr(module, "SCALE", value),
    "deep in a global": lambda module, model, value, patch: patch.setitem(module.TABLE[1][1], "deep", value),
    "a default": lambda module, model, value, patch: patch.setattr(module.helper, "__defaults__", (value,)),
    "a function": lambda module, model, value, patch: patch.setattr(module, "helper", another_function),
    "a lambda": lambda module, model, value, patch: patch.setattr(module, "helper", lambda x: x * value),
    "a closure": lambda module, model, value, patch: setattr(model, "close", module.make([value])),
    "deep in an attribute": lambda module, model, value, patch: model.settings["a"][1].update(b=value),  # type: ignore[index, union-attr, operator]
    "deep in a frozen layer": lambda module, model, value, patch: model.body.power[1].__setitem__(0, value),  # type: ignore[index, union-attr]
    "a class attribute": lambda module, model, value, patch: patch.setattr(module.Net, "weight", value),
    "an attribute": attribute("", "weight"),
    "a count": lambda module, model, value, patch: setattr(model, "depth", int(value * 3)),
    "a plain tensor": lambda module, model, value, patch: setattr(model, "plain", torch.full((4,), value)),
    "a buffer": lambda module, model, value, patch: model.shift.fill_(value),  # type: ignore[operator, union-attr]
    "a frozen weight": lambda module, model, value, patch: model.body.linear.weight.data.mul_(value),  # type: ignore[union-attr]
    "a head": lambda module, model, value, patch: model.head.weight.data.mul_(value),  # type: ignore[union-attr]
    "an eps": attribute("norm", "eps"),
    "a torch function": lambda module, model, value, patch: patch.setattr(
        torch.nn.functional, "relu", lambda x, inplace=False: x * value
    ),
    "a torch function for another": lambda module, model, value, patch: patch.setattr(
        torch.nn.functional, "relu", torch.nn.functional.softplus
    ),
    "a forward": lambda module, model, value, patch: patch.setattr(
        module.Net, "forward", lambda self, x: self.head(self.norm(self.body(x) * value))
    ),
    "a forward of one object": lambda module, model, value, patch: setattr(
        model,
        "forward",
        lambda x: model.head(model.norm(model.body(x) + value)),  # type: ignore[operator]
    ),
    "a hook": lambda module, model, value, patch: model.body.register_forward_hook(lambda m, i, o: o * value),  # type: ignore[union-attr]
    "a hook before": lambda module, model, value, patch: model.norm.register_forward_pre_hook(  # type: ignore[union-attr]
        lambda m, i: (i[0] + value,)
    ),
    "a layer": lambda module, model, value, patch: setattr(model, "head", nn.Sequential(model.head, nn.ReLU())),
    "what trains": lambda module, model, value, patch: unfreeze(model, ["body"]),
    "what is frozen": lambda module, model, value, patch: freeze(model, ["norm"]),
    "an operation": edited("h + 0.0", "h + {value}"),
    "another operation": edited("F.relu(self.norm(h))", "torch.tanh(self.norm(h)) * {value}"),
    "a number in a helper": edited("return x * by", "return x * by * {value}"),
    "a layer's code": edited("self.linear(x) *", "{value} + self.linear(x) *"),
    "a comment": edited("if self.training:", "if self.training:  # {value}"),
}


@pytest.mark.slow
def test_no_cut_is_stale_after_random_changes(
    net_module: ModuleType, sample: Sample, tmp_path: Path, cuts: list[nn.Module]
) -> None:
    hints, draw = Hints(tmp_path / "cache"), random.Random(0)
    for _ in range(CHANGES):
        with pytest.MonkeyPatch.context() as patch:
            model = made(net_module)
            for name in draw.sample(sorted(CHANGED), draw.choice([1, 1, 2])):
                changed = CHANGED[name](net_module, model, draw.choice([0.0, 0.5, 1.0, 2.0]), patch)
                model = changed if isinstance(changed, net_module.Net) else model
            assert_right(model, sample, hints)
    assert len(cuts) < CHANGES - 60  # and what comes again is known


@pytest.mark.parametrize("name", sorted(set(CHANGED) - {"nothing", "a comment", "a head"}))
def test_each_change_is_another_cut(net_module: ModuleType, name: str) -> None:
    def key(model: nn.Module) -> str | None:
        model.train()
        return cut_key(model, one_tensor((5,)), torch.device("cpu"), (), "1")

    before = key(made(net_module))
    assert before is not None
    with pytest.MonkeyPatch.context() as patch:
        model = made(net_module)
        changed = CHANGED[name](net_module, model, 0.3, patch)
        assert key(changed if isinstance(changed, nn.Module) else model) != before
    assert key(made(net_module)) == before


@pytest.mark.parametrize("read", ["float(os.environ.get('FACTOR', '1'))", "float(pathlib.Path('factor').read_text())"])
def test_a_forward_that_reads_what_is_outside_is_never_known(
    read: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sample: Sample, cuts: list[nn.Module]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = SOURCE.replace("self.body(x) * SCALE", f"self.body(x) * {read}").replace(
        "import torch\n", "import os, pathlib, torch\n"
    )
    Path("reading_net.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    module, hints = importlib.import_module("reading_net"), Hints(tmp_path / "cache")
    for factor in ("1.0", "3.0", "1.0"):
        monkeypatch.setenv("FACTOR", factor)
        Path("factor").write_text(factor)
        assert_right(made(module), sample, hints)
    assert len(cuts) == 3


def test_hooks_on_all_modules_make_nothing_known(net_module: ModuleType) -> None:
    handle = nn.modules.module.register_module_forward_hook(lambda module, inputs, output: None)
    try:
        assert cut_key(made(net_module), one_tensor((5,)), torch.device("cpu"), (), "1") is None
    finally:
        handle.remove()


def test_the_key_is_the_same_in_every_process_folder_and_order(tmp_path: Path) -> None:
    code = (
        "import torch, sys; from torch import nn; from reuse.layers.freezing import freeze\n"
        "from reuse.layout import one_tensor\n"
        "from reuse.fingerprinting.cuts import cut_key; sys.path.insert(0, {folder!r}); {before}\n"
        "import fuzzed_net; torch.manual_seed({seed}); {then}\n"
        "torch.manual_seed(0); model = fuzzed_net.Net(); freeze(model, ['!norm', '!head']); model.train()\n"
        "print(cut_key(model, one_tensor((5,)), torch.device('cpu'), (), '1'))"
    )
    keys = set()
    for number, (before, then) in enumerate(
        [("", ""), ("import timm", "other = fuzzed_net.Net(); other(torch.ones(2, 5))")]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "fuzzed_net.py").write_text(SOURCE)
        line = [sys.executable, "-c", code.format(folder=str(folder), before=before, then=then, seed=number)]
        environment = {**os.environ, "PYTHONHASHSEED": str(number + 1)}
        done = subprocess.run(line, capture_output=True, text=True, check=True, cwd=folder, env=environment)
        keys.add(done.stdout.strip())
    assert len(keys) == 1
    assert "None" not in keys


def test_our_own_networks_are_known(tmp_path: Path, cuts: list[nn.Module]) -> None:
    data = load("digits", labels=60)
    sample, hints = sample_rows(data, Compute(torch.device("cpu"), "float32")), Hints(tmp_path)
    for _ in range(2):
        model = build("mlp:8,6", input_shape=(64,), num_outputs=10, norm="batch", dropout=0.1)
        freeze(model, "hidden1")
        cut_model(model, sample, hints=hints)
    assert len(cuts) == 2  # fresh weights of the frozen layer are another key
    torch.manual_seed(0)
    first = build("mlp:8,6", input_shape=(64,), num_outputs=10)
    torch.manual_seed(0)
    second = build("mlp:8,6", input_shape=(64,), num_outputs=10)
    for model in (first, second):
        freeze(model, "hidden1")
        cut_model(model, sample, hints=hints)
    assert len(cuts) == 3
