"""Inputs and outputs that are not tensors, containers across the cut, names that mean something to torch.fx."""

from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from exact_cuts import ROWS, Case, ThreeLayers, assert_exact, build, doubled, hold_to_model
from reuse.errors import CutError, UsageError
from reuse.layers.cutting import cut
from reuse.layers.freezing import freeze

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(ROWS, 4, generator=GENERATOR).double()
Z = torch.randn(ROWS, 3, generator=GENERATOR).double()
Pair = namedtuple("Pair", ["mean", "spread"])


class Typed(NamedTuple):
    logits: Tensor
    hidden: tuple[Tensor, ...]


@dataclass
class Answer:
    logits: Tensor
    hidden: tuple[Tensor, ...] | None = None
    rows: int = 0


class Returns(ThreeLayers):
    """Returns whatever is made of its two values."""

    def __init__(self, make: Any) -> None:
        super().__init__()
        self.make = make

    def forward(self, x: Tensor) -> Any:
        y = self.a(x)
        return self.make(self.c(self.b(y)), y)


class TupleWhileTraining(ThreeLayers):
    def forward(self, x: Tensor) -> Any:
        y = self.a(x)
        return (self.b(y), self.c(y)) if self.training else self.b(y)


class HeadWhileTraining(nn.Module):
    """A second head that takes an earlier frozen value, and is used while training alone (GoogLeNet)."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.aux, self.c = (nn.Linear(4, 4).double() for _ in range(4))

    def forward(self, x: Tensor) -> Any:
        y = self.a(x).relu()
        aux = self.aux(y) if self.training else None
        return (self.c(self.b(y).relu()), aux) if self.training else self.c(self.b(y).relu())


class HeadWhileEvaluating(HeadWhileTraining):
    def forward(self, x: Tensor) -> Any:
        y = self.a(x).relu()
        z = self.c(self.b(y).relu())
        return z if self.training else (z, self.aux(y))


class Encoder(nn.Module):
    def __init__(self, make: Any) -> None:
        super().__init__()
        self.first, self.second, self.make = nn.Linear(4, 4).double(), nn.Linear(4, 3).double(), make

    def forward(self, x: Tensor) -> Any:
        y = self.first(x).relu()
        return self.make(y, self.second(y))


class Decoder(nn.Module):
    def __init__(self, read: Any) -> None:
        super().__init__()
        self.first, self.second, self.read = nn.Linear(4, 2).double(), nn.Linear(3, 2).double(), read

    def forward(self, given: Any) -> Tensor:
        y, z = self.read(given)
        return self.first(y) + self.second(z)


class Handed(nn.Module):
    """A frozen encoder hands a container to a decoder that trains."""

    def __init__(self, make: Any, read: Any = tuple) -> None:
        super().__init__()
        self.encoder, self.decoder = Encoder(make), Decoder(read)

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))


class Tokens(nn.Module):
    """Takes a dictionary, or keywords."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.a, self.c = nn.Embedding(9, 4).double(), nn.Linear(4, 4).double(), nn.Linear(4, 2).double()

    def forward(self, tokens: Tensor, mask: Tensor | None = None, scale: float = 1.0) -> Tensor:
        y = self.a(self.embedding(tokens))
        if mask is not None:
            y = y * mask.unsqueeze(-1)
        return self.c(y.mean(1) * scale)


class TakesDictionary(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Tokens()

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        y = self.inner.a(self.inner.embedding(batch["tokens"]))
        if "mask" in batch:
            y = y * batch["mask"].unsqueeze(-1)
        return self.inner.c(y.mean(1))


class TakesPair(ThreeLayers):
    def __init__(self) -> None:
        super().__init__()
        self.d = nn.Linear(3, 4).double()

    def forward(self, pair: tuple[Tensor, Tensor]) -> Tensor:
        x, z = pair
        return self.c(self.a(x) + self.b(self.d(z)))


class Named(nn.Module):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4).double()
        self.add_module(name, doubled(nn.Linear(4, 4), nn.Linear(4, 4)))
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        return self.get_submodule(self.name)(self.first(x).relu())


