import copy

import pytest
import torch
from timm.layers import DropPath
from torch import nn
from torch.nn import functional

import reuse
from reuse.errors import UsageError
from reuse.nn.building import build
from reuse.nn.exchanging import Exchange, exchange_activations, exchange_norms, exchange_notes

NORMS = ["batch", "layer", "group", "instance", "rms", "local_response"]


def conv_net(norm: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 8, 3), norm, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))


def moved(norm: nn.Module) -> nn.Module:
    """A norm as training left it."""
    for tensor in (*norm.parameters(), *norm.buffers()):
        if tensor.is_floating_point():
            nn.init.uniform_(tensor, 0.5, 1.5)
    return norm.eval()


def formula(name: str, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """The norm of maps of 8 channels, by torch's functions."""
    if name == "rms":
        return x / x.square().mean(1, True).add(torch.finfo(x.dtype).eps).sqrt() * weight.view(-1, 1, 1)
    return {
        "batch": lambda: functional.batch_norm(x, torch.zeros(8), torch.ones(8), weight, bias),
        "layer": lambda: functional.group_norm(x, 1, weight, bias),
        "group": lambda: functional.group_norm(x, 2, weight, bias),
        "instance": lambda: functional.instance_norm(x, weight=weight, bias=bias),
        "local_response": lambda: functional.local_response_norm(x, 5),
    }[name]()


@pytest.mark.parametrize("new", NORMS)
@pytest.mark.parametrize("old", [nn.BatchNorm2d(8), nn.GroupNorm(4, 8), nn.InstanceNorm2d(8, affine=True)])
def test_norms_of_maps_keep_weight_and_bias(old: nn.Module, new: str) -> None:
    old = moved(copy.deepcopy(old))
    was_batch, weight, bias = isinstance(old, nn.BatchNorm2d), old.weight.detach(), old.bias.detach()
    statistics = {name: tensor.clone() for name, tensor in old.named_buffers()}
    model = conv_net(old).eval()
    made = exchange_norms(model, new)
    x = torch.randn(4, 8, 5, 5)
    if was_batch and new == "batch":
        assert all(torch.equal(tensor, statistics[name]) for name, tensor in model[1].named_buffers())
        assert made.discarded == ()
    else:
        torch.testing.assert_close(model[1](x), formula(new, x, weight, bias))
        lost = {"rms": {"bias"}, "local_response": {"weight", "bias"}}.get(new, set()) | set(statistics)
        assert {name.removeprefix("1.") for name in made.discarded} == lost
    assert made.replaced == ("1",)
    assert not model[1].training


@pytest.mark.parametrize("new", [name for name in NORMS if name != "instance"])
@pytest.mark.parametrize("shape", [(6, 12), (2, 3, 12), (2, 3, 4, 12)])
def test_norms_of_features_in_the_last_place_see_the_same(new: str, shape: tuple[int, ...]) -> None:
    old = moved(nn.LayerNorm(12))
    weight, bias = old.weight.detach(), old.bias.detach()
    model = nn.Sequential(nn.Linear(12, 12), old)
    exchange_norms(model, new)
    x = torch.randn(shape)
    rows = x.reshape(-1, 12)
    expected = {
        "batch": lambda: functional.batch_norm(rows, None, None, weight, bias, training=True),
        "layer": lambda: functional.layer_norm(rows, (12,), weight, bias),
        "group": lambda: functional.group_norm(rows, 3, weight, bias),
        "rms": lambda: functional.rms_norm(rows, (12,), weight),
        "local_response": lambda: functional.local_response_norm(rows.unsqueeze(2), 5).squeeze(2),
    }[new]()
    torch.testing.assert_close(model[1].train()(x), expected.view(shape))


@pytest.mark.parametrize(("old", "layer", "shape"), [
    (nn.BatchNorm1d(8), nn.Linear(3, 8), (5, 8)), (nn.BatchNorm1d(8), nn.Conv1d(3, 8, 1), (5, 8, 7)),
    (nn.BatchNorm3d(8), nn.Conv3d(3, 8, 1), (5, 8, 2, 3, 4)), (nn.GroupNorm(2, 8), nn.Linear(3, 8), (5, 8)),
    (nn.LocalResponseNorm(3), nn.Conv2d(3, 8, 1), (5, 8, 3, 4)),
])  # fmt: skip
@pytest.mark.parametrize("new", NORMS)
def test_norms_of_any_dimension(old: nn.Module, layer: nn.Module, shape: tuple[int, ...], new: str) -> None:
    model = nn.Sequential(layer, copy.deepcopy(old))
    if new == "instance" and len(shape) == 2:
        with pytest.raises(UsageError, match="no norm of maps"):
            exchange_norms(model, new)
        assert type(model[1]) is type(old)
        return
    exchange_norms(model, new)
    assert model[1].train()(torch.randn(shape)).shape == shape


@pytest.mark.parametrize(("spec", "norm", "activation"), [
    ("timm:resnet18", "group", "silu"), ("timm:convnext_atto", "rms", "relu"),
    ("timm:vit_tiny_patch16_224", "batch", "mish"), ("timm:efficientnet_b0", "batch:eps=0.001", "prelu"),
])  # fmt: skip
def test_models_of_timm_are_exchanged_cut_and_restored_by_name(spec: str, norm: str, activation: str) -> None:
    torch.manual_seed(0)
    settings = {"norm": norm, "activation": activation}
    model = build(spec, (3, 32, 32), 4, **settings).eval()
    x = torch.randn(3, 3, 32, 32)
    assert len(exchange_notes(model)) == 2
    other = build(spec, (3, 32, 32), 4, **settings).eval()
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(x), model(x))
    reuse.freeze(model, "!" + reuse.nn.building.output_layer(model))
    parts = reuse.cut(model, x)
    torch.testing.assert_close(parts.suffix(*parts.prefix(x)), model(x), rtol=1e-4, atol=1e-5)


