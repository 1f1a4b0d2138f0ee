"""Whatever changes about frozen layers, no activation is served that they would not compute now."""

import os
import random
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from attacks.mutable_network import build, load_network
from attacks.mutations import MUTATIONS, Mutation
from caching.prefixes import trace
from listening import Listener
from reuse.caching.cache import ActivationCache
from reuse.caching.chaining import PrefixCaches
from reuse.data.dataset import Dataset
from reuse.data.loading import load
from reuse.devices import Compute
from reuse.features.opening import Opening
from reuse.features.running import run_frozen
from reuse.layers.frontier_tensor import FrontierTensor

SEED = 20261128
COUNT = int(os.environ.get("REUSE_MUTATIONS", "300"))
ROWS = 40
X = np.random.default_rng(0).random((ROWS, 8)).astype(np.float32)
CPU = Compute(torch.device("cpu"), "float32")

pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning", "ignore:`torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.*Overriding a previously registered"),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The place of the network's source and of what it reads, which is the working directory."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "mutable_scale.txt").write_text("0")
    yield tmp_path
    for name in ("mutable_network", "mutable_tools"):
        sys.modules.pop(name, None)


class Prefix(nn.Module):
    """A layer as a cut hands it on, its output in a tuple."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
        return (self.body(x),)


def read(body: nn.Module, data: Dataset) -> str:
    """Read the activations of a layer as a training would; returns how they came: `found`, `computed`, `set aside`.

    Where they are served they are what the layer computes now.
    """
    prefix, frontier = trace(Prefix(body)), (FrontierTensor("body", (6,), torch.float32),)
    caches = PrefixCaches(ActivationCache(Path("cache")), data.preprocessing.to_dict(), CPU, {})
    store, keys = caches.of(prefix, frontier), data.train.inputs.digests()
    opening = Opening(data.train.inputs, CPU, Listener())
    if not opening.may_serve(prefix, store):
        return "set aside"

    def compute(positions: np.ndarray) -> tuple[torch.Tensor, ...]:
        return run_frozen(prefix, data.train.inputs.gather(torch.from_numpy(positions)), CPU)

    filled = store.fill(keys, compute, probe=lambda: opening.probe(prefix))
    (served,) = store.activations(keys).gather(torch.arange(len(data.train)))
    with torch.no_grad():
        now = body(data.train.inputs.gather(torch.arange(len(data.train)))[0])
    same = torch.allclose(served, now, rtol=1e-5, atol=1e-6, equal_nan=True)
    return ("found" if filled.computed == 0 else "computed") if same else "stale"


def test_nothing_is_stale_after_any_mutation(folder: Path) -> None:
    data, draw = load((X, np.arange(ROWS) % 4)), random.Random(SEED)
    outcomes, wrong, known = Counter[str](), [], set[str]()
    for mutation in drawn(draw):
        begun = read(build(load_network(folder, mutation.base))[0], data)
        assert begun == ("found" if mutation.base in known else "computed")
        known.add(mutation.base)
        outcome = after(mutation, folder, draw, data)
        outcomes[outcome] += 1
        if outcome == "stale":
            wrong.append(mutation.name)
        if outcome == "set aside":  # for good, whatever the layer computes by now
            assert read(build(load_network(folder, mutation.base))[0], data) == "set aside"
            ActivationCache(Path("cache")).clear()
            known.clear()
    assert wrong == []
    assert outcomes["computed"] > 0.9 * COUNT, outcomes  # most of it by the key alone


def drawn(draw: random.Random) -> list[Mutation]:
    """Return `COUNT` mutations, each kind as often as any other."""
    rounds = -(-COUNT // len(MUTATIONS))
    return [mutation for _ in range(rounds) for mutation in draw.sample(MUTATIONS, len(MUTATIONS))][:COUNT]


def after(mutation: Mutation, folder: Path, draw: random.Random, data: Dataset) -> str:
    """Change the network as a mutation does, read its activations, and put back what was changed beside it."""
    with ExitStack() as undo:
        body = build(load_network(folder, *mutation.sources(draw)))[0]
        if mutation.change is not None:
            mutation.change(body, draw, undo)
        return read(body, data)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_each_mutation_changes_what_is_computed(folder: Path, mutation: Mutation) -> None:
    """Else the fuzz would show nothing."""
    rows = torch.from_numpy(X)
    with torch.no_grad(), ExitStack() as undo:
        before = build(load_network(folder, mutation.base))[0](rows)
        body = build(load_network(folder, *mutation.sources(draw := random.Random(1))))[0]
        if mutation.change is not None:
            mutation.change(body, draw, undo)
        assert not torch.equal(before, body(rows))
