"""Recurrent nets: torch's own formulas, padding, initial weights, dropout, freezing, cutting and transplanting."""

import copy
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional

import reuse
from reuse.errors import UnknownNameError, UsageError
from reuse.nn.building import build
from reuse.nn.decoders import build_decoder, encoder_of
from reuse.nn.outputs import output_layers, replace_output
from reuse.nn.recurrent_layers import over_steps
from reuse.nn.specs import add_layers, drop_layers

OWN = """
from torch import nn

def network(num_tokens, embedding_size, num_outputs):
    return nn.Sequential(nn.EmbeddingBag(num_tokens, embedding_size), nn.Linear(embedding_size, num_outputs))
"""
TOKENS = torch.tensor([[3, 4, 5, 0, 0], [1, 2, 3, 4, 5], [0, 0, 0, 0, 0], [0, 2, 0, 0, 0], [5, 5, 0, 5, 0]])
LAST = (2, 4, 0, 1, 3)  # the place of the rightmost token of each row


def token_net(spec: str = "lstm:7,6", **settings: object) -> nn.Module:
    torch.manual_seed(0)
    return build(spec, (5,), 3, num_tokens=6, embedding_size=4, **settings)  # type: ignore[arg-type]


def lstm_by_hand(x: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """Hochreiter and Schmidhuber's formulas with forget gates, step by step, gates in torch's order."""
    hidden = cell = torch.zeros(len(x), weights["weight_hh_l0"].shape[1], dtype=x.dtype)
    states = []
    for step in x.unbind(1):
        gates = step @ weights["weight_ih_l0"].T + hidden @ weights["weight_hh_l0"].T
        gates = gates + weights["bias_ih_l0"] + weights["bias_hh_l0"]
        i, f, g, o = gates.chunk(4, 1)
        cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        hidden = o.sigmoid() * cell.tanh()
        states.append(hidden)
    return torch.stack(states, 1)


def test_lstm_computes_what_its_weights_say() -> None:
    model = token_net().double().eval()
    steps = model.embedding.weight[TOKENS]
    for layer in (model.lstm1, model.lstm2):
        steps = lstm_by_hand(steps, dict(layer.recurrent.named_parameters()))
    last = torch.stack([row[place] for row, place in zip(steps, LAST, strict=True)])
    torch.testing.assert_close(model(TOKENS), last @ model.output.weight.T + model.output.bias)


@pytest.mark.parametrize(("family", "whole"), [("lstm", nn.LSTM), ("gru", nn.GRU)])
def test_layers_compute_what_torch_computes_in_one_module(family: str, whole: type[nn.Module]) -> None:
    model = build(f"{family}:5,5", (9, 2), 3).double()
    expected = whole(2, 5, num_layers=2, batch_first=True).double()
    for number in range(2):
        for name, weight in model.get_submodule(f"{family}{number + 1}.recurrent").named_parameters():
            getattr(expected, name.replace("l0", f"l{number}")).data.copy_(weight)
    x = torch.randn(4, 9, 2, dtype=torch.float64)
    torch.testing.assert_close(model(x), model.output(expected(x)[0][:, -1]))


def test_names_of_layers() -> None:
    model = token_net("gru:4,3", dropout=0.1, input_dropout=0.1, norm="layer:input,output")
    names = ["embedding", "input_norm", "input_dropout", "gru1", "gru2", "last", "output", "output_norm", "lengths"]
    assert [name for name, _ in model.named_children()] == names
    assert [name for name, _ in model.gru1.named_children()] == ["recurrent", "norm", "dropout"]
    assert output_layers(model) == ["output", "output_norm"]
    assert drop_layers(add_layers("lstm:64", "32,16"), "lstm3") == "lstm:64,32"


def test_padding_changes_nothing() -> None:
    model = token_net()
    wider = functional.pad(TOKENS, (0, 7))
    torch.testing.assert_close(model(wider), model(TOKENS))
    alone = model(TOKENS[:1, :3])
    torch.testing.assert_close(model(TOKENS)[:1], alone)
    assert not torch.allclose(model(TOKENS[:1, :2]), alone)


def test_an_mlp_takes_the_mean_over_tokens() -> None:
    model = token_net("mlp:8").double()
    rows = [row[row != 0] for row in TOKENS]
    means = [model.embedding.weight[row].mean(0) if len(row) else torch.zeros(4).double() for row in rows]
    torch.testing.assert_close(model(TOKENS), model.output(model.hidden1(torch.stack(means))))


def test_initial_weights() -> None:
    model = build("lstm:32", (9, 20), 3, init="he_uniform")
    layer = model.lstm1.recurrent
    for gate in layer.weight_hh_l0.detach().split(32):
        torch.testing.assert_close(gate @ gate.T, torch.eye(32), rtol=0, atol=1e-5)
    bias = (layer.bias_ih_l0 + layer.bias_hh_l0).detach().view(4, 32)
    assert torch.equal(bias, torch.tensor([0.0, 1.0, 0.0, 0.0])[:, None].expand(4, 32))
    assert layer.weight_ih_l0.detach().abs().max() == pytest.approx((6 / 20) ** 0.5, rel=0.02)
    default = build("gru:32", (9, 20), 3).gru1.recurrent
    assert default.weight_ih_l0.detach().abs().max() == pytest.approx((6 / 52) ** 0.5, rel=0.02)
    assert not default.bias_ih_l0.any()
    assert not default.bias_hh_l0.any()


@pytest.mark.parametrize("family", ["lstm", "gru"])
def test_recurrent_dropout_drops_connections_alike_at_every_step(family: str) -> None:
    model = token_net(f"{family}:7", recurrent_dropout=0.5)
    dropped = copy.deepcopy(model)
    torch.manual_seed(3)
    got = model(TOKENS)
    torch.manual_seed(3)
    layer = dropped.get_submodule(f"{family}1")
    layer.recurrent.weight_hh_l0.data = functional.dropout(layer.recurrent.weight_hh_l0.data, 0.5)
    dropped.eval()
    torch.testing.assert_close(got, dropped(TOKENS))
    assert not torch.allclose(got, model(TOKENS))
    model.eval()
    assert torch.equal(model(TOKENS), model(TOKENS))


def test_a_frozen_layer_drops_nothing_and_hands_gradients_down() -> None:
    model = token_net("lstm:7,6,5", recurrent_dropout=0.5, dropout=0.5)
    reuse.freeze(model, "lstm2")
    model.train()
    steps = torch.randn(4, 5, 7)
    assert torch.equal(model.lstm2(steps), model.lstm2(steps))
    model(TOKENS).sum().backward()
    assert model.lstm1.recurrent.weight_hh_l0.grad.any()
    assert model.lstm2.recurrent.weight_hh_l0.grad is None


@pytest.mark.parametrize("spec", ["lstm:6,5", "gru:6", "mlp:6"])
def test_traceable_and_gradient_reaches_every_parameter(spec: str) -> None:
    model = token_net(spec, norm="layer", dropout=0.1, recurrent_dropout=0.0 if spec == "mlp:6" else 0.1)
    model(TOKENS).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())
    assert not model.embedding.weight.grad[0].any(), "padding does not train"
    torch.testing.assert_close(fx.symbolic_trace(model.eval())(TOKENS), model(TOKENS))


