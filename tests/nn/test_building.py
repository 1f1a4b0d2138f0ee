import math

import pytest
import torch
from torch import Tensor, fx, nn

import reuse
from reuse.errors import UnknownNameError, UsageError
from reuse.nn.activations import ACTIVATIONS
from reuse.nn.building import build
from reuse.nn.conv_blocks import BLOCKS
from reuse.nn.decoders import build_decoder, encoder_of
from reuse.nn.norms import MAP_NORMS, VECTOR_NORMS

IMAGES = [(1, 8, 8), (1, 28, 28), (3, 9, 5), (2, 1, 1)]


def test_mlp_has_the_layers_of_its_spec() -> None:
    model = build("mlp:300,100,50", (1, 28, 28), 10, norm="batch", dropout=0.5, input_dropout=0.2)
    names = [name for name, _ in model.named_children() if any(True for _ in model.get_submodule(name).parameters())]
    assert names == ["hidden1", "hidden2", "hidden3", "output"]
    assert [name for name, _ in model.hidden1.named_children()] == ["linear", "norm", "activation", "dropout"]
    assert [model.get_submodule(f"hidden{k}.linear").out_features for k in (1, 2, 3)] == [300, 100, 50]
    assert model.hidden1.linear.bias is None
    assert model.hidden1.linear.in_features == 784
    assert (model.input_dropout.p, model.hidden2.dropout.p) == (0.2, 0.5)


def test_mlp_computes_what_its_weights_say() -> None:
    model = build("mlp:7,5", (2, 3), 4, activation="tanh").double()
    x = torch.randn(6, 2, 3, dtype=torch.float64)
    w = model.state_dict()
    h1 = (x.reshape(6, 6) @ w["hidden1.linear.weight"].T + w["hidden1.linear.bias"]).tanh()
    h2 = (h1 @ w["hidden2.linear.weight"].T + w["hidden2.linear.bias"]).tanh()
    torch.testing.assert_close(model(x), h2 @ w["output.weight"].T + w["output.bias"])


def test_convnet_has_the_layers_of_its_spec() -> None:
    model = build("convnet:32,64", (1, 28, 28), 10, norm="batch", dropout=0.5)
    assert [name for name, _ in model.conv1.named_children()] == ["conv", "norm", "activation", "pool", "dropout"]
    assert model.conv1.conv.bias is None
    assert model.conv2(model.conv1(torch.zeros(2, 1, 28, 28))).shape == (2, 64, 7, 7)
    assert model.output.in_features == 64 * 7 * 7


@pytest.mark.parametrize("shape", IMAGES)
def test_convnet_takes_images_of_any_size(shape: tuple[int, ...]) -> None:
    assert build("convnet:4,4,4,4", shape, 3)(torch.zeros(2, *shape)).shape == (2, 3)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("spec", ["mlp:12,8", "convnet:12,8"])
