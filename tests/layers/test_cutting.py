"""Small models that each hold one thing that makes cutting hard; the architectures of timm are in test_cutting_timm."""

import contextlib
import copy
import os
import random
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from reuse.errors import CutError
from reuse.layers import attempting, constancy, cutting
from reuse.layers.cutting import cut
from reuse.layers.freezing import freeze
from reuse.layers.parts import Cut
from reuse.layers.splicing import build_suffix


class Skip(nn.Module):
    """A skip connection across the cut."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        return self.c(self.b(F.relu(y)) + y)


class ClassToken(nn.Module):
    """A frozen token expanded to the batch size, a position table, a sequence-first part."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.place = nn.Parameter(torch.randn(1, 1, 4)), nn.Parameter(torch.randn(1, 4, 4))
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[0]
        x = torch.cat([self.token.expand(size, -1, -1), self.a(x)], dim=1) + self.place
        x = x.transpose(0, 1)
        return self.b(x)[0].view(size, -1)


class Windows(nn.Module):
    """Windows folded into the batch dimension, the frontier inside them."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        size, length, width = x.shape
        folded = self.a(x.reshape(size * (length // 2), 2, width))
        return self.c(self.b(folded).view(size, length, -1).mean(1))


class WritesInPlace(nn.Module):
    """Frozen values read before and after a write in place, through an alias too."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.shift, self.c = nn.Linear(4, 4), nn.Parameter(torch.randn(4)), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        view = y[:, :2]
        before = y + self.shift
        y += 1
        view.mul_(2)
        y[:, 3] = 0
        return self.c(before + y)


class WritesTrained(nn.Module):
    """The suffix writes into a frontier tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.scale, self.c = nn.Linear(4, 4), nn.Parameter(torch.randn(4)), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        y.add_(self.scale)
        return self.c(torch.relu_(y))


class NormedThenWritten(nn.Module):
    """A frozen value into which a live batch norm's output, which mixes rows, is added in place."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.norm, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        y += self.norm(self.b(x))
        return self.c(y)


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor, z: Tensor, scale: float = 2.0) -> Tensor:
        return self.c(self.a(x) * scale + self.b(z))


class ModeInGlue(nn.Module):
    """Glue that does something else while training: two frontiers in one."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        if self.training:
            y = y * 2
        return self.b(F.dropout(y, 0.0, self.training))


class Branching(nn.Module):
    """Control flow on a value: torch.fx cannot follow the module, so it is one call."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x)) if x.sum() > -1e9 else x


def around(inner: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 4), inner, nn.Linear(4, 2))


X = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))
SEQUENCE = torch.randn(7, 3, 4, generator=torch.Generator().manual_seed(1))
EVEN = torch.randn(7, 4, 3, generator=torch.Generator().manual_seed(2))

CASES: dict[str, tuple[Callable[[], nn.Module], str, tuple[Tensor, ...], list[tuple[int, ...]]]] = {
    "skip": (Skip, "a", (X,), [(4,)]),
    "class token": (ClassToken, "token,a,place", (SEQUENCE,), [(4, 4)]),
    "windows": (Windows, "a", (EVEN,), [(2, 2, 4)]),
    "writes in place": (WritesInPlace, "a", (X,), [(4,)]),
    "writes of the suffix": (WritesTrained, "a", (X,), [(4,)]),
    "written by what mixes rows": (NormedThenWritten, "a,b", (X,), [(4,), (4,)]),
    "two inputs": (TwoInputs, "a,b", (X, X[:, :3]), [(4,)]),
    "one input frozen": (TwoInputs, "a", (X, X[:, :3]), [(4,), (3,)]),
    "mode in glue": (ModeInGlue, "a", (X,), [(4,)]),
    "an untraceable module": (lambda: around(Branching()), "0,1.a", (X,), [(4,)]),
    "pooling before the head": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 3, 1), nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
        ),
        "0",
        (X.view(7, 1, 2, 2),),
        [(3,)],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_cut_computes_what_the_model_computes(name: str) -> None:
    make, patterns, inputs, frontier = CASES[name]
    torch.manual_seed(3)
    model = make().double()
    inputs = tuple(t.double() for t in inputs)
    freeze(model, patterns)
    parts = cut(model, tuple(t[:1] for t in inputs))
    assert sorted(t.shape for t in parts.frontier) == sorted(frontier)
    for rows in (7, 2, 4):
        for mode in (True, False):
            assert_equal_runs(model.train(mode), parts, tuple(t[:rows] for t in inputs))


