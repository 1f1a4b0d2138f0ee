"""Forwards that look at shapes: batches of one, lengths, rows folded into other dimensions."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from exact_cuts import ROWS, Case, ThreeLayers, hold_to_model
from reuse.errors import CutError
from reuse.layers.cutting import cut
from reuse.layers.freezing import freeze

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(ROWS, 4, generator=GENERATOR).double()
SEQUENCE = torch.randn(ROWS, 6, 4, generator=GENERATOR).double()
LENGTHS = torch.tensor([3, 1, 6, 2, 5, 4, 6])
MASK = (torch.arange(6) < LENGTHS[:, None]).long()
IMAGES = torch.randn(ROWS, 3, 8, 8, generator=GENERATOR).double()


class BatchOfOne(ThreeLayers):
    def forward(self, x: Tensor) -> Tensor:
        y = self.b(self.a(x))
        if y.size(0) > 1:
            y = y - y.mean(0)
        return self.c(y)


class BatchOfOneInFront(ThreeLayers):
    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        if len(y) == 1:
            y = y * 2
        return self.c(self.b(y))


class Squeezes(ThreeLayers):
    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.b(self.a(x)).unsqueeze(2).squeeze())


class Positions(ThreeLayers):
    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.randn(1, 9, 4).double())

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x) + self.place[:, : x.size(1)]
        return self.c(self.b(y).mean(1))


class Causal(ThreeLayers):
    def forward(self, x: Tensor) -> Tensor:
        length = x.shape[1]
        mask = torch.ones(length, length, dtype=torch.bool).tril()
        y = self.a(x)
        weights = (y @ y.transpose(1, 2)).masked_fill(~mask, -1e9).softmax(-1)
        return self.c(self.b(weights @ y))


class LastOfEach(ThreeLayers):
    """The last token of each row, as GPT-2's classifier pools."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        y = self.a(x)
        rows = torch.arange(y.shape[0], device=y.device)
        return self.c(self.b(y[rows, lengths - 1]))


class LastBehind(ThreeLayers):
    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        y = self.b(self.a(x))
        return self.c(y)[torch.arange(len(x)), lengths - 1]


class Folds(ThreeLayers):
    def forward(self, x: Tensor) -> Tensor:
        rows, length, width = x.shape
        y = self.a(x.reshape(rows * length, width))
        return self.c(self.b(y).view(rows, length, width).amax(1))