@pytest.mark.parametrize("norm", ["layer", "group", "rms", "local_response"])
def test_norms_do_not_look_ahead(norm: str) -> None:
    layer = build("lstm:8", (6, 2), 3, norm=norm).lstm1
    x = torch.randn(3, 6, 2)
    other = torch.cat([x[:, :4], torch.randn(3, 2, 2)], 1)
    torch.testing.assert_close(layer(x)[:, :4], layer(other)[:, :4])
    assert not torch.allclose(layer(x)[:, 4:], layer(other)[:, 4:])


def test_norms_are_of_the_features_of_a_step() -> None:
    model = build("lstm:8", (6, 2), 3, norm="layer:eps=0.5,input")
    x = torch.randn(3, 6, 2)
    torch.testing.assert_close(functional.layer_norm(x, (2,), eps=0.5), over_steps(model.input_norm, x))
    plain = model.lstm1._recur(x)
    torch.testing.assert_close(model.lstm1(x), functional.layer_norm(plain, (8,), eps=0.5))
    assert reuse.freeze(model, "input_norm,lstm1").layers == ("input_norm", "lstm1")
    assert [tensor.shape for tensor in reuse.cut(model, x).frontier] == [(8,)]


def test_batch_norm_warns_at_the_caller_and_normalises_rows_and_steps_together() -> None:
    with pytest.warns(UserWarning, match="clip gradients instead") as caught:
        model = build("lstm:8", (6, 2), 3, norm="batch")
    assert [w.filename for w in caught] == [__file__]
    steps = model.lstm1(torch.randn(5, 6, 2))
    torch.testing.assert_close(steps.mean((0, 1)), torch.zeros(8), rtol=0, atol=1e-5)


@pytest.mark.parametrize("activation", ["selu", "gelu"])
def test_activations_that_are_not_used_are_warned_of(activation: str) -> None:
    with pytest.warns(UserWarning, match=f"{activation}.*tanh and sigmoid") as caught:
        build("gru:8", (6, 2), 3, activation=activation)
    assert [w.filename for w in caught] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build("gru:8", (6, 2), 3, activation="tanh", norm="layer")


