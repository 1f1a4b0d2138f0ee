"""A cut held to its model: outputs, gradients and what three training steps leave behind, in both modes, on any rows.

A model is made twice from one seed: one copy is cut and trained behind the cut, the other is trained as it is.
"""

import copy
import os
import random
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from reuse.errors import CutError
from reuse.layers.cutting import cut
from reuse.layers.freezing import freeze
from reuse.layers.parts import Cut

ALL_FAMILIES = os.environ.get("REUSE_FAMILIES") == "all"  # what takes minutes too
ROWS = 7  # that inputs hold at least; each test takes 1, 2 and 5 of them


class ThreeLayers(nn.Module):
    """A layer `a` that a test freezes, and `b` and `c` that train behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Linear(4, 4).double() for _ in range(3))


def doubled(*layers: nn.Module) -> nn.Module:
    """Return layers in a row, in double precision."""
    return nn.Sequential(*layers).double()


@dataclass(frozen=True)
class Case:
    """A model that is hard to cut.

    Attributes:
        make: the model, in double precision.
        frozen: patterns of what is frozen.
        inputs: positional arguments, or keywords, of at least `ROWS` rows.
        refusal: what the refusal says, a regular expression; None: it must be cut.
        frontier: shapes of a row of what must be stored, in any order; None: whatever there is.
    """

    make: Callable[[], nn.Module]
    frozen: Any
    inputs: Any
    refusal: str | None = None
    frontier: list[tuple[int, ...]] | None = None


def build(case: Case, seed: int = 3) -> nn.Module:
    """Return the model with random parameters and buffers, and its frozen layers."""
    with seeded(seed):
        model = case.make()
        randomise(model)
        freeze(model, case.frozen)
    return model


def randomise(model: nn.Module) -> None:
    """Open every branch: fresh scales of zero would hide what lies behind them."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += torch.randn_like(parameter) * (0.02 if parameter.dim() > 1 else 0.1)
        for name, buffer in model.named_buffers():
            if buffer.is_floating_point() and name.endswith("var"):
                buffer.copy_(torch.rand_like(buffer) + 0.5)
            elif buffer.is_floating_point() and buffer.numel() > 1:
                buffer += torch.randn_like(buffer) * 0.1


def cut_or_refuse(model: nn.Module, inputs: Any) -> Cut | CutError:
    """Return the cut or the refusal; either must leave the model and all random state as they were."""
    before, drawn = snapshot(model), random_numbers()
    result: Cut | CutError
    try:
        result = cut(model, inputs)
    except CutError as error:
        result = error
        text = str(error)
        assert "\n" not in text, text
    assert_same(snapshot(model), before, 0.0, "cutting moved the model")
    assert drawn == random_numbers(), "cutting moved a random state"
    return result


def assert_exact(case: Case, model: nn.Module, parts: Cut, tolerance: float = 1e-9) -> None:
    """A cut model computes and learns what its twin does."""
    twin = build(case)
    fresh = copy.deepcopy(twin.state_dict())
    for mode in (True, False):
        for rows in ([3], [4, 1], [6, 0, 3, 2, 5]):
            twin.load_state_dict(fresh), model.load_state_dict(fresh)  # a pass that fails moves buffers half-way
            assert_same_pass(twin.train(mode), model.train(mode), parts, case.inputs, rows, tolerance)
    twin = build(case).train()
    model.load_state_dict(fresh)
    put_back(twin, model)
    for one in (twin, model.train()):  # what a layer prepares on its first call, a cut has no need to
        with torch.no_grad(), seeded(8):
            call(one, picked(case.inputs, [2, 1]))
    train(twin, lambda rows: call(twin, picked(case.inputs, rows)))
    train(model.train(), lambda rows: parts.suffix(*stored(model, parts, case.inputs, rows)))
    assert_same(snapshot(model), snapshot(twin), 10 * tolerance, "after three steps")


def assert_same_pass(
    twin: nn.Module, model: nn.Module, parts: Cut, inputs: Any, rows: list[int], tolerance: float
) -> None:
    try:
        with seeded(5):
            expected = call(twin, picked(inputs, rows))
    except ValueError as error:
        assert "more than 1 value per channel" in str(error)  # noqa: PT017 - batch norm cannot train on one row
        return
    wanted = gradients(twin, expected)
    frontier = stored(model, parts, inputs, rows)
    kept = [t.clone() for t in frontier]
    with seeded(5):
        got = parts.suffix(*frontier)
    found = gradients(model, got)
    where = f"{len(rows)} rows, {'training' if model.training else 'evaluation'}"
    assert_same(got, expected, tolerance, where)
    assert_same(found, wanted, 10 * tolerance, f"gradients, {where}")
    assert_same(list(frontier), kept, 0.0, "the suffix wrote into the frontier")


def stored(model: nn.Module, parts: Cut, inputs: Any, rows: list[int]) -> tuple[Tensor, ...]:
    """Return rows of the frontier as a cache gives them: computed in the company of all others."""
    mode = model.training
    model.eval()
    with torch.no_grad(), seeded(9):
        every = call(parts.prefix, inputs)
    model.train(mode)
    assert [(t.shape[1:], t.dtype) for t in every] == [(f.shape, f.dtype) for f in parts.frontier]
    return tuple(t[rows].clone() for t in every)