class SequenceFirst(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.gru, self.c = nn.LSTM(4, 5).double(), nn.GRU(5, 3).double(), nn.Linear(3, 2).double()

    def forward(self, x: Tensor) -> Tensor:
        outputs, (_state, _cell) = self.lstm(x.transpose(0, 1))
        return self.c(self.gru(outputs)[1][-1])


class StateHandedOn(nn.Module):
    """A decoder starts from the state of a frozen encoder, whose rows lie in the second dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = (nn.LSTM(4, 4, batch_first=True).double() for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        _, state = self.encoder(x)
        return self.decoder(x.flip(1), state)[0]


class RowsInLastPlace(ThreeLayers):
    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x).T
        return self.c((y * 2).T.contiguous() @ self.b.weight)


class RepeatedTable(ThreeLayers):
    """A table of frozen numbers, expanded to the batch: the same in every row."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.randn(1, 6, 4).double())

    def forward(self, x: Tensor) -> Tensor:
        table = self.place.expand(x.shape[0], -1, -1)
        return self.c(self.b(self.a(x)) + self.b(table))


class PairsOfTokens(ThreeLayers):
    """Attention behind the cut reads a mask of pairs with a frozen bias of places in it, as T5's does for each head."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.randn(2, 6, 6).double())

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        pairs = mask[:, None, :, None].to(x.dtype) * mask[:, None, None, :]
        bias = (self.place[None] + (1 - pairs) * -1e9).contiguous()
        y = self.b(self.a(x))
        weights = ((y @ y.transpose(1, 2))[:, None] + bias).softmax(-1).mean(1)
        return self.c(weights @ y)


class WritesBehindPairs(ThreeLayers):
    """A mask is made of tokens before these are written into, which the first rows have no need of."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        kept = mask != 0
        pairs = (kept[:, None, :] & kept[:, :, None]).to(x.dtype)
        mask.masked_fill_(mask == 0, 1)
        y = self.b(self.a(x) * mask.unsqueeze(2))
        return self.c((y @ y.transpose(1, 2) * pairs) @ y)


class WritesIntoZeros(ThreeLayers):
    """Zeros, the same in every row, are written into where a row asks for it, which the first rows do not."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        hidden = x.new_zeros((x.shape[0], 6, 4))
        hidden.masked_fill_((mask == 0).unsqueeze(2), 1.0)
        return self.c(self.b(self.a(x)) * (1 - hidden))


class WritesBehindSize(ThreeLayers):
    """The sizes of activations are taken before these are cut off, which those of the first rows need not be."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        sizes = y.abs()
        y.view(-1).clamp_(max=5)
        return self.c(self.b(y) * sizes)


class WritesBehindCopies(WritesBehindSize):
    """Rows are folded in turns, before their activations are cut off."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        copies = y.unsqueeze(0).expand(3, -1, -1).reshape(-1, 4)
        y.view(-1).clamp_(max=5)
        return self.c(self.b(y) + self.b(copies).view(3, -1, 4).sum(0))


class WritesBehindMixedCopies(WritesBehindSize):
    """Rows are folded in turns and side by side, so that they cannot be stored, before activations are cut off."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        copies = y.expand(2, 2, -1, -1).transpose(1, 2).reshape(-1, 4)
        y.view(-1).clamp_(max=5)
        return self.c(self.b(y) + self.b(copies).view(2, -1, 2, 4).sum((0, 2)))


class Attends(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers = (nn.TransformerEncoderLayer(4, 2, 8, 0.0, batch_first=True) for _ in range(3))
        self.layers = nn.ModuleList(layers).double()
        self.head = nn.Linear(4, 2).double()

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.head(x.mean(1))


class Rolls(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, padding=1).double(), nn.Conv2d(4, 2, 3).double()
        self.head = nn.Linear(2, 2).double()

    def forward(self, x: Tensor) -> Tensor:
        y = torch.roll(self.a(x), (1, 2), dims=(2, 3))
        parts = y.chunk(2, dim=2)
        return self.head(self.b(torch.cat(parts[::-1], 2)).mean((2, 3)))


class DrawsLarger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 2, 3, stride=2).double(), nn.Conv2d(2, 2, 3).double()
        self.up = nn.Upsample(scale_factor=3)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.up(self.a(x)))


class Repeats(ThreeLayers):
    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.a(x).chunk(2, dim=1)[1].repeat(1, 2))


class Widens(ThreeLayers):
    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.b(self.a(x).float().double()))