@pytest.mark.parametrize(
    ("freeze", "frontier"),
    [
        ("embedding,lstm1", {"lstm1": (5, 7), "lengths": ()}),
        ("embedding,lstm1,lstm2", {"last": (6,)}),
        ("embedding", {"embedding": (5, 4), "lengths": ()}),
    ],
)
def test_training_from_stored_activations_is_training_the_whole(freeze: str, frontier: dict[str, object]) -> None:
    model = token_net(dropout=0.3, recurrent_dropout=0.3).double()
    reuse.freeze(model, freeze)
    other, begun = copy.deepcopy(model), copy.deepcopy(model)
    draw = torch.Generator().manual_seed(1)
    rows = torch.randint(0, 6, (40, 5), generator=draw)
    labels = rows.sum(1) % 3
    parts = reuse.cut(model, rows[:5])
    assert {tensor.name: tensor.shape for tensor in parts.frontier} == frontier
    with torch.no_grad():
        stored = parts.prefix(rows)
    cached = losses(model, parts.suffix, stored, labels)
    plain = losses(other, other, (rows,), labels)
    assert cached == pytest.approx(plain, rel=0, abs=1e-9)
    torch.testing.assert_close(model.state_dict(), other.state_dict(), rtol=0, atol=1e-9)
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, begun.get_parameter(name))}
    assert moved == {name for name, p in model.named_parameters() if p.requires_grad}


def losses(model: nn.Module, network: nn.Module, inputs: tuple[Tensor, ...], labels: Tensor) -> list[float]:
    """Train with Adam, eight rows a step, and return the loss of every step."""
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 0.01)
    model.train()
    torch.manual_seed(5)
    said = []
    for _ in range(4):
        for rows in torch.arange(len(labels)).split(8):
            optimizer.zero_grad()
            loss = functional.cross_entropy(network(*(tensor[rows] for tensor in inputs)), labels[rows])
            loss.backward()
            optimizer.step()
            said.append(loss.item())
    return said


def test_modules_of_the_users_own_are_told_how_many_tokens_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("own_bag.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(Path.cwd()))
    model = build("own_bag:network", (5,), 3, num_tokens=6, embedding_size=4)
    assert model(TOKENS).shape == (5, 3)
    assert model[0].weight.shape == (6, 4)
    with pytest.raises(UsageError, match="recurrent_dropout"):
        build("own_bag:network", (5,), 3, num_tokens=6, embedding_size=4, recurrent_dropout=0.1)


def test_layers_are_restored_by_name() -> None:
    source, target = token_net("lstm:7,6"), token_net("lstm:7,5")
    for parameter in source.parameters():
        parameter.data += 1
    graft = reuse.transplant(source.state_dict(), target, restore="embedding,lstm1")
    assert set(graft.restored) == {"embedding", "lstm1"}
    assert torch.equal(target.lstm1.recurrent.weight_hh_l0, source.lstm1.recurrent.weight_hh_l0)
    bag = token_net("mlp:7")
    reuse.transplant(source.state_dict(), bag, restore="embedding")
    assert torch.equal(bag.embedding.weight, source.embedding.weight)


def test_outputs_are_taken_away_and_replaced() -> None:
    model = build("gru:7", (9, 2), 3)
    assert replace_output(model, 5) == ["output"]
    assert model(torch.zeros(4, 9, 2)).shape == (4, 5)
    encoder = encoder_of(model)
    assert encoder(torch.zeros(4, 9, 2)).shape == (4, 7)
    assert build_decoder(encoder, torch.zeros(1, 9, 2))(torch.zeros(4, 7)).shape == (4, 9, 2)
    with pytest.raises(UsageError, match="tokens"):
        build_decoder(encoder_of(token_net()), TOKENS[:1])


@pytest.mark.parametrize(
    ("spec", "shape", "settings", "message"),
    [
        ("lstm:8", (6,), {}, "sequences=True"),
        ("lstm:8", (1, 8, 8), {}, "sequences"),
        ("lstm:8", (5,), {"num_tokens": 1}, "2 tokens or more"),
        ("lstm:8", (5,), {"num_tokens": 9, "embedding_size": 0}, "1 feature or more"),
        ("lstm:8", (5, 2), {"embedding_size": 8}, "leave them out"),
        ("lstm:8", (5, 2), {"recurrent_dropout": 1.0}, "recurrent_dropout"),
        ("mlp:8", (5,), {"recurrent_dropout": 0.1}, "no recurrent layers"),
        ("convnet:8", (5,), {"num_tokens": 9}, "takes images"),
        ("lstm:8", (5, 2), {"norm": "instance"}, "needs maps"),
        ("lstm:8", (5, 2), {"norm": "weight"}, "layer or rms"),
        ("lstm:", (5, 2), {}, "no widths"),
    ],
)
def test_what_cannot_be_built(spec: str, shape: tuple[int, ...], settings: dict[str, object], message: str) -> None:
    with pytest.raises((UsageError, UnknownNameError), match=message):
        build(spec, shape, 3, **settings)  # type: ignore[arg-type]