def assert_equal_runs(model: nn.Module, parts: Cut, inputs: tuple[Tensor, ...]) -> None:
    """Outputs and gradients agree, and the frontier tensors given to the suffix are not written into."""
    expected = model(*(t.clone() for t in inputs))
    expected.square().sum().backward()
    wanted = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    with torch.no_grad():
        frontier = parts.prefix(*(t.clone() for t in inputs))
    kept = [t.clone() for t in frontier]
    got = parts.suffix(*frontier)
    got.square().sum().backward()
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    assert found.keys() == wanted.keys()
    for parameter, gradient in wanted.items():
        torch.testing.assert_close(found[parameter], gradient, rtol=1e-10, atol=1e-12)
    assert all(torch.equal(a, b) for a, b in zip(kept, frontier, strict=True))


def test_the_suffix_trains_the_model() -> None:
    model = Skip()
    freeze(model, "a")
    parts = cut(model, X)
    assert {n for n, _ in parts.suffix.named_parameters()} == {"b.weight", "b.bias", "c.weight", "c.bias"}
    assert all(p is model.get_parameter(n) for n, p in parts.suffix.named_parameters())
    parts.suffix.eval()
    assert not model.training


def test_cutting_leaves_the_model_as_it_was() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    nn.init.zeros_(model[2].weight)
    freeze(model, "0")
    model.train()
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    cut(model, X)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert model[1].training
    assert not model[0].training


def test_live_batch_norm_and_dropout_are_not_cached() -> None:
    model = nn.Sequential(
        nn.Linear(4, 4), nn.BatchNorm1d(4, affine=False), nn.Linear(4, 4), nn.Dropout(), nn.Linear(4, 2)
    )
    freeze(model, "0")
    assert [t.name for t in cut(model, X).frontier] == ["_0"]
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.2), nn.ReLU(), nn.Linear(4, 2))
    freeze(model, "0")
    assert [t.name for t in cut(model, X).frontier] == ["_0"]