def test_traceable_and_gradient_reaches_every_parameter(spec: str, activation: str) -> None:
    torch.manual_seed(0)
    norm = None if activation == "selu" else "batch"
    model = build(spec, (2, 6, 6), 3, activation=activation, norm=norm, dropout=0.1, input_dropout=0.1)
    x = torch.randn(16, 2, 6, 6)
    model(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    torch.testing.assert_close(fx.symbolic_trace(model.eval())(x), model(x))


@pytest.mark.parametrize(
    ("spec", "norm"), [*(("mlp:8,4", name) for name in VECTOR_NORMS), *(("convnet:8,4", name) for name in MAP_NORMS)]
)
def test_every_norm_is_traceable(spec: str, norm: str) -> None:
    model = build(spec, (2, 6, 6), 3, norm=norm).eval()
    x = torch.randn(5, 2, 6, 6)
    torch.testing.assert_close(fx.symbolic_trace(model)(x), model(x))


NETWORKS = [
    *((f"convnet:{'' if kind == 'plain' else kind}6k5,4/5", "batch") for kind in BLOCKS),
    *(("convnet:residual6+4", norm) for norm in (None, "lrn", "weight", "spectral:output")),
    *((spec, norm) for spec in ("highway:6,6,6", "default:6,5") for norm in (None, "lrn", "spectral")),
]


@pytest.mark.parametrize(("spec", "norm"), NETWORKS)
def test_every_network_is_frozen_cut_and_restored_by_name(spec: str, norm: str | None) -> None:
    torch.manual_seed(0)
    model, other = (build(spec, (2, 6, 6), 3, norm=norm, dropout=0.1) for _ in range(2))
    assert reuse.transplant(model.state_dict(), other).fresh == ()
    x = torch.randn(7, 2, 6, 6)
    torch.testing.assert_close(other.eval()(x), model.eval()(x))
    first = next(name for name, module in model.named_children() if any(True for _ in module.parameters()))
    reuse.freeze(model.train(), first)
    parts = reuse.cut(model, x)
    assert [tensor.name.split(".")[0] for tensor in parts.frontier] in ([first], [first, "flatten"], ["flatten"])
    torch.testing.assert_close(parts.suffix.eval()(*parts.prefix(x)), model.eval()(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("activation", "init", "variance"),
    [("relu", None, 2 / 200), ("tanh", None, 2 / 500), ("selu", None, 1 / 200), ("relu", "zeros", 0.0)],
)
def test_initial_weights_follow_activation_and_setting(activation: str, init: str | None, variance: float) -> None:
    torch.manual_seed(0)
    model = build("mlp:300", (200,), 100, activation=activation, init=init)
    assert model.hidden1.linear.weight.var().item() == pytest.approx(variance, rel=0.05)
    assert model.output.weight.abs().max().item() == pytest.approx(math.sqrt(6 / 400), rel=0.01)
    assert not model.hidden1.linear.bias.any()
    assert not model.output.bias.any()


@pytest.mark.parametrize(("spec", "kind"), [("mlp:8,4", "linear"), ("convnet:8,4", "conv")])
def test_norms_stand_where_they_are_wanted(spec: str, kind: str) -> None:
    model = build(spec, (2, 6, 6), 3, norm="batch:after,input,output", input_dropout=0.1)
    names = [name for name, _ in model.named_children() if name != "flatten"]
    assert names[:2] == ["input_norm", "input_dropout"]
    assert names[-2:] == ["output", "output_norm"]
    first = next(module for name, module in model.named_children() if name in ("hidden1", "conv1"))
    assert [name for name, _ in first.named_children()][:3] == [kind, "activation", "norm"]
    assert first[0].bias is not None
    assert model.output.bias is None
    x = torch.randn(50, 2, 6, 6) * 7 + 3
    outputs = model(x)
    torch.testing.assert_close(outputs.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(outputs.std(0, correction=0), torch.ones(3), atol=1e-2, rtol=0)


def test_an_unknown_place_of_a_norm_gets_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="output"):
        build("mlp:4", (3,), 2, norm="batch:outputs")


def test_selu_takes_alpha_dropout_and_warns_of_other_initial_weights() -> None:
    assert isinstance(build("mlp:4", (3,), 2, activation="selu", dropout=0.1).hidden1.dropout, nn.AlphaDropout)
    for spec, shape in (("mlp:4,3", (3,)), ("convnet:4,3", (1, 4, 4))):
        with pytest.warns(UserWarning, match="activation 'selu' with initial weights 'he_normal'") as caught:
            build_decoder(
                encoder_of(build(spec, shape, 2, activation="selu", init="he_normal")), torch.zeros(1, *shape)
            )
        assert [warning.filename for warning in caught] == [__file__]


def test_same_seed_same_model() -> None:
    def weights() -> list[Tensor]:
        torch.manual_seed(3)
        return list(build("mlp:5,4", (3,), 2).parameters())

    assert all(torch.equal(a, b) for a, b in zip(weights(), weights(), strict=True))


@pytest.mark.parametrize(("spec", "message"), [
    ("mpl:30", "did you mean 'mlp'"), ("rnn:64", "mlp:300"), ("timm", "timm:resnet18"), ("mlp:", "no widths"),
    ("no_such_module:Net", "no_such_module"), ("", "package.module:callable"),
])  # fmt: skip
def test_unknown_specs_say_what_there_is(spec: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build(spec, (4,), 2)


@pytest.mark.parametrize(("setting", "value"), [
    ("dropout", 1.0), ("input_dropout", -0.1), ("norm", "batsh"), ("activation", "rely"), ("init", "constant:x"),
    ("init", "he"), ("pretrained", True),
])  # fmt: skip
def test_bad_settings_are_refused(setting: str, value: object) -> None:
    with pytest.raises(UsageError, match=str(value).split(":")[0] if setting != "pretrained" else "pretrained"):
        build("mlp:4", (3,), 2, **{setting: value})


@pytest.mark.parametrize(("shape", "num_outputs"), [((), 2), ((0,), 2), ((3,), 0)])
def test_bad_shapes_are_refused(shape: tuple[int, ...], num_outputs: int) -> None:
    with pytest.raises(UsageError):
        build("mlp:4", shape, num_outputs)


def test_convnet_needs_images() -> None:
    with pytest.raises(UsageError, match=r"\(64,\)"):
        build("convnet:4", (64,), 2)


def test_unknown_family_is_an_unknown_name() -> None:
    with pytest.raises(UnknownNameError):
        build("convnets:4", (1, 8, 8), 2)
