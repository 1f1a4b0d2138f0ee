"""A cut that is written down and read again is the same cut; a record that was tampered with runs no code."""

import copy
import json
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from reuse.layers.cut_record import cut_record, read_cut
from reuse.layers.cutting import cut
from reuse.layers.freezing import freeze


class Glue(nn.Module):
    """Glue of every kind between frozen and trainable layers."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(6, 4), nn.Linear(4, 3)
        self.register_buffer("shift", torch.arange(4.0))
        self.names = nn.ModuleDict({"a-b": nn.Linear(4, 4)})

    def forward(self, x: Tensor) -> dict[str, Any]:
        h = self.names["a-b"](self.body(x).view(x.shape[0], -1, 2).flatten(1)[:, :, None].squeeze(-1)) + self.shift
        h = torch.where(h > 0, h, h * 0.1).to(torch.float32).clamp(min=float("-inf"), max=1e30)
        return {"logits": self.head(h), "size": (x.size(0), [h[..., 1:3:2]])}


class Looping(nn.Module):
    """Control flow that only torch.export follows."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(6, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.body(x)
        return self.head(h + sum(h[:, unit, None] * unit for unit in range(h.shape[1])))


class RowByRow(nn.Module):
    """A forward that is no graph."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.more, self.head = nn.Linear(6, 4), nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.head(row) for row in self.more(self.body(x))])


class Sequences(nn.Module):
    """Rows of unequal lengths through a recurrent layer."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.GRU(6, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        lengths = (x[:, :, 0] > 0).sum(1).clamp(min=1)
        packed, _ = self.body(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
        return self.head(pad_packed_sequence(packed, batch_first=True)[0].mean(1))


def timm_model(name: str) -> nn.Module:
    model: nn.Module = timm.create_model(name, num_classes=3)
    return model


MODELS: dict[str, tuple[Any, str, tuple[int, ...]]] = {
    "glue": (Glue, "body,names", (6,)),
    "export": (Looping, "body", (6,)),
    "own forward": (RowByRow, "body,more", (6,)),
    "sequences": (Sequences, "body", (5, 6)),
    "resnet": (lambda: timm_model("resnet10t"), "!fc", (3, 32, 32)),
    "transformer": (lambda: timm_model("vit_tiny_patch16_224"), "!blocks.11,!norm,!head", (3, 224, 224)),
    "convnext": (lambda: timm_model("convnext_atto"), "!head.fc,!stages.3", (3, 64, 64)),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_cut_read_again_computes_the_same(name: str) -> None:
    make, frozen, shape = MODELS[name]
    torch.manual_seed(0)
    model = make()
    freeze(model, frozen.split(","))
    model.train()
    x = torch.randn(4, *shape)
    parts = cut(model, x)
    record = cut_record(parts)
    assert record is not None
    known = read_cut(json.loads(json.dumps(record)), model)
    assert known is not None
    assert (known.frontier, known.engine, known.uncached) == (parts.frontier, parts.engine, parts.uncached)
    assert list(dict(known.suffix.named_parameters())) == list(dict(parts.suffix.named_parameters()))
    pairs = [(parts, known), *zip(parts.earlier, known.earlier, strict=True)]
    for ours, theirs in pairs:
        assert [n.name for n in ours.prefix.graph.nodes] == [n.name for n in theirs.prefix.graph.nodes]
        assert ours.prefix.code == theirs.prefix.code
    for mode in (True, False):
        model.train(mode)
        for which in (0, 1):
            assert parts.suffix.graphs[which].code == known.suffix.graphs[which].code
        outputs = []
        for one in (parts, known):
            torch.manual_seed(1)
            outputs.append(one.suffix(*one.prefix(x)))
        torch.testing.assert_close(*outputs, rtol=0, atol=0)


def calls_nobody(forward: dict[str, Any]) -> None:
    forward["calls"][0][0] = "nobody"


def reads_another(forward: dict[str, Any]) -> None:
    forward["read"] = [7]


def tampered(record: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(record)
    node = next(n for n in changed["suffix"][0]["nodes"] if n[1] == place)
    node[2] = value
    if place == "call_module":
        changed["suffix"][0]["targets"][value] = "head"
    return changed


BAD = [
    ("call_function", "os system"),
    ("call_function", "operator methodcaller"),
    ("call_function", "builtins eval"),
    ("call_function", "torch torch.load"),
    ("call_function", "torch torch.hub.load"),
    ("call_function", "ops mine.run.default"),
    ("call_method", "__reduce__"),
    ("call_method", "tofile"),
    ("call_module", 'head"), print("x'),
    ("call_module", "head\n"),
    ("placeholder", "x, y=print()"),
]


@pytest.mark.parametrize(("place", "value"), BAD)
def test_a_record_that_was_tampered_with_is_none(place: str, value: str) -> None:
    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Linear(6, 4), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.add(self.body(x), 1.0)).relu()

    model = Small()
    freeze(model, ["body"])
    record = cut_record(cut(model, torch.randn(3, 6)))
    assert record is not None
    assert read_cut(copy.deepcopy(record), model) is not None
    nodes = record["suffix"][0]["nodes"]
    if place in {node[1] for node in nodes}:
        assert read_cut(tampered(record, place, value), model) is None
    for path in ("forward.__globals__", "__class__", "_modules", "body.weight.data"):
        changed = copy.deepcopy(record)
        changed["suffix"][0]["targets"] = dict.fromkeys(changed["suffix"][0]["targets"], path)
        assert read_cut(changed, model) is None
    assert read_cut({"suffix": 3}, model) is None


def test_a_record_of_another_model_is_none() -> None:
    model, other = Glue(), nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 3))
    freeze(model, ["body", "names"])
    record = cut_record(cut(model, torch.randn(3, 6)))
    assert record is not None
    assert read_cut(record, other) is None


def test_a_function_of_the_users_own_in_a_graph_has_no_record() -> None:
    import torch.fx

    def half(x: Tensor) -> Tensor:
        return x / 2

    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Linear(6, 4), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.body(x))

    model = Wrapped()
    freeze(model, ["body"])
    parts = cut(model, torch.randn(3, 6))
    graph = parts.prefix.graph
    output = next(iter(reversed(graph.nodes)))
    with graph.inserting_before(output):
        graph.call_function(half, (output.args[0][0],))  # type: ignore[index, arg-type]
    parts.prefix.recompile()
    assert cut_record(parts) is None


@pytest.mark.parametrize("change", [calls_nobody, reads_another])
def test_a_record_of_a_forward_that_does_not_fit_is_none(change: Any) -> None:
    model = RowByRow()
    freeze(model, "body,more")
    record = cut_record(cut(model, torch.randn(3, 6)))
    assert record is not None
    (forward,) = (place for place in record["suffix"][0]["targets"].values() if isinstance(place, dict))
    change(forward)
    assert read_cut(record, model) is None