def test_rows_that_depend_on_each_other_are_not_cached() -> None:
    class Centred(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            y = self.a(x)
            return self.b(F.relu(y - y.mean(0)))

    model = Centred()
    freeze(model, "a")
    assert [t.name for t in cut(model, X).frontier] == ["a"]


class Scaled(nn.Module):
    def __init__(self, scale: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.a, self.b, self.scale = nn.Linear(4, 4), nn.Linear(4, 2), scale

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        return self.b(F.relu(y / self.scale(y)))


@pytest.mark.parametrize("scale", [lambda y: y.abs().max(), lambda y: 1 + (y - y.mean(0)).abs(), lambda y: y.norm()])
@pytest.mark.parametrize("example", ["same", "distinct"])
@pytest.mark.parametrize("seed", range(6))
def test_a_statistic_over_the_batch_is_found_whatever_the_rows(scale: Any, example: str, seed: int) -> None:
    torch.manual_seed(seed)
    model = Scaled(scale)
    freeze(model, "a")
    parts = cut(model, torch.zeros(5, 4) if example == "same" else torch.randn(5, 4))
    assert [t.name for t in parts.frontier] == ["a"]
    rows = torch.randn(8, 4)
    for mode in (True, False):
        model.train(mode)
        torch.testing.assert_close(parts.suffix(*(t[2:6] for t in parts.prefix(rows))), model(rows[2:6]))


def test_a_buffer_that_is_replaced_is_put_back() -> None:
    class Running(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 2)
            self.register_buffer("mean", torch.zeros(4))

        def forward(self, x: Tensor) -> Tensor:
            y = self.a(x)
            self.mean = 0.9 * self.mean + 0.1 * y.mean(0).detach()
            return self.b(y - self.mean)

    model = Running()
    freeze(model, "a")
    before = model.mean
    with contextlib.suppress(CutError):
        cut(model, X)
    assert model.mean is before
    assert torch.equal(before, torch.zeros(4))


def test_noise_from_any_generator_is_not_cached() -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(wobble(self.a(x)))

    model = Noisy()
    freeze(model, "a")
    assert [t.name for t in cut(model, X).frontier] == ["a"]


@fx.wrap
def wobble(x: Tensor) -> Tensor:
    return x * (1 + 1e-9 * random.random())


def test_a_hooked_module_stays_one_call() -> None:
    model = around(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)))
    seen: list[int] = []
    model[1].register_forward_hook(lambda module, args, output: seen.append(1))
    freeze(model, "0,1.0")
    parts = cut(model, X)
    assert [t.name for t in parts.frontier] == ["_0"]
    seen.clear()
    parts.suffix(*parts.prefix(X))
    assert seen == [1]


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda m: None, "nothing is frozen"),
        (lambda m: m.requires_grad_(False), "everything is frozen"),
        (lambda m: freeze(m, "2"), "no frozen layer comes before the first layer that trains"),
        (
            lambda m: (freeze(m, "0"), m.register_forward_hook(lambda *a: None)),
            "the model itself has forward or backward hooks",
        ),
    ],
)
def test_a_model_that_cannot_be_cut_says_why(prepare: Callable[[nn.Module], object], reason: str) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    prepare(model)
    with pytest.raises(CutError, match=reason):
        cut(model, X)


def test_an_error_behind_a_zero_branch_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A residual scale of zero must not hide a suffix that computes something else."""

    class Zero(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.scale, self.b = nn.Linear(4, 4), nn.Parameter(torch.zeros(4)), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            y = self.a(x)
            return self.b(y + (self.scale * y).tanh())

    def broken(*args: Any) -> fx.GraphModule:
        module = build_suffix(*args)
        for node in module.graph.nodes:
            if "tanh" in str(node.target):
                node.op, node.target = "call_function", torch.relu
        module.recompile()
        return module

    model = Zero()
    freeze(model, "a")
    assert cut(model, X).engine == "torch.fx"
    monkeypatch.setattr(attempting, "build_suffix", broken)
    monkeypatch.setattr(cutting, "trace_own_forward", None)  # has no graph that could be broken so
    with pytest.raises(CutError, match="do not compute what it computes"):
        cut(model, X)


def test_what_trains_is_never_in_front_of_a_cut_even_if_an_engine_takes_it_for_constant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sees = constancy.holds_trainable
    monkeypatch.setattr(constancy, "holds_trainable", lambda node, model: sees(node, model) and node.target != "1")
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    freeze(model, "0")
    parts = cut(model, torch.randn(3, 4))
    assert parts.engine == "torch.export"  # whose nodes have other names
    assert not any(parameter.requires_grad for parameter in parts.prefix.parameters())
    assert {name for name, _ in parts.suffix.named_parameters()} >= {"1.weight", "2.weight"}


def test_parameters_of_a_suffix_come_in_one_order_in_every_process() -> None:
    """Optimizers and replicas go by their order, and Python orders the names in a set anew in each process."""
    program = (
        "import torch, reuse; model = reuse.build('mlp:7,6,5,4', (3,), 2, norm='batch'); "
        "reuse.freeze(model, 'hidden1'); cut = reuse.cut(model, torch.randn(6, 3)); "
        "print([name for name, _ in cut.suffix.named_parameters()])"
    )
    orders = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(orders) == 1
