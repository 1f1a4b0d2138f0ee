"""Watching: networks made to die, saturate, vanish or explode get their line, and healthy ones none."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from grouped import grouped
from reuse.data.rows import Resident
from reuse.layers.cutting import cut
from reuse.layers.freezing import freeze
from reuse.nn.building import build
from reuse.objectives.supervised import Classification
from reuse.optim.clipping import clip_by_norm
from reuse.optim.groups import OptimizerSettings
from reuse.training.step import StepParts
from reuse.training.trainer import Trainer
from reuse.training.watching import Watched, layer_of, watch

DRAW = torch.Generator().manual_seed(0)
ROWS = torch.randn(200, 20, generator=DRAW)
LABELS = (ROWS[:, 0] > 0).long() + (ROWS[:, 1] > 0).long()
IMAGES = torch.randn(40, 3, 32, 32, generator=DRAW)


def network(spec: str, shape: tuple[int, ...] = (20,), **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return build(spec, shape, 3, **options)


@contextmanager
def edited(model: nn.Module) -> Iterator[nn.Module]:
    with torch.no_grad():
        yield model


def watched(model: nn.Module, rows: Tensor = ROWS, epochs: int = 1, **settings: Any) -> Watched:
    trainer = Trainer(model, Classification(3), **grouped(**{"learning_rate": 0.003, "batch_size": 20, **settings}))
    for _ in trainer.epochs(Resident(rows), LABELS[: len(rows)], epochs=epochs):
        pass
    return watch(trainer, Resident(rows))


def lines(seen: Watched) -> list[str]:
    return [advice.text for advice in seen.advice]


@pytest.mark.parametrize(
    "options",
    [
        {"activation": "relu"},
        {"activation": "elu", "norm": "batch"},
        {"activation": "tanh"},
        {"activation": "sigmoid"},
        {"activation": "selu", "init": "lecun_normal"},
    ],
)
def test_a_healthy_network_gets_no_advice(options: dict[str, Any]) -> None:
    seen = watched(network("mlp:50,40,30", **options), epochs=5)
    assert lines(seen) == []
    assert list(seen.layers) == ["hidden1", "hidden2", "hidden3", "output"]
    assert all(figures["gradient"] > 0 and figures["weight"] > 0 for figures in seen.layers.values())


def test_norms_are_those_of_all_that_trains_in_a_layer() -> None:
    model = network("mlp:8", norm="batch", activation="relu")
    seen = watched(model)
    own = list(model.get_submodule("hidden1").parameters())
    assert len(own) == 3
    for kind, tensors in (("weight", own), ("gradient", [p.grad for p in own])):
        expected = sum(float(t.detach().double().square().sum()) for t in tensors if t is not None) ** 0.5
        assert seen.layers["hidden1"][kind] == pytest.approx(expected, rel=1e-6)


def test_the_change_is_counted_from_the_weights_before() -> None:
    model = nn.Linear(20, 3, bias=False)
    trainer = Trainer(model, Classification(3), optimization=OptimizerSettings("adam", 0.01))
    before = {"weight": model.weight.detach().clone()}
    for _ in trainer.epochs(Resident(ROWS), LABELS, epochs=1):
        pass
    moved = (model.weight.detach() - before["weight"]).norm() / model.weight.detach().norm()
    figures = watch(trainer, Resident(ROWS), before=before).layers["weight"]
    assert figures["change"] == pytest.approx(float(moved), rel=1e-5)
    assert "change" not in watch(trainer, Resident(ROWS)).layers["weight"]


def test_dead_units_are_counted_for_every_row() -> None:
    with edited(network("mlp:10,10", activation="relu")) as model:
        model.get_parameter("hidden1.linear.bias")[:] = 5.0
        model.get_parameter("hidden2.linear.weight").abs_()
        model.get_parameter("hidden2.linear.weight")[:4].neg_()
    seen = watched(model, learning_rate=1e-6)
    assert seen.layers["hidden2"]["dead"] == pytest.approx(0.4)
    assert lines(seen) == [
        "hidden2: 40 % of units are zero for every training sample; try leaky ReLU or a smaller rate"
    ]


def test_a_layer_that_is_wholly_dead_gets_one_line() -> None:
    with edited(network("mlp:10,10", activation="relu")) as model:
        model.get_parameter("hidden2.linear.bias")[:] = -10.0
    (line,) = lines(watched(model))
    assert line.startswith("hidden2: 100 % of units are zero for every training sample")


def test_saturation() -> None:
    with edited(network("mlp:10,10", activation="tanh")) as model:
        model.get_parameter("hidden1.linear.weight").mul_(100)
    (line,) = lines(watched(model))
    assert line.startswith("hidden1: 100 % of units are saturated for most training samples; try smaller")


def test_outputs_may_well_be_at_the_end_of_their_range() -> None:
    seen = watched(nn.Sequential(nn.Linear(20, 5), nn.Tanh(), nn.Linear(5, 3), nn.Sigmoid()), optimizer="sgd")
    assert set(seen.layers) == {"0", "1", "2"}


def test_vanishing_gradients() -> None:
    seen = watched(network("mlp:" + ",".join(["30"] * 20), activation="sigmoid"))
    (line,) = lines(seen)
    assert line.startswith("hidden1, hidden2 and ")
    assert "gradients vanish, below 1e-05 of that of output; try ReLU or ELU" in line
    assert "hidden1" in seen.advice[0].layers


def exploding() -> nn.Module:
    with edited(network("mlp:" + ",".join(["50"] * 8), activation="elu")) as model:
        for parameter in model.parameters():
            parameter.mul_(5)
    return model


def test_exploding_gradients_unless_they_are_clipped() -> None:
    (line,) = [line for line in lines(watched(exploding(), learning_rate=1e-6)) if "explode" in line]
    assert line.startswith("hidden1, hidden2 and ")
    assert "try clip_norm" in line
    clipped = watched(exploding(), learning_rate=1e-6, parts=StepParts(clipping=[clip_by_norm(1.0)]))
    assert not [line for line in lines(clipped) if "explode" in line]


def test_advice_that_was_given_is_not_given_again() -> None:
    with edited(network("mlp:10,10", activation="relu")) as model:
        model.get_parameter("hidden2.linear.bias")[:] = -10.0
    trainer = Trainer(model, Classification(3))
    for _ in trainer.epochs(Resident(ROWS), LABELS, epochs=1):
        pass
    (advice,) = watch(trainer, Resident(ROWS)).advice
    assert not watch(trainer, Resident(ROWS), said={(layer, advice.kind) for layer in advice.layers}).advice
    assert watch(trainer, Resident(ROWS), said={("hidden1", advice.kind)}).advice == (advice,)


def test_watching_changes_nothing() -> None:
    def trained(look: Callable[[Trainer], object]) -> dict[str, Tensor]:
        model = network("mlp:10,10", activation="rrelu", norm="batch", dropout=0.3)
        trainer = Trainer(model, Classification(3), optimization=OptimizerSettings("adam", 0.01))
        for _ in trainer.epochs(Resident(ROWS), LABELS, epochs=3):
            look(trainer)
            assert model.training
            assert not any(module._forward_hooks for module in model.modules())
        return copy.deepcopy(model.state_dict())

    torch.testing.assert_close(
        trained(lambda trainer: watch(trainer, Resident(ROWS))), trained(lambda _: None), rtol=0, atol=0
    )


def test_channels_and_shared_activations_of_convolutional_networks() -> None:
    with edited(network("convnet:6,8", (3, 32, 32), activation="relu")) as model:
        model.get_parameter("conv2.conv.bias")[:4] = -50.0
    seen = watched(model, IMAGES)
    assert seen.layers["conv2"]["dead"] == pytest.approx(0.5)
    assert [advice.layers for advice in seen.advice] == [("conv2",)]

    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.third = nn.Linear(20, 6), nn.Linear(6, 4), nn.Linear(4, 3)
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.third(self.relu(self.second(self.relu(self.first(x)))))  # type: ignore[no-any-return]

    shared = Shared()
    with edited(shared):
        shared.second.bias[:3] = -50.0
    assert watched(shared).layers["relu"]["dead"] == pytest.approx(0.75)


def test_timm_models_and_tokens_have_their_units_counted_where_they_lie() -> None:
    with edited(network("timm:resnet18", (3, 32, 32))) as model:
        model.get_parameter("layer1.0.bn1.bias")[:16] = -50.0
    assert watched(model, IMAGES, learning_rate=1e-6).layers["layer1.0.act1"]["dead"] == pytest.approx(0.25)
    torch.manual_seed(0)
    tokens = nn.Sequential(nn.Unflatten(1, (5, 4)), nn.Linear(4, 8), nn.ReLU(), nn.Flatten(), nn.Linear(40, 3))
    with edited(tokens):
        tokens.get_parameter("1.bias")[:2] = -50.0
    assert watched(tokens).layers["2"]["dead"] == pytest.approx(0.25)


def test_recurrent_networks() -> None:
    model = build("lstm:8", (6,), 3, num_tokens=8)
    words = torch.randint(1, 7, (40, 6), generator=DRAW)
    seen = watched(model, words)
    assert {"embedding", "lstm1", "output"} <= set(seen.layers)
    assert lines(seen) == []
    with edited(model):
        model.get_parameter("lstm1.recurrent.bias_ih_l0")[:] = 50.0
    assert watched(model, words).layers["lstm1"]["saturated"] == 1.0


def test_the_suffix_of_a_cut_is_watched_under_the_names_of_the_model() -> None:
    model = network("mlp:10,9,8", activation="relu")
    with edited(model):
        for layer in ("hidden1", "hidden3"):
            model.get_parameter(f"{layer}.linear.bias")[:] = -50.0
    freeze(model, "hidden1")
    whole = watched(model)
    assert set(whole.layers) == {"hidden2", "hidden3", "output"}, "nothing can be done about what is frozen"
    parts = cut(model, ROWS[:2])
    with torch.no_grad():
        frontier = parts.prefix(ROWS)
    trainer = Trainer(model, Classification(3), network=parts.suffix)
    for _ in trainer.epochs(Resident(*frontier), LABELS, epochs=1):
        pass
    seen = watch(trainer, Resident(*frontier))
    assert set(seen.layers) == {"hidden2", "hidden3", "output"}
    assert seen.layers["hidden3"]["dead"] == 1.0


def test_layers_are_named_as_a_user_names_them() -> None:
    names = {"hidden1.linear": "hidden1", "hidden1": "hidden1", "layer1.0.act1": "layer1.0.act1", "linear": "linear"}
    assert {name: layer_of(name) for name in names} == names
    seen = watched(network("mlp:6", norm="weight", activation="relu"))
    assert list(seen.layers) == ["hidden1", "output"]