CASES = {
    "a branch on one row": Case(BatchOfOne, "a", (X,), frontier=[(4,)]),
    "a branch on one row in front": Case(BatchOfOneInFront, "a", (X,)),
    "squeezed": Case(Squeezes, "a", (X,)),
    "positions": Case(Positions, "a,place", (SEQUENCE,), frontier=[(6, 4)]),
    "a causal mask": Case(Causal, "a", (SEQUENCE,), frontier=[(6, 4)]),
    "the last of each row": Case(LastOfEach, "a", (SEQUENCE, LENGTHS), frontier=[(4,)]),
    "the last of each row behind": Case(LastBehind, "a", (SEQUENCE, LENGTHS), frontier=[(), (6, 4)]),
    "folded": Case(Folds, "a", (SEQUENCE,), frontier=[(6, 4)]),
    "sequence first": Case(SequenceFirst, "lstm", (SEQUENCE,), frontier=[(6, 5)]),
    "a state handed on": Case(StateHandedOn, "encoder", (SEQUENCE,)),
    "rows in the last place": Case(RowsInLastPlace, "a", (X,), frontier=[(4,)]),
    "a repeated table": Case(RepeatedTable, "a,place", (SEQUENCE,), frontier=[(6, 4)]),
    "a mask of pairs": Case(PairsOfTokens, "a,place", (SEQUENCE, MASK), frontier=[(6,), (6, 4)]),
    "a mask of pairs in one byte each": Case(PairsOfTokens, "a,place", (SEQUENCE, MASK == 1), frontier=[(6,), (6, 4)]),
    "a mask of numbers": Case(PairsOfTokens, "a,place", (SEQUENCE, MASK.double()), frontier=[(2, 6, 6), (6, 4)]),
    "attention": Case(Attends, "layers.0,layers.1", (SEQUENCE,), frontier=[(6, 4)]),
    "drawn larger": Case(DrawsLarger, "a", (IMAGES,), frontier=[(2, 3, 3)]),
    "repeated": Case(Repeats, "a", (X,), frontier=[(2,)]),
    "of a wider type": Case(Widens, "a", (X,), frontier=[(4,)]),
    "rolled and chunked": Case(Rolls, "a", (IMAGES,)),
}


def test_rows_of_another_shape_are_refused() -> None:
    model = Causal()
    freeze(model, "a")
    parts = cut(model, SEQUENCE)
    with pytest.raises(CutError, match=r"cut for x of \(6, 4\) a row, and was given \(5, 4\)"):
        parts.prefix(SEQUENCE[:, :5])
    with pytest.raises(CutError, match=r"cut for the frontier of \(6, 4\) a row"):
        parts.suffix(SEQUENCE[:, :5])


@pytest.mark.parametrize("name", CASES)
def test_exact_or_refused(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    hold_to_model(CASES[name])
    assert capfd.readouterr() == ("", "")  # no graphs, no notes of torch's


def test_what_is_brought_to_a_wider_type_is_stored_before() -> None:
    model = Widens()
    freeze(model, "a")
    assert cut(model, X).bytes_per_sample == 4 * 4


WRITES = {
    "a mask before its tokens": (WritesBehindPairs, (SEQUENCE, torch.ones(ROWS, 6).long()), (SEQUENCE, MASK)),
    "zeros": (WritesIntoZeros, (SEQUENCE, torch.ones(ROWS, 6).long()), (SEQUENCE, MASK)),
    "activations that were read": (WritesBehindSize, (X,), (100 * X,)),
    "activations that were copied": (WritesBehindCopies, (X,), (100 * X,)),
}


@pytest.mark.parametrize("name", WRITES)
def test_writes_in_place_that_the_first_rows_do_not_need_are_made(name: str) -> None:
    make, given, later = WRITES[name]
    torch.manual_seed(0)
    model = make()
    freeze(model, "a")
    parts = cut(model, given)
    for mode in (True, False):
        model.train(mode)
        expected = model(*(tensor.clone() for tensor in later))
        got = parts.suffix(*parts.prefix(*(tensor.clone() for tensor in later)))
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


def test_what_cannot_be_stored_before_it_is_written_into_stays_in_the_forward() -> None:
    hold_to_model(Case(WritesBehindMixedCopies, "a", (X,), frontier=[(4,)]))


class Scales(nn.Module):
    """A step of somebody's own without parameters, which may take as long as it likes."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.sin(), x.cos()], 1)


@pytest.mark.parametrize("wrap", [Scales, lambda: nn.Sequential(Scales())])
def test_what_may_take_long_stays_in_front_though_it_stores_more(wrap: Callable[[], nn.Module]) -> None:
    model = nn.Sequential(nn.Linear(4, 4), wrap(), nn.Linear(8, 2)).double()
    freeze(model, "0")
    assert cut(model, X).bytes_per_sample == 8 * 8
