import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from reuse.errors import UsageError
from reuse.nn.building import build
from reuse.nn.conv_blocks import BLOCKS, Residual
from reuse.nn.conv_specs import ConvLayer
from reuse.nn.convnet import ConvNet, map_sizes
from reuse.nn.decoders import build_decoder, encoder_of
from reuse.nn.hidden import HiddenStyle

# Weights of each kind of layer, 8 channels to 12, biases among them.
NUM_WEIGHTS = {
    "plain": 12 * 8 * 9 + 12,
    "double": 12 * 8 * 9 + 12 + 12 * 12 * 9 + 12,
    "factorised": 12 * 8 * 3 + 12 + 12 * 12 * 3 + 12,
    "bottleneck": 3 * 8 + 3 + 3 * 3 * 9 + 3 + 12 * 3 + 12,
    "separable": 8 * 9 + 8 + 12 * 8 + 12,
    "residual": 12 * 8 * 9 + 12 + 12 * 12 * 9 + 12 + 12 * 8 + 12,
    "dense": 12 * 8 * 9 + 12,
}


def conv(x: Tensor, weights: dict[str, Tensor], name: str, groups: int = 1) -> Tensor:
    """The convolution of that name, by torch's function."""
    weight = weights[f"{name}.conv.weight"]
    padding = (weight.shape[2] // 2, weight.shape[3] // 2)
    return functional.conv2d(x, weight, weights[f"{name}.conv.bias"], padding=padding, groups=groups)


# What each kind computes, of 4 channels, its own weights and tanh between and behind.
FORMULAS = {
    "plain": lambda x, w: conv(x, {f"it.{k}": v for k, v in w.items()}, "it").tanh(),
    "double": lambda x, w: conv(conv(x, w, "first").tanh(), w, "second").tanh(),
    "factorised": lambda x, w: conv(conv(x, w, "first").tanh(), w, "second").tanh(),
    "bottleneck": lambda x, w: conv(conv(conv(x, w, "reduce").tanh(), w, "middle").tanh(), w, "expand").tanh(),
    "separable": lambda x, w: conv(conv(x, w, "depthwise", 4).tanh(), w, "pointwise").tanh(),
    "residual": lambda x, w: (
        conv(conv(x, w, "residual.first").tanh(), w, "residual.second") + conv(x, w, "residual.shortcut")
    ).tanh(),
    "dense": lambda x, w: torch.cat([x, conv(x, w, "dense.layer").tanh()], 1),
}


@pytest.mark.parametrize("kernel", ["", "k5"])
@pytest.mark.parametrize("kind", BLOCKS)
def test_each_kind_computes_its_formula(kind: str, kernel: str) -> None:
    torch.manual_seed(0)
    name = "" if kind == "plain" else kind
    layer = build(f"convnet:{name}6{kernel}+3", (4, 7, 5), 2, activation="tanh").double().conv1
    nn.init.normal_(next(p for n, p in layer.named_parameters() if n.endswith("bias")))
    x = torch.randn(2, 4, 7, 5, dtype=torch.float64)
    torch.testing.assert_close(layer(x), FORMULAS[kind](x, layer.state_dict()))


def test_instance_norm_of_a_single_position_is_refused() -> None:
    """It would be zero; torch says so only in training."""
    for spec, norm in (("convnet:4,4,4", "instance"), ("convnet:4,4,residual4", "instance:after")):
        with pytest.raises(UsageError, match=r"conv3 .* one position"):
            build(spec, (1, 4, 4), 2, norm=norm)
    with pytest.raises(UsageError, match=r"inputs .* one position"):
        build("convnet:4", (3, 1, 1), 2, norm="instance:input")
    assert build("convnet:4,4", (1, 4, 4), 2, norm="instance")(torch.randn(2, 1, 4, 4)).shape == (2, 2)


@pytest.mark.parametrize("kind", BLOCKS)
def test_each_kind_has_the_weights_that_it_saves(kind: str) -> None:
    parts = BLOCKS[kind](8, 12, 3, HiddenStyle())
    assert sum(p.numel() for part in parts.values() for p in part.parameters()) == NUM_WEIGHTS[kind]


def test_two_of_three_see_as_far_as_one_of_five() -> None:
    model = build("convnet:double4", (1, 11, 11), 2, activation="none")
    x = torch.zeros(1, 1, 11, 11, requires_grad=True)
    model.conv1.second(model.conv1.first(x))[0, 0, 5, 5].backward()
    rows, columns = x.grad[0, 0].nonzero().T
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (3, 7, 3, 7)


@pytest.mark.parametrize("norm", [None, "batch", "group:after", "weight"])
@pytest.mark.parametrize("kind", BLOCKS)
def test_every_kind_is_one_traceable_layer_that_learns(kind: str, norm: str | None) -> None:
    torch.manual_seed(0)
    name = "" if kind == "plain" else kind
    spec = f"convnet:{name}8+{name}8,{name}4/6"
    model = build(spec, (2, 9, 6), 3, norm=norm, dropout=0.1, activation="elu")
    names = [n for n, module in model.named_children() if any(True for _ in module.parameters())]
    assert names == ["conv1", "conv2", "conv3", "hidden1", "output"]
    x = torch.randn(16, 2, 9, 6)
    model(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    torch.testing.assert_close(fx.symbolic_trace(model.eval())(x), model(x))
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d | nn.GroupNorm)]
    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert len(norms) == (len(convs) if norm == "batch" else len(norms))
    assert all((c.bias is None) == (norm == "batch") for c in convs)