def train(model: nn.Module, forward: Callable[[list[int]], Any]) -> None:
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.05, momentum=0.9)
    for step, rows in enumerate(([0, 1, 2], [3, 4, 5, 6], [2, 0])):
        optimizer.zero_grad()
        with seeded(20 + step):
            outputs = forward(rows)
        loss(outputs).backward()
        optimizer.step()


def call(module: nn.Module, inputs: Any) -> Any:
    inputs = copied(inputs)
    if isinstance(inputs, Tensor):
        return module(inputs)
    return module(**inputs) if isinstance(inputs, Mapping) else module(*inputs)


def picked(inputs: Any, rows: list[int]) -> Any:
    return tree_map_only(Tensor, lambda t: t[rows], inputs)


def copied(inputs: Any) -> Any:
    return tree_map_only(Tensor, torch.clone, inputs)


def loss(outputs: Any) -> Tensor:
    leaves = [t for t in tensors(outputs) if t.is_floating_point() and t.requires_grad]
    weights = (torch.linspace(0.5, 1.5, t.numel(), dtype=t.dtype).view_as(t) for t in leaves)
    return sum((t * weight).sum() + t.square().mean() for t, weight in zip(leaves, weights, strict=True))


def gradients(model: nn.Module, outputs: Any) -> dict[str, Tensor]:
    if not any(t.requires_grad for t in tensors(outputs)):
        return {}
    model.zero_grad()
    loss(outputs).backward()
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def tensors(value: Any) -> Iterator[Tensor]:
    for leaf in tree_leaves(value):
        if isinstance(leaf, Tensor):
            yield leaf
        elif is_dataclass(leaf):
            yield from tensors([getattr(leaf, f.name) for f in fields(leaf)])
        elif isinstance(leaf, Mapping):
            yield from tensors(list(leaf.values()))


def assert_same(got: Any, expected: Any, tolerance: float, where: str) -> None:
    """Two values agree: types, keys, numbers."""
    assert type(got) is type(expected), f"{where}: {type(got)} for {type(expected)}"
    if isinstance(expected, Tensor):
        assert got.dtype == expected.dtype, where
        scale = expected.detach().to_dense().double().abs().max().item() if expected.numel() else 0.0
        torch.testing.assert_close(
            got.to_dense(),
            expected.to_dense(),
            rtol=tolerance,
            atol=tolerance * max(scale, 1e-3),
            msg=lambda text: f"{where}: {text}",
            equal_nan=True,
        )
    elif isinstance(expected, Mapping):
        assert list(got) == list(expected), f"{where}: {list(got)} for {list(expected)}"
        for key in expected:
            assert_same(got[key], expected[key], tolerance, f"{where}, {key}")
    elif isinstance(expected, list | tuple):
        assert len(got) == len(expected), where
        for number, (a, b) in enumerate(zip(got, expected, strict=True)):
            assert_same(a, b, tolerance, f"{where}, {number}")
    elif is_dataclass(expected):
        for field in fields(expected):
            a, b = getattr(got, field.name), getattr(expected, field.name)
            assert_same(a, b, tolerance, f"{where}, {field.name}")
    elif isinstance(expected, np.ndarray):
        assert np.array_equal(got, expected), where
    else:
        assert got == expected, f"{where}: {got} for {expected}"


PLAIN = (Tensor, int, float, str, bool, type(None), list, dict, tuple)


def snapshot(model: nn.Module) -> dict[str, Any]:
    """Return a copy of a model's parameters, buffers, modes and plain attributes."""
    state: dict[str, Any] = {}
    for name, module in model.named_modules():
        for kind in ("_parameters", "_buffers"):
            for key, tensor in getattr(module, kind).items():
                state[f"{name}.{key}"] = None if tensor is None else tensor.detach().clone()
        for key, value in vars(module).items():
            if not key.startswith("_") and isinstance(value, PLAIN):
                state[f"{name}.{key}"] = copied(copy.copy(detached(value)))
    return state


def put_back(source: nn.Module, model: nn.Module) -> None:
    """Give a model the plain attributes of a fresh one."""
    for fresh, module in zip(source.modules(), model.modules(), strict=True):
        for key, value in vars(fresh).items():
            if not key.startswith("_") and isinstance(value, PLAIN) and key in vars(module):
                vars(module)[key] = copied(copy.copy(value))
            elif isinstance(value, random.Random) and key in vars(module):
                vars(module)[key].setstate(value.getstate())


def detached(value: Any) -> Any:
    return tree_map_only(Tensor, torch.detach, value)


def random_numbers() -> tuple[Any, ...]:
    numpy_state = np.random.get_state()  # noqa: NPY002
    return torch.get_rng_state().tolist(), numpy_state[1].tolist(), numpy_state[2], random.getstate()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    torch.manual_seed(seed), np.random.seed(seed), random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        torch.set_rng_state(states[0]), np.random.set_state(states[1]), random.setstate(states[2])  # noqa: NPY002


def hold_to_model(case: Case, tolerance: float = 1e-9) -> None:
    """Assert that a case is cut and exact, or refused for its reason."""
    torch.manual_seed(0)
    model = build(case)
    result = cut_or_refuse(model, picked(case.inputs, [0, 1, 2]))
    if isinstance(result, CutError):
        assert case.refusal is not None, f"refused: {result}"
        assert re.search(case.refusal, str(result)), result
        return
    assert_exact(case, model, result, tolerance)
    assert case.refusal is None, f"cut at {[t.name for t in result.frontier]}"
    if case.frontier is not None:
        assert sorted(t.shape for t in result.frontier) == sorted(case.frontier)