def test_a_norm_with_an_activation_in_it_keeps_that() -> None:
    model = build("timm:densenet121", (3, 32, 32), 4, norm="group")
    assert [type(part) for part in model.features.norm0] == [nn.GroupNorm, nn.ReLU]
    (note,) = exchange_notes(model)
    assert note.startswith("121 norm layers exchanged for group (features.norm0, ")
    assert note.endswith("kept: their weight, bias; discarded: their running_mean, running_var, num_batches_tracked")


def test_gates_and_outputs_stay_as_they_are() -> None:
    model = build("timm:efficientnet_b0", (3, 32, 32), 4)
    gates = sum(isinstance(module, nn.Sigmoid) or type(module).__name__ == "Sigmoid" for module in model.modules())
    made = exchange_activations(model, "relu")
    after = sum(isinstance(module, nn.Sigmoid) or type(module).__name__ == "Sigmoid" for module in model.modules())
    assert gates == after > 0
    assert not any(type(module).__name__ in ("SiLU", "Swish", "SwishMe") for module in model.modules())
    assert made.name == "relu"
    only_sigmoids = nn.Sequential(nn.Linear(2, 2), nn.Sigmoid(), nn.Linear(2, 1))
    assert exchange_activations(only_sigmoids, "relu").replaced == ("1",)


def test_what_is_shared_stays_shared_and_weights_of_activations_are_discarded() -> None:
    shared = nn.PReLU()
    model = nn.Sequential(nn.Linear(2, 2), shared, nn.Linear(2, 2), shared)
    assert exchange_activations(model, "leaky_relu:0.3") == Exchange(
        "activation", "leaky_relu:0.3", ("1", "3"), (), ("1.weight", "3.weight")
    )
    assert model[1] is model[3]
    norm = nn.LayerNorm(2)
    both = nn.Sequential(nn.Linear(2, 2), norm, nn.Linear(2, 2), norm)
    assert exchange_norms(both, "rms").replaced == ("1", "3")
    assert both[1] is both[3]


def test_frozen_norms_stay_frozen_and_types_stay() -> None:
    model = conv_net(nn.BatchNorm2d(8)).double()
    model[1].requires_grad_(False)
    exchange_norms(model, "group")
    assert not any(p.requires_grad for p in model[1].parameters())
    assert model(torch.zeros(1, 3, 5, 5, dtype=torch.float64)).dtype == torch.float64


class Functional(nn.Module):
    def __init__(self, num_outputs: int) -> None:
        super().__init__()
        self.output = nn.Linear(3, num_outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.output(functional.relu(x))


@pytest.mark.parametrize(("settings", "message"), [
    ({"norm": "group"}, "no norm layer to exchange is in Functional"),
    ({"activation": "silu"}, "no activation layer to exchange is in Functional.*modules"),
])  # fmt: skip
def test_what_is_called_as_a_function_cannot_be_exchanged(settings: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build(f"{Functional.__module__}:Functional", (3,), 2, **settings)


@pytest.mark.parametrize("norm", ["none", "weight", "batch:after", "group:input"])
def test_only_layers_without_places_can_take_a_norms_place(norm: str) -> None:
    with pytest.raises(UsageError, match=norm):
        exchange_norms(conv_net(nn.BatchNorm2d(8)), norm)


def test_norms_that_cannot_be_exchanged_say_why() -> None:
    with pytest.raises(UsageError, match=r"1 is a norm over \(8, 3, 3\)"):
        exchange_norms(conv_net(nn.LayerNorm((8, 3, 3))), "group")
    with pytest.raises(UsageError, match="TransformerEncoderLayer"):
        exchange_norms(nn.Sequential(nn.TransformerEncoderLayer(8, 2)), "rms")


def test_nothing_is_noted_where_nothing_was_exchanged() -> None:
    assert exchange_notes(build("timm:resnet18", (3, 32, 32), 4)) == []


def test_drop_path_of_timm() -> None:
    model = build("timm:resnet18", (3, 32, 32), 4, drop_path=0.2)
    rates = [module.drop_prob for module in model.modules() if isinstance(module, DropPath)]
    assert max(rates) == pytest.approx(0.2)
    with pytest.raises(UsageError, match="takes no drop_path"):
        build("timm:vgg11", (3, 32, 32), 4, drop_path=0.2)
