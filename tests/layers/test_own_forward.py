"""Cuts behind which a model's own forward runs, as it is no graph: exact, or refused, or an error with what to do."""

import copy
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from operator import attrgetter
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.dlpack import from_dlpack, to_dlpack

from exact_cuts import ROWS, Case, ThreeLayers, assert_exact, build, hold_to_model, picked
from reuse.errors import CutError
from reuse.layers.cutting import cut
from reuse.layers.freezing import freeze
from reuse.layers.suffix import called_and_read

X = torch.randn(ROWS, 4, generator=torch.Generator().manual_seed(1)).double()
SEQUENCES = torch.randn(ROWS, 5, 4, generator=torch.Generator().manual_seed(2)).double()
LENGTHS = torch.tensor([2, 5, 3, 1, 4, 5, 2])


class RowByRow(ThreeLayers):
    """Rows are gone through one by one behind the frozen layer."""

    def forward(self, x: Tensor) -> Tensor:
        return self.c(torch.stack([self.b(row) for row in self.a(x)]))


class OwnLengths(ThreeLayers):
    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        hidden = self.a(x)
        return self.b(torch.stack([hidden[row, : lengths[row]].mean(0) for row in range(x.shape[0])]))


class BranchesOnValues(ThreeLayers):
    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        return torch.cat([self.b(row[None]) if row.sum() > 0 else self.c(row[None]) for row in y])


class Chained(nn.Module):
    """Frozen layers in a row with one without parameters between, and a step of Python's behind."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.ModuleList([nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)]).double()
        self.head = nn.Linear(3, 2).double()

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.body:
            x = layer(x)
        return torch.stack([self.head(row) for row in x])


class Skips(ThreeLayers):
    """What the forward reads of the input is stored too."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.b(row) + given for row, given in zip(self.a(x), x, strict=True)])


class Twice(ThreeLayers):
    """One frozen layer is called on two inputs."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.stack([self.b(one - other) for one, other in zip(self.a(x), self.a(y), strict=True)])


class Hands(ThreeLayers):
    """A frozen layer returns a dictionary, which another one takes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = GivesDictionary(), TakesDictionary()

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.c(row) for row in self.second(self.first(x))])


class GivesDictionary(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4).double()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"up": self.linear(x), "down": -self.linear(x)}


class TakesDictionary(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4).double()

    def forward(self, given: dict[str, Tensor]) -> Tensor:
        return self.linear(given["up"]).tanh() * given["down"]


class Collects(ThreeLayers):
    """A hook of a frozen layer puts what it returns where the forward finds it."""

    def __init__(self) -> None:
        super().__init__()
        self.a.register_forward_hook(self.collect)
        self.found: list[Tensor] = []

    def collect(self, module: nn.Module, given: Any, value: Tensor) -> None:
        self.found.append(value)

    def forward(self, x: Tensor) -> Tensor:
        self.a(x)
        return torch.stack([self.b(row) for row in self.found.pop()])


class InBuffers(ThreeLayers):
    """A batch norm that trains behind a loop."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.dropout = nn.BatchNorm1d(4).double(), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.norm(torch.stack([self.b(row) for row in self.a(x)])))


class WritesInto(ThreeLayers):
    """Rows of a frozen layer are written into."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        for row in y:
            row.clamp_(min=0)
        return self.b(y)


class WritesFirst(ThreeLayers):
    """The input is written into before the frozen layer takes it, by a step that no graph holds."""

    def forward(self, x: Tensor) -> Tensor:
        x.mul_(float(self.b.weight.detach().sum()))
        return self.b(self.a(x))


class OnceMore(ThreeLayers):
    """The frozen layer is called anew on what trains."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.a(self.b(row)) for row in self.a(x)])


class ByChance(ThreeLayers):
    """Chance decides what the frozen layer is given."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training and random.random() < 0.5:
            x = x * 2
        return self.b(self.a(x))