def test_a_plus_keeps_the_size_of_the_map() -> None:
    assert map_sizes((28, 7), [ConvLayer(4, pooled=False), ConvLayer(4), ConvLayer(4)]) == [
        (28, 7), (28, 7), (14, 3), (7, 1),
    ]  # fmt: skip
    model = build("convnet:4+dense3+dense3,6", (1, 8, 8), 2)
    assert model.conv3(model.conv2(model.conv1(torch.zeros(1, 1, 8, 8)))).shape == (1, 10, 4, 4)
    assert model.output.in_features == 6 * 2 * 2


def test_dropout_is_that_of_the_dense_layers_where_there_are_any() -> None:
    def dropping(spec: str) -> list[str]:
        model = build(spec, (1, 8, 8), 2, dropout=0.3)
        return [name for name, module in model.named_modules() if isinstance(module, nn.Dropout)]

    assert dropping("convnet:4,residual4/5,6") == ["hidden1.dropout", "hidden2.dropout"]
    assert dropping("convnet:4,residual4") == ["conv1.dropout", "conv2.dropout"]


def test_drop_path_leaves_out_more_of_the_upper_residual_layers() -> None:
    model = build("convnet:4,residual4+residual4,residual8", (1, 8, 8), 2, drop_path=0.6)
    rates = [module.drop_path.drop_prob for module in model.modules() if isinstance(module, Residual)]
    assert rates == pytest.approx([0.2, 0.4, 0.6])
    block, x = model.conv3.residual, torch.rand(2000, 4, 4, 4)
    without = block.behind(block.shortcut(x))
    share = (block.train()(x) == without).flatten(1).all(1).float().mean().item()
    assert share == pytest.approx(0.4, abs=0.05)
    whole = block.second(block.first(x)) + x
    torch.testing.assert_close(block.eval()(x), block.behind(whole))


@pytest.mark.parametrize("spec", ["mlp:4", "convnet:4,double4", "highway:4", "convnet:dense4"])
def test_drop_path_needs_residual_layers(spec: str) -> None:
    with pytest.raises(UsageError, match=r"drop_path=0.1.*has none"):
        build(spec, (1, 8, 8), 2, drop_path=0.1)


@pytest.mark.parametrize("spec", ["convnet:6", "convnet:6,4k5", "convnet:6,residual4", "convnet:4+4", "convnet:4/5"])
def test_every_convnet_has_a_decoder(spec: str) -> None:
    encoder = encoder_of(build(spec, (2, 9, 6), 3))
    coding = encoder(torch.rand(3, 2, 9, 6))
    assert isinstance(encoder, ConvNet)
    assert build_decoder(encoder, torch.zeros(1, 2, 9, 6))(coding).shape == (3, 2, 9, 6)