class Wrapper(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class Heads(nn.Module):
    """Heads by names that Python keeps for itself."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 4).double()
        self.heads = nn.ModuleDict({"class": nn.Linear(4, 3).double(), "for": nn.Linear(4, 2).double()})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.a(x)
        return {name: head(y) for name, head in self.heads.items()}


class NamedParameter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 4).double()
        self.model = nn.Parameter(torch.randn(4).double())
        self.register_buffer("graph", torch.randn(4).double())

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) * self.model + self.graph


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.a, self.out = (x.double() for x in (nn.Embedding(9, 4), nn.Linear(4, 4), nn.Linear(4, 9)))
        self.out.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.out(self.a(self.embedding(tokens)))


class CalledTwice(ThreeLayers):
    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.a(self.b(self.a(x)).relu()))


class SparseRows(nn.Module):
    """An embedding that trains with sparse gradients beside a frozen one."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen, self.free = nn.Embedding(9, 4).double(), nn.Embedding(9, 4, sparse=True).double()
        self.a, self.c = nn.Linear(4, 4).double(), nn.Linear(4, 2).double()

    def forward(self, tokens: Tensor) -> Tensor:
        return self.c(self.a(self.frozen(tokens)).mean(1) + self.free(tokens).sum(1))


class Lengths(nn.Module):
    """A recurrent layer over sequences of their own lengths."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.recurrent, self.c = nn.Linear(4, 4), nn.LSTM(4, 4, batch_first=True), nn.Linear(4, 2)
        self.double()

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(self.a(x), lengths, batch_first=True, enforce_sorted=False)
        return self.c(self.recurrent(packed)[1][0][-1])


class Sorted(Lengths):
    """Sequences that a loader has sorted."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(self.a(x), lengths, batch_first=True)
        return self.c(self.recurrent(packed)[1][0][-1])


class Unpacked(nn.Module):
    """Sequences of their own lengths through a recurrent layer, and what is made of the steps then."""

    def __init__(self, make: Any, **how: Any) -> None:
        super().__init__()
        self.a, self.recurrent, self.c = nn.Linear(4, 4), nn.GRU(4, 3, bidirectional=True), nn.Linear(6, 2)
        self.second = nn.GRU(6, 6)
        self.make, self.how = make, how
        self.double()

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(self.a(x).transpose(0, 1), lengths, enforce_sorted=False)
        packed, last = self.recurrent(packed)
        return self.c(self.make(self, packed, last, self.how))


class PadsInside(nn.Module):
    """A frozen layer that packs and unpacks by itself, as long as the longest sequence of the batch."""

    def __init__(self, make: Any) -> None:
        super().__init__()
        self.a, self.encoder, self.c = nn.Linear(4, 4).double(), PackedEncoder(make), nn.Linear(4, 2).double()

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self.c(self.encoder(self.a(x), lengths))


class PackedEncoder(nn.Module):
    def __init__(self, make: Any) -> None:
        super().__init__()
        self.recurrent, self.make = nn.GRU(4, 4, batch_first=True).double(), make

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return self.make(pad_packed_sequence(self.recurrent(packed)[0], batch_first=True)[0], lengths)


class Whole(ThreeLayers):
    """Glue between frozen layers that takes something of all rows together: the longest, or steps that any has."""

    def __init__(self, step: Any) -> None:
        super().__init__()
        self.step = step

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self.c(self.b(self.step(self.a(x), lengths)).mean(1))


class WholeInside(Whole):
    """The same in a frozen layer."""

    def __init__(self, step: Any) -> None:
        super().__init__(step)
        self.b = Stepping(self.b, step)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self.c(self.b(self.a(x), lengths).mean(1))


class Stepping(nn.Module):
    def __init__(self, layer: nn.Module, step: Any) -> None:
        super().__init__()
        self.layer, self.step = layer, step

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self.layer(self.step(x, lengths))


def by_longest(y: Tensor, lengths: Tensor) -> Tensor:
    return y * (lengths.double() / lengths.max())[:, None, None]


def by_shortest(y: Tensor, lengths: Tensor) -> Tensor:
    return y * (lengths.double() - lengths.amin())[:, None, None]


def steps_of_any(y: Tensor, lengths: Tensor) -> Tensor:
    return y[:, (torch.arange(5)[None] < lengths[:, None]).any(0)]


def in_order(y: Tensor, lengths: Tensor) -> Tensor:
    order = lengths.argsort(descending=True, stable=True)
    return y[order] * lengths[order][:, None, None]


class AsksForTypes(Lengths):
    """Takes lengths as a list, too."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        counts = lengths if isinstance(lengths, Tensor) else torch.tensor(lengths)
        packed = pack_padded_sequence(self.a(x), counts, batch_first=True, enforce_sorted=False)
        steps, _ = pad_packed_sequence(self.recurrent(packed)[0], batch_first=True)
        return self.c(steps.amax(1)) if isinstance(steps, Tensor) else self.c(steps)


class GivenTensor(ThreeLayers):
    """Takes a tensor, or nothing at all."""

    def forward(self, x: Tensor | None) -> Tensor | None:
        return self.c(self.b(self.a(x))) if isinstance(x, Tensor) else None


class PicksByMask(ThreeLayers):
    """Computes with those steps alone that are none of the padding."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        y, steps = self.a(x), torch.arange(5)[None] < lengths[:, None]
        z = torch.zeros_like(y)
        z[steps] = self.b(y[steps] if isinstance(y, Tensor) else y)
        return self.c(z.mean(1))


class PicksByNumber(ThreeLayers):
    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        y = self.a(x).flatten(0, 1)
        where = (torch.arange(5)[None] < lengths[:, None]).flatten().nonzero()[:, 0]
        z = torch.zeros_like(y).index_add(0, where, self.b(y.index_select(0, where)))
        return self.c(z.view(-1, 5, 4).mean(1))


class PicksByWhere(ThreeLayers):
    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        y = self.a(x)
        rows, steps = torch.where(torch.arange(5)[None] < lengths[:, None])
        z = torch.zeros_like(y)
        z[rows, steps] = self.b(y[rows, steps])
        return self.c(z.mean(1))


class Repeats(ThreeLayers):
    """Takes the mean of each row as often as its length says."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        means = self.a(x).mean(1).repeat_interleave(lengths, 0)
        numbers = torch.arange(len(lengths)).repeat_interleave(lengths)
        return self.c(torch.zeros_like(x[:, 0]).index_add(0, numbers, self.b(means)))


def averaged(model: Unpacked, packed: Any, last: Tensor, how: dict[str, Any]) -> Tensor:
    """The mean over as many steps as the longest sequence of the batch has."""
    steps, _ = torch.nn.utils.rnn.pad_packed_sequence(packed, **how)
    return steps.mean(1 if how.get("batch_first") else 0)


def at_ends(model: Unpacked, packed: Any, last: Tensor, how: dict[str, Any]) -> Tensor:
    steps, lengths = pad_packed_sequence(packed, True, **how)
    return steps[torch.arange(len(steps)), lengths - 1]


def summed_steps(model: Unpacked, packed: Any, last: Tensor, how: dict[str, Any]) -> Tensor:
    return packed.data.sum() * last[0][:, :1] + last.transpose(0, 1).flatten(1)


def through_second(model: Unpacked, packed: Any, last: Tensor, how: dict[str, Any]) -> Tensor:
    return model.second(packed)[1][0]


class Through(ThreeLayers):
    """Steps that no graph holds."""

    def __init__(self, step: Any) -> None:
        super().__init__()
        self.step = step

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.b(self.step(self, self.a(x))))


class Autocast(ThreeLayers):
    """All layers under autocast."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.c(self.b(self.a(x))).double()


def conditional(model: Through, y: Tensor) -> Tensor:
    return torch.cond(y.sum() > 0, lambda t: t + 1, lambda t: t * 2, (y,))


def reentrant(model: Through, y: Tensor) -> Tensor:
    return torch.utils.checkpoint.checkpoint(model.b, y, use_reentrant=True)


def scaled_by_number(model: Through, y: Tensor) -> Tensor:
    return y * float(model.b.weight.detach().sum())


def by_numpy(model: Through, y: Tensor) -> Tensor:
    return torch.from_numpy(y.detach().numpy() * 2)


def nested(model: Through, y: Tensor) -> Tensor:
    return torch.nested.as_nested_tensor(y[:, None]).to_padded_tensor(0.0)[:, 0]


def sparse(model: Through, y: Tensor) -> Tensor:
    return torch.sparse.mm(y.relu().to_sparse(), model.b.weight)


class Own(Tensor):
    pass


def subclass(model: Through, y: Tensor) -> Tensor:
    return y.as_subclass(Own)


class NotATree:
    """An output that nobody can take apart."""

    def __init__(self, value: Tensor) -> None:
        self.value = value


TOKENS = torch.randint(0, 9, (ROWS, 3), generator=GENERATOR)
MASK = torch.rand(ROWS, 3, generator=GENERATOR).double()
SEQUENCES = torch.randn(ROWS, 5, 4, generator=GENERATOR).double()
LENGTHS = torch.tensor([5, 3, 4, 1, 2, 5, 3])

BOTH = [(3,), (4,)]

STEPS = (by_longest, by_shortest, steps_of_any, in_order)

CASES = {
    "returns a list": Case(lambda: Returns(lambda y, h: [y, h]), "a", (X,), frontier=[(4,)]),
    "returns a nested tuple": Case(lambda: Returns(lambda y, h: (y, (h, [y, None]))), "a", (X,), frontier=[(4,)]),
    "returns a dictionary": Case(lambda: Returns(lambda y, h: {"y": y, "h": h}), "a", (X,), frontier=[(4,)]),
    "returns an OrderedDict": Case(lambda: Returns(lambda y, h: OrderedDict(y=y, h=h)), "a", (X,), frontier=[(4,)]),
    "returns a namedtuple": Case(lambda: Returns(Pair), "a", (X,), frontier=[(4,)]),
    "returns a NamedTuple": Case(lambda: Returns(lambda y, h: Typed(y, (h,))), "a", (X,), frontier=[(4,)]),
    "returns a dataclass": Case(lambda: Returns(lambda y, h: Answer(y, (h, y), 3)), "a", (X,), frontier=[(4,)]),
    "returns None beside": Case(lambda: Returns(lambda y, h: (y, None, 2, "word")), "a", (X,), frontier=[(4,)]),
    "returns the number of rows": Case(lambda: Returns(lambda y, h: (y, h.shape[0])), "a", (X,), frontier=[(4,)]),
    "returns what is no tree": Case(lambda: Returns(lambda y, h: NotATree(y)), "a", (X,), "NotATree"),
    "a tuple while training": Case(TupleWhileTraining, "a", (X,), frontier=[(4,)]),
    "a head while training": Case(HeadWhileTraining, "a", (X,), frontier=[(4,)]),
    "a head behind a frozen one": Case(HeadWhileTraining, "a,b", (X,), frontier=[(4,), (4,)]),
    "a head while evaluating": Case(HeadWhileEvaluating, "a,b", (X,), frontier=[(4,), (4,)]),
    "hands a tuple": Case(lambda: Handed(lambda y, z: (y, z)), "encoder", (X,), frontier=BOTH),
    "hands a list": Case(lambda: Handed(lambda y, z: [y, z]), "encoder", (X,), frontier=BOTH),
    "hands a dictionary": Case(
        lambda: Handed(lambda y, z: {"y": y, "z": z, "n": 3}, lambda d: (d["y"], d["z"])),
        "encoder",
        (X,),
        frontier=BOTH,
    ),
    "hands an OrderedDict": Case(
        lambda: Handed(lambda y, z: OrderedDict(y=y, z=z), lambda d: d.values()), "encoder", (X,), frontier=BOTH
    ),
    "hands a namedtuple": Case(lambda: Handed(Pair, lambda p: (p.mean, p.spread)), "encoder", (X,), frontier=BOTH),
    "hands a dataclass": Case(
        lambda: Handed(lambda y, z: Answer(y, (z,)), lambda a: (a.logits, a.hidden[0])),
        "encoder",
        (X,),
        frontier=BOTH,
    ),
    "hands one tensor twice": Case(
        lambda: Handed(lambda y, z: (y, z, y), lambda t: t[:2]), "encoder", (X,), frontier=BOTH
    ),
    "keywords": Case(Tokens, "embedding,a", {"tokens": TOKENS, "mask": MASK}, frontier=[(4,)]),
    "keywords, None among them": Case(Tokens, "embedding,a", {"tokens": TOKENS, "mask": None}, frontier=[(4,)]),
    "a number among the inputs": Case(Tokens, "embedding,a", (TOKENS, MASK, 2.5), frontier=[(4,)]),
    "None among the inputs": Case(Tokens, "embedding,a", (TOKENS, None), frontier=[(4,)]),
    "a dictionary as the input": Case(
        TakesDictionary, "inner.embedding,inner.a", ({"tokens": TOKENS, "mask": MASK},), frontier=[(4,)]
    ),
    "a tuple as the input": Case(TakesPair, "a,d", ((X, Z),), frontier=[(4,), (4,)]),
    **{
        f"a child called {name}": Case(lambda name=name: Named(name), "first", (X,), frontier=[(4,)])
        for name in ("model", "graph", "code", "meta", "recompile", "graphs", "cut_model")
    },
    "a mixed child called model": Case(lambda: Wrapper(Named("graph")), "model.first", (X,), frontier=[(4,)]),
    "a mixed child called graph": Case(lambda: Named("graph"), "first,graph.0", (X,), frontier=[(4,)]),
    "a frozen child called graph": Case(
        lambda: Wrapper(Wrapper(nn.Sequential(Named("code"), nn.Linear(4, 2).double()))),
        "model.model.0",
        (X,),
        frontier=[(4,)],
    ),
    "words of Python": Case(Heads, "a", (X,), frontier=[(4,)]),
    "words of Python, frozen": Case(Heads, "a,heads.class", (X,)),
    "a parameter called model": Case(NamedParameter, "a", (X,), frontier=[(4,)]),
    "tied weights": Case(Tied, "embedding", (TOKENS,), frontier=[(3, 4)]),
    "a layer called twice": Case(CalledTwice, "a", (X,), frontier=[(4,)]),
    "autocast": Case(Autocast, "a", (X,), "'a' cannot be cached: it is computed in one block with layers that train"),
    "lengths": Case(Lengths, "a", (SEQUENCES, LENGTHS), frontier=[(5, 4), ()]),
    "lengths, padded in a layer": Case(
        lambda: PadsInside(lambda steps, lengths: steps.mean(1)),
        "a,encoder",
        (SEQUENCES, LENGTHS),
        frontier=[(5, 4), ()],
    ),
    **{
        f"{kind.__name__} {step.__name__}": Case(
            lambda kind=kind, step=step: kind(step), "a,b", (SEQUENCES, LENGTHS), frontier=[(5, 4), crossing]
        )
        for kind in (Whole, WholeInside)
        for step in STEPS
        for crossing in ((5,) if kind is Whole and step is steps_of_any else (),)
    },
    "lengths, summed in a layer": Case(
        lambda: PadsInside(lambda steps, lengths: steps.sum(1) / lengths[:, None]),
        "a,encoder",
        (SEQUENCES, LENGTHS),
        frontier=[(4,)],
    ),
    "types that are asked for": Case(AsksForTypes, "a,recurrent", (SEQUENCES, LENGTHS), frontier=[(5, 4), ()]),
    "an input whose type is asked for": Case(GivenTensor, "a", (X,), frontier=[(4,)]),
    "picks by a mask": Case(PicksByMask, "a", (SEQUENCES, LENGTHS)),
    "picks by where": Case(PicksByWhere, "a", (SEQUENCES, LENGTHS)),
    "repeats": Case(Repeats, "a", (SEQUENCES, LENGTHS)),
    "picks by number": Case(PicksByNumber, "a", (SEQUENCES, LENGTHS)),
    "lengths, frozen": Case(Lengths, "a,recurrent", (SEQUENCES, LENGTHS), frontier=[(4,)]),
    **{
        f"lengths, {make.__name__} {how}": Case(
            lambda make=make, how=how: Unpacked(make, **how), frozen, (SEQUENCES, LENGTHS), frontier=frontier
        )
        for make, how, frozen, frontier in (
            (averaged, {}, "a", [(5, 4), ()]),
            (averaged, {}, "a,recurrent", [(5, 6), ()]),
            (averaged, {"batch_first": True, "padding_value": 0.5}, "a,recurrent", [(5, 6), ()]),
            (averaged, {"total_length": 6}, "a,recurrent", [(6,)]),
            (at_ends, {}, "a,recurrent", [(5, 6), ()]),
            (at_ends, {"total_length": 5}, "a,recurrent", [(6,)]),
            (summed_steps, {}, "a,recurrent", None),
            (through_second, {}, "a,recurrent", [(5, 4), ()]),
            (through_second, {}, "a,recurrent,second", [(6,)]),
        )
    },
    "a reentrant checkpoint": Case(lambda: Through(reentrant), "a", (X,), frontier=[(4,)]),
    "torch.cond": Case(lambda: Through(conditional), "a", (X,), "its forward uses torch.cond"),
    **{
        step.__name__: Case(lambda step=step: Through(step), "a", (X,), frontier=[(4,)])
        for step in (scaled_by_number, by_numpy, nested, sparse)
    },
    "subclass": Case(lambda: Through(subclass), "a", (X,), r"cannot be followed through `return .*_types\.py"),
    "sparse gradients": Case(SparseRows, "frozen,a", (TOKENS,)),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize("frozen", ["0", "1", "0,1.0"])
def test_a_layer_in_torchscript_is_one_call(frozen: str) -> None:
    script = torch.jit.script(doubled(nn.Linear(4, 4), nn.Linear(4, 4)))
    model = doubled(nn.Linear(4, 4), script, nn.Linear(4, 2)) if frozen != "1" else doubled(script, nn.Linear(4, 2))
    freeze(model, frozen if frozen != "1" else "0")
    parts = cut(model, X)
    torch.testing.assert_close(parts.suffix.train()(*parts.prefix(X)), model(X), rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_a_model_in_torchscript_is_refused() -> None:
    model = torch.jit.script(doubled(nn.Linear(4, 4), nn.Linear(4, 2)))
    freeze(model, "0")
    with pytest.raises(CutError, match="TorchScript"):
        cut(model, X)


def test_a_lazy_layer_is_refused_in_one_line() -> None:
    model = nn.Sequential(nn.LazyLinear(4), nn.Linear(4, 2))
    with pytest.raises(UsageError, match=r"'0\.weight' has no size yet"):
        freeze(model, "0")
    model = nn.Sequential(nn.Linear(4, 4), nn.LazyLinear(2))
    freeze(model, "0")
    with pytest.raises(CutError, match=r"'1\.weight' has no size yet"):
        cut(model, X.float())


def test_another_number_than_the_examples_is_refused() -> None:
    model = Tokens()
    freeze(model, "embedding,a")
    parts = cut(model, (TOKENS, MASK, 2.5))
    with pytest.raises(CutError, match=r"cut for scale of 2\.5 a row, and was given 3\.5"):
        parts.prefix(TOKENS, MASK, 3.5)
    with pytest.raises(CutError, match="cut for mask"):
        parts.prefix(TOKENS, None, 2.5)


@pytest.mark.parametrize(
    ("example", "reason"),
    [
        ((X.numpy(),), "NumPy array"),
        ((3,), "holds none"),
        ((X, X[:2]), "same number of rows"),
        ((torch.tensor(1.0),), "same number of rows"),
    ],
)
def test_an_example_without_rows_of_tensors_is_refused(example: Any, reason: str) -> None:
    model = doubled(nn.Linear(4, 4), nn.Linear(4, 2))
    freeze(model, "0")
    with pytest.raises(CutError, match=reason):
        cut(model, example)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")  # checkpoints under no_grad
@pytest.mark.parametrize("name", CASES)
def test_exact_or_refused(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    hold_to_model(CASES[name])
    assert capfd.readouterr() == ("", "")  # no graphs, no notes of torch's


@pytest.mark.parametrize("lengths", [[5, 5, 5], [3, 3, 3], [1, 1, 1]])
@pytest.mark.parametrize("make", [averaged, at_ends, summed_steps, through_second])
@pytest.mark.parametrize("frozen", ["a", "a,recurrent"])
def test_an_example_of_one_length_cuts_for_all(make: Any, lengths: list[int], frozen: str) -> None:
    case = Case(lambda: Unpacked(make), frozen, (SEQUENCES, LENGTHS))
    model = build(case)
    assert_exact(case, model, cut(model, (SEQUENCES[:3], torch.tensor(lengths))))


@pytest.mark.parametrize("lengths", [[5, 5, 5], [3, 3, 3], [5, 3, 4], [1, 4, 4], [1, 1, 1]])
@pytest.mark.parametrize(
    "make",
    [
        lambda: PadsInside(lambda steps, lengths: steps.mean(1)),
        lambda: PadsInside(lambda steps, lengths: steps.sum(1) / lengths[:, None]),
        AsksForTypes,
        PicksByMask,
        PicksByNumber,
        PicksByWhere,
        Repeats,
        *(lambda kind=kind, step=step: kind(step) for kind in (Whole, WholeInside) for step in STEPS),
    ],
)
def test_an_example_of_one_length_does_not_hide_what_depends_on_others(make: Any, lengths: list[int]) -> None:
    frozen = [name for name, _ in make().named_children() if name not in ("b", "c")]
    case = Case(make, frozen, (SEQUENCES, LENGTHS))
    model = build(case)
    assert_exact(case, model, cut(model, (SEQUENCES[:3], torch.tensor(lengths))))


def test_lengths_that_must_be_sorted_are_refused_in_one_line() -> None:
    model = Sorted()
    freeze(model, "a")
    with pytest.raises(CutError, match="sorted in decreasing order"):
        cut(model, (SEQUENCES, LENGTHS))


def test_a_cut_leaves_no_mark_on_functions_that_it_keeps_whole() -> None:
    marked = dict(fx._symbolic_trace._wrapped_fns_to_patch), list(fx._symbolic_trace._wrapped_methods_to_patch)
    functions = pack_padded_sequence, torch.nn.utils.rnn.pack_padded_sequence, torch.nn.utils.rnn.pad_packed_sequence
    attributes = [dict(vars(function)) for function in functions]
    for model in (Lengths(), Unpacked(averaged)):
        freeze(model, "a")
        cut(model, (SEQUENCES, LENGTHS))
    symbolic = fx._symbolic_trace
    assert marked == (symbolic._wrapped_fns_to_patch, symbolic._wrapped_methods_to_patch)
    assert functions == (
        pack_padded_sequence,
        torch.nn.utils.rnn.pack_padded_sequence,
        torch.nn.utils.rnn.pad_packed_sequence,
    )
    assert attributes == [dict(vars(function)) for function in functions]