class BehindWhatTrains(ThreeLayers):
    """A frozen layer is given what trains, without gradients."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.c(row) for row in self.a(self.b(x).detach())])


CASES = {
    "row by row": Case(RowByRow, "a", (X,), frontier=[(4,)]),
    "rows of own lengths": Case(OwnLengths, "a", (SEQUENCES, LENGTHS), frontier=[(5, 4), ()]),
    "branches on values": Case(BranchesOnValues, "a", (X,), frontier=[(4,)]),
    "layers in a row": Case(Chained, "body", (X,), frontier=[(3,)]),
    "half of the layers in a row": Case(Chained, "body.0", (X,), frontier=[(6,)]),
    "an input that is read": Case(Skips, "a", (X,), frontier=[(4,), (4,)]),
    "two calls": Case(Twice, "a", (X, X.flip(0)), frontier=[(4,), (4,)]),
    "two calls on one input": Case(lambda: Around(Twice()), "inner.a", (X,), frontier=[(4,)]),
    "by keywords": Case(Twice, "a", {"y": X, "x": X.flip(0)}, frontier=[(4,), (4,)]),
    "a dictionary": Case(Hands, "first", (X,), frontier=[(4,), (4,)]),
    "a dictionary handed on": Case(Hands, "first,second", (X,), frontier=[(4,)]),
    "buffers and dropout": Case(InBuffers, "a", (X,), frontier=[(4,)]),
    "what is written into": Case(WritesInto, "a", (X,), frontier=[(4,)]),
    "called again": Case(OnceMore, "a", (X,), frontier=[(4,)]),
    "an input that is written into": Case(WritesFirst, "a", (X,), "cannot be followed"),
    "a hook that collects": Case(Collects, "a", (X,), "cannot be followed through"),
    "given by chance": Case(ByChance, "a", (X,), "draws random numbers to decide"),
    "behind what trains": Case(BehindWhatTrains, "a", (X,), "or goes through them one by one"),
}


class Around(nn.Module):
    """A model whose part takes its input twice."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x, x)


@pytest.mark.parametrize("name", CASES)
def test_exact_or_refused(name: str) -> None:
    hold_to_model(CASES[name])


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name].refusal is None])
def test_a_frozen_layer_is_not_computed_behind_the_cut(name: str) -> None:
    model = build(CASES[name])
    parts = cut(model, picked(CASES[name].inputs, [0, 1, 2]))
    assert parts.engine == "own forward"
    frozen = {n for n, p in model.named_parameters() if not p.requires_grad}
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    held = {n for graph in parts.suffix.graphs for n in called_and_read(graph)}
    assert not parts.uncached or name == "half of the layers in a row"
    assert {n for n, _ in parts.suffix.named_parameters()} == (trained | set(parts.uncached))
    assert not any(n.startswith(tuple(f"{h}." for h in held)) for n in frozen - set(parts.uncached))


def test_another_way_than_when_it_was_cut_is_an_error_that_says_what_to_do() -> None:
    class Late(ThreeLayers):
        switch = False

        def forward(self, x: Tensor) -> Tensor:
            rows = torch.stack([self.b(row) for row in self.a(x)])
            return rows + x if self.switch else rows

    model = Late()
    freeze(model, "a")
    parts = cut(model, X)
    model.switch = True
    with pytest.raises(CutError, match=r"did not read when it was cut.*: go without the cache"):
        parts.suffix(*parts.prefix(X))


@pytest.mark.parametrize("make", [RowByRow, InBuffers])
def test_layers_are_their_own_again_behind_each_call(make: Callable[[], nn.Module]) -> None:
    model = make()
    freeze(model, "a")
    expected = model.eval()(X)
    parts = cut(model, X)
    parts.suffix(*parts.prefix(X))
    with pytest.raises(RuntimeError):
        parts.suffix(torch.zeros(3, 4))  # float32: fails half-way
    assert "forward" not in vars(model.a)
    torch.testing.assert_close(model.eval()(X), expected, rtol=0, atol=0)


BIG = X + 60 * torch.tensor([-1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0])[:, None]  # some of these rows go other ways


