"""What a layer keeps and does not read into its result costs no row: its key is the same in every process."""

import os
import shutil
import subprocess
import sys
from functools import cached_property
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import reuse
from reuse.caching.cache import ActivationCache
from reuse.caching.chaining import PrefixCaches
from reuse.devices import Compute, moved
from reuse.features.running import run_frozen
from reuse.layers.cutting import cut
from reuse.layers.parts import Cut
from reuse.layers.preparing import note_layout, prepared
from reuse.layout import RowTensor
from reuse.precision import autocast

CPU = torch.device("cpu")
FOLDER = Path(__file__).parents[1]


def keys(program: Path, uses: int, seed: str) -> list[str]:
    """Return the lines of the program in a process of its own, its layers used some times before."""
    path = os.pathsep.join(map(str, (FOLDER, FOLDER.parent)))
    environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": path}
    command = [sys.executable, str(program), str(uses)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_twenty_layers_have_one_key_in_three_processes_used_or_not(tmp_path: Path) -> None:
    program = FOLDER / "attacks" / "keeping_models.py"
    elsewhere = tmp_path / "another_name.py"
    shutil.copy(program, elsewhere)
    first, *others = keys(program, 0, "0"), keys(program, 3, "1"), keys(elsewhere, 1, "2")
    assert len(first) == 20
    assert len({line.split()[1] for line in first}) >= 15, "most of them compute something of their own"
    for other in others:
        assert [one for one, again in zip(first, other, strict=True) if one != again] == []


def convolutions() -> nn.Sequential:
    torch.manual_seed(0)
    blocks = [nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*blocks, nn.Linear(32, 3)).eval()


def test_weights_that_lie_otherwise_in_memory_find_what_is_cached() -> None:
    """Kernels round otherwise for them, which a probe must not take for another computation."""
    pictures = TensorDataset(torch.rand(20, 3, 16, 16, generator=torch.Generator().manual_seed(0)))
    assert reuse.cached(convolutions(), pictures, freeze="!5").computed == 20
    lying = convolutions().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert reuse.cached(lying, pictures, freeze="!5").computed == 0
    assert reuse.cached(convolutions(), pictures, freeze="!5").computed == 0


def test_weights_that_lie_otherwise_and_compute_something_else_are_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_SCALE", "1")
    pictures = TensorDataset(torch.rand(20, 3, 16, 16, generator=torch.Generator().manual_seed(0)))
    model = convolutions()
    model[1] = ScaledByEnvironment()
    assert reuse.cached(model, pictures, freeze="!5").computed == 20
    monkeypatch.setenv("TEST_SCALE", "1.001")
    lying = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with pytest.warns(UserWarning, match="set aside"):
        assert reuse.cached(lying, pictures, freeze="!5").computed == 20


class ScaledByEnvironment(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * float(os.environ["TEST_SCALE"])


class Lazy(nn.Module):
    """A layer that prepares something on its first call."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)


class MakesTable(Lazy):
    table: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.table is None:
            self.table = torch.arange(8.0)
        return self.linear(x) + self.table


class MakesTables(Lazy):
    def __init__(self) -> None:
        super().__init__()
        self.tables: dict[int, torch.Tensor] = {}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        width = x.shape[1]
        if width not in self.tables:
            self.tables[width] = torch.arange(float(width))
        return self.linear(x) + self.tables[width]


class KeepsProperty(Lazy):
    @cached_property
    def table(self) -> torch.Tensor:
        return torch.arange(8.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) + self.table


class GrowsTable(Lazy):
    longest = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[1] > self.longest:
            self.longest = x.shape[1]
            self.cosines = torch.arange(float(self.longest)).cos()
        return self.linear(x) * self.cosines[: x.shape[1]]


class WarnsOnce(Lazy):
    warned = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.warned:
            self.warned = True
        return self.linear(x)


def lazy_network(kind: type[Lazy]) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(kind(), nn.Linear(8, 3)).eval()


@pytest.mark.parametrize("kind", [MakesTable, MakesTables, KeepsProperty, GrowsTable, WarnsOnce])
def test_a_model_that_was_used_finds_what_a_fresh_one_has_cached(kind: type[Lazy]) -> None:
    rows = TensorDataset(torch.rand(20, 8, generator=torch.Generator().manual_seed(0)))
    fresh, used = lazy_network(kind), lazy_network(kind)
    with torch.no_grad():
        used(torch.rand(3, 8))
    before = dict(vars(fresh[0]))
    assert reuse.cached(fresh, rows, freeze="0").computed == 20
    assert reuse.cached(fresh, rows, freeze="0").computed == 0
    assert reuse.cached(used, rows, freeze="0").computed == 0
    assert before.keys() <= vars(fresh[0]).keys()


@pytest.mark.parametrize("kind", [MakesTable, MakesTables, KeepsProperty, GrowsTable])
def test_a_table_that_was_changed_is_another_computation(kind: type[Lazy]) -> None:
    rows = TensorDataset(torch.rand(20, 8, generator=torch.Generator().manual_seed(0)))
    assert reuse.cached(lazy_network(kind), rows, freeze="0").computed == 20
    used = lazy_network(kind)
    with torch.no_grad():
        used(torch.rand(3, 8))
    held = [*vars(used[0]).values(), *vars(used[0]).get("tables", {}).values()]
    next(value for value in held if isinstance(value, torch.Tensor)).add_(1)
    features = reuse.cached(used, rows, freeze="0")
    assert features.computed == 20
    with torch.no_grad():
        torch.testing.assert_close(torch.stack(list(features)), used[0](rows.tensors[0]))


def test_what_a_layer_sets_by_its_first_rows_is_left_to_them() -> None:
    class Normalises(Lazy):
        mean: torch.Tensor | None = None

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.mean is None:
                self.mean = x.mean(0).detach()
            return self.linear(x - self.mean)

    rows = torch.rand(20, 8, generator=torch.Generator().manual_seed(0))
    used = lazy_network(Normalises)
    with torch.no_grad():
        expected = used[0](rows)  # the first rows that it is given
    features = reuse.cached(used, TensorDataset(rows), freeze="0")
    torch.testing.assert_close(torch.stack(list(features)), expected)
    assert torch.equal(used[0].mean, rows.mean(0))  # type: ignore[arg-type]


class MakesTableOfProducts(Lazy):
    """The type of its table is that in which products are computed."""

    table: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.linear(x)
        if self.table is None:
            self.table = torch.arange(8.0, dtype=x.dtype).cos()
        return x + self.table


class TakesWhitened(MakesTableOfProducts):
    """It refuses rows without a number below 0."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.min() >= 0:
            raise ValueError(f"expected whitened rows, got numbers from {x.min()}")
        return super().forward(x)


class RefusesInTheMiddle(Lazy):
    """It has the half of what it prepares where it refuses rows of few numbers."""

    table: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.table is None:
            self.table = torch.zeros(8)
            if x.abs().max() < 9:
                raise ValueError("expected rows of larger numbers")
            self.table = torch.arange(8.0)
        return self.linear(x) + self.table


def cut_off(kind: type[Lazy], rows: torch.Tensor, compute: Compute) -> Cut:
    """Return the cut of a frozen layer of this kind in front of a head."""
    model = lazy_network(kind).to(compute.dtype)
    reuse.freeze(model, "0")
    with autocast(compute.precision, CPU):
        parts = cut(model, moved(rows, compute))
    note_layout(parts, (RowTensor.of("", rows),))
    return parts


def key_of(parts: Cut, compute: Compute) -> str:
    return PrefixCaches(ActivationCache(Path("cache")), {}, compute, {}).print_of(parts.prefix, parts.frontier).key


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float64"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", [MakesTableOfProducts, MakesTable, TakesWhitened])
def test_what_is_prepared_is_so_as_it_is_for_rows(kind: type[Lazy], dtype: torch.dtype, precision: str) -> None:
    rows = torch.rand(20, 8, generator=torch.Generator().manual_seed(0)).to(dtype) - 0.5
    compute = Compute(CPU, precision)
    fresh, used = cut_off(kind, rows, compute), cut_off(kind, rows, compute)
    run_frozen(used.prefix, (moved(rows, compute),), compute)
    assert key_of(used, compute) == key_of(fresh, compute)
    assert key_of(fresh, compute) == key_of(fresh, compute)


def test_what_a_refused_row_prepared_in_part_is_no_part_of_a_key() -> None:
    compute = Compute(CPU, "float32")
    parts = cut_off(RefusesInTheMiddle, torch.full((20, 8), 10.0), compute)
    layer = next(module for module in parts.prefix.modules() if isinstance(module, RefusesInTheMiddle))
    with prepared(parts.prefix, compute):
        assert layer.table is None