class Inner(nn.Module):
    """A layer with settings of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.scale, self.scales, self.table = (
            nn.Parameter(torch.ones(4).double()),
            1.0,
            [1.0],
            torch.ones(4),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight * self.scale * self.scales[0] * self.table


class Settings(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.eye(4).double()), nn.Parameter(torch.zeros(4).double())
        self.inner, self.scale = Inner(), 1.0

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(nn.functional.linear(x, self.weight, self.bias)) * self.scale


class Rarely(ThreeLayers):
    """A forward that does something to what frozen layers return where a row is large."""

    def __init__(self, rarely: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.a2, self.rarely = Settings(), rarely

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        if y.abs().max() > 20:
            y = self.rarely(self, y)
        return self.c(torch.stack([self.b(row) for row in self.a2(y)]))


def by_data(model: Rarely, y: Tensor) -> Tensor:
    y.data.mul_(2)
    return y


def by_array(model: Rarely, y: Tensor) -> Tensor:
    y.detach().numpy()[:] *= 2
    return y


def in_place(model: Rarely, y: Tensor) -> Tensor:
    return y.clamp_(-1, 1)


def into_rows(model: Rarely, y: Tensor) -> Tensor:
    y[0][:2] = 3.0
    return y


def other_weights(model: Rarely, y: Tensor) -> Tensor:
    weights = {"weight": model.a2.weight * 2}
    return torch.func.functional_call(model.a2, weights, (y,))


def scaled(model: Rarely, y: Tensor) -> Tensor:
    return y * 2


def other_setting(model: Rarely, y: Tensor) -> Tensor:
    model.a2.scale = 2.0
    return y


def setting_inside(model: Rarely, y: Tensor) -> Tensor:
    model.a2.inner.scale = torch.tensor(2.0)
    return y


def item_inside(model: Rarely, y: Tensor) -> Tensor:
    model.a2.inner.scales[0] = 2.0
    return y


def filled_inside(model: Rarely, y: Tensor) -> Tensor:
    model.a2.inner.table.fill_(2.0)
    return y


def weights_by_data(model: Rarely, y: Tensor) -> Tensor:
    model.a2.weight.data.mul_(2)
    return y


def weights_by_array(model: Rarely, y: Tensor) -> Tensor:
    model.a2.inner.weight.detach().numpy()[:] *= 2
    return y


def swapped_setting(model: Rarely, y: Tensor) -> Tensor:
    model.a2.scale, before = 2.0, model.a2.scale
    y = model.a2(y)
    model.a2.scale = before
    return y


def swapped_weights(model: Rarely, y: Tensor) -> Tensor:
    before = model.a2.weight.data
    model.a2.weight.data = before * 2
    y = model.a2(y)
    model.a2.weight.data = before
    return y


RARE = {
    step.__name__: step
    for step in (
        *(by_data, by_array, in_place, into_rows, other_weights, scaled),
        *(swapped_setting, swapped_weights),
    )
}


class ByCall:
    def __call__(self, model: Rarely, y: Tensor) -> Tensor:
        return weights_by_data(model, y)


class ByDataOfItsOwn:
    def __call__(self, model: Rarely, y: Tensor) -> Tensor:
        model.a2.weight.data.mul_(2)
        return y

    def step(self, model: Rarely, y: Tensor) -> Tensor:
        return self(model, y)


STEPS = {"by data": [ByDataOfItsOwn()]}


def weights_of_a_table(model: Rarely, y: Tensor) -> Tensor:
    for step in STEPS["by data"]:
        y = step(model, y)
    return y


def weights_by_default(model: Rarely, y: Tensor, step: Any = STEPS["by data"][0]) -> Tensor:
    return step(model, y)


def weights_by_text(model: Rarely, y: Tensor) -> Tensor:
    getattr(model.a2.weight, "data").mul_(2)  # noqa: B009
    return y


DATA_OF = attrgetter("weight.data")


def weights_by_dotted_text(model: Rarely, y: Tensor) -> Tensor:
    attrgetter("weight.data")(model.a2).mul_(2)
    return y


def weights_by_getter(model: Rarely, y: Tensor) -> Tensor:
    DATA_OF(model.a2).mul_(2)
    return y


class InSlot:
    __slots__ = ("step",)

    def __init__(self, step: Callable[[Any, Tensor], Tensor]):
        self.step = step

    def __call__(self, model: Rarely, y: Tensor) -> Tensor:
        return self.step(model, y)


def weights_by_attribute(model: Rarely, y: Tensor) -> Tensor:
    return vars(weights_by_attribute)["step"](model, y)


vars(weights_by_attribute)["step"] = weights_by_data
LASTING: dict[str, Callable[[Any, Tensor], Tensor]] = {
    step.__name__: step
    for step in (other_setting, setting_inside, item_inside, filled_inside, weights_by_data, weights_by_array)
}
LASTING |= {
    "an object": ByDataOfItsOwn(),
    "an object that calls a function": ByCall(),
    "a method": ByDataOfItsOwn().step,
    "a partial": partial(weights_by_data),
    "a partial of an object": partial(ByDataOfItsOwn()),
    "objects in a table": weights_of_a_table,
    "a default": weights_by_default,
    "a name in a text": weights_by_text,
    "a dotted name in a text": weights_by_dotted_text,
    "a getter": weights_by_getter,
    "a slot": InSlot(weights_by_data),
    "an attribute of a function": weights_by_attribute,
}


@pytest.mark.parametrize("name", RARE)
def test_rows_that_go_other_ways_than_when_it_was_cut_are_exact(name: str) -> None:
    case = Case(lambda: Rarely(RARE[name]), "a,a2", (X,))
    torch.manual_seed(0)
    model = build(case)
    parts = cut(model, picked(case.inputs, [0, 1, 2]))
    assert parts.engine == "own forward"
    assert_exact(replace(case, inputs=(BIG,)), model, parts)


@pytest.mark.parametrize("name", LASTING)
def test_a_frozen_layer_that_a_forward_comes_to_change_is_an_error_in_time(name: str) -> None:
    """What is stored is of what it was, in this step and in all that follow."""
    torch.manual_seed(0)
    model = build(Case(lambda: Rarely(LASTING[name]), "a,a2", (X,)))
    parts = cut(model, X)
    rows = parts.prefix(BIG)
    with pytest.raises(CutError, match=r"changes a frozen layer.*: go without the cache"):
        parts.suffix(*rows)


def test_memory_that_is_handed_on_unseen_is_refused() -> None:
    class HandsOn(ThreeLayers):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([self.b(row) for row in from_dlpack(to_dlpack(self.a(x).detach()))])

    model = HandsOn()
    freeze(model, "a")
    with pytest.raises(CutError, match="to_dlpack"):
        cut(model, X)


class SetsScale(ThreeLayers):
    """A frozen layer depends on what trains by an attribute that the forward sets."""

    def __init__(self) -> None:
        super().__init__()
        self.a = Scaled()

    def forward(self, x: Tensor) -> Tensor:
        self.a.scale = float(self.b.weight.detach().sum())
        return torch.stack([self.b(row) for row in self.a(x)])


class Scaled(nn.Module):
    scale = 1.0

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.linear(x)


class SetsTensor(ThreeLayers):
    """The same by a tensor and in a row, so that torch.fx follows it."""

    def __init__(self) -> None:
        super().__init__()
        self.a = Scaled()

    def forward(self, x: Tensor) -> Tensor:
        self.a.scale = self.b.weight.detach().sum()
        return self.b(self.a(x))


class CopiesWeights(ThreeLayers):
    """A teacher gets the weights of what trains before each call."""

    def forward(self, x: Tensor) -> Tensor:
        self.a.load_state_dict(self.b.state_dict())
        return torch.stack([self.b(row) for row in self.a(x)])


class KeepsLoad(nn.Module):
    """A frozen layer that keeps what its last rows were."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.load = nn.Linear(4, 4).double(), torch.zeros(4).double()

    def forward(self, x: Tensor) -> Tensor:
        self.load = x.mean(0)
        return self.linear(x)


class ReadsLoad(ThreeLayers):
    def __init__(self) -> None:
        super().__init__()
        self.a = KeepsLoad()

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.b(row) for row in self.a(x)]) * self.a.load.exp()


STATE = {
    "sets a scale": Case(SetsScale, "a", (X,), frontier=[(4,)]),
    "copies weights": Case(CopiesWeights, "a", (X,), "goes through them one by one"),
    "reads what a layer keeps": Case(ReadsLoad, "a", (X,), frontier=[(4,), (4,)]),
}


@pytest.mark.parametrize("name", STATE)
def test_state_that_the_forward_sets_or_reads_is_never_stale(name: str) -> None:
    hold_to_model(STATE[name])


def test_a_tensor_that_the_forward_sets_in_a_frozen_layer_is_not_stored_with_its_rows() -> None:
    model = SetsTensor()
    freeze(model, "a")
    parts = cut(model, X)
    rows = parts.prefix(X)
    with torch.no_grad():
        model.b.weight.add_(1)
    torch.testing.assert_close(parts.suffix(*rows), model(X))


class TwiceWritten(ThreeLayers):
    """One frozen layer is called twice on one input, and one of its values written into."""

    def forward(self, x: Tensor) -> Tensor:
        one, other = self.a(x), self.a(x)
        one.mul_(float(self.b.bias.detach().sum()))
        return self.b(one) + self.c(other)


class BoundedLater(ThreeLayers):
    """A frozen layer without parameters writes into what it is given, behind a look at it."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        is_low = bool(y.min() < -0.5)
        return self.b(self.relu(y)) * (2 if is_low else 1)


@pytest.mark.parametrize("make", [TwiceWritten, BoundedLater])
def test_layers_that_share_memory(make: Callable[[], nn.Module]) -> None:
    hold_to_model(Case(make, "a", (X,), frontier=[(4,)]))


def test_two_threads_do_not_answer_each_other() -> None:
    model = RowByRow()
    freeze(model, "a")
    parts = cut(model, X)
    rows, expected = parts.prefix(X), model(X)

    def run(_: int) -> bool:
        return all(torch.equal(parts.suffix(*rows), expected) for _ in range(20))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(run, range(4)))
    assert "forward" not in vars(model.a)


def test_a_copy_that_the_forward_makes_computes_with_its_own_weights() -> None:
    class Copies(ThreeLayers):
        twin: list[nn.Module] = []  # noqa: RUF012 - of one test

        def forward(self, x: Tensor) -> Tensor:
            rows = torch.stack([self.b(row) for row in self.a(x)])
            self.twin[:] = [copy.deepcopy(self.a)]
            return rows

    model = Copies()
    freeze(model, "a")
    parts = cut(model, X)
    parts.suffix(*parts.prefix(X))
    (twin,) = Copies.twin
    with torch.no_grad():
        twin.weight.zero_()
    torch.testing.assert_close(twin(X), twin.bias.expand(len(X), -1))
