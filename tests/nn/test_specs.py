from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from reuse.errors import UnknownNameError, UsageError
from reuse.nn.building import build
from reuse.nn.conv_blocks import BLOCKS
from reuse.nn.conv_specs import ConvLayer
from reuse.nn.options import LayerOptions
from reuse.nn.specs import LayeredSpec, add_layers, drop_layers, family_options, parse_layered

SIZES = st.integers(1, 5000)
WIDTHS = st.lists(SIZES, min_size=1, max_size=6)
FAMILIES = st.sampled_from(["mlp", "highway", "default", "lstm", "gru"])
CONVS = st.builds(ConvLayer, SIZES, st.sampled_from(list(BLOCKS)), st.sampled_from([1, 3, 5, 7]), st.booleans())
DENSE_SPECS = st.builds(LayeredSpec, FAMILIES, WIDTHS.map(tuple))


@st.composite
def conv_specs(draw: st.DrawFn) -> LayeredSpec:
    """A convnet; pooling stands behind the last convolution."""
    lower, top = draw(st.lists(CONVS, max_size=5)), replace(draw(CONVS), pooled=True)
    return LayeredSpec("convnet", tuple(draw(st.lists(SIZES, max_size=3))), (*lower, top))


SPECS = DENSE_SPECS | conv_specs()


@given(SPECS)
def test_text_and_parsed_spec_are_two_forms_of_one_thing(spec: LayeredSpec) -> None:
    assert parse_layered(str(spec)) == spec
    assert len(spec.layers) == len(spec.widths) + len(spec.convolutions)


@given(SPECS, WIDTHS)
def test_dropping_what_was_added_gives_the_spec_back(spec: LayeredSpec, more: list[int]) -> None:
    longer = parse_layered(add_layers(str(spec), more))
    assert longer.layers[: len(spec.layers)] == spec.layers
    assert len(longer.layers) == len(spec.layers) + len(more)
    assert drop_layers(str(longer), longer.layers[len(spec.layers) :]) == str(spec)


@given(conv_specs(), CONVS)
def test_convolutions_go_under_dense_layers_alone(spec: LayeredSpec, layer: ConvLayer) -> None:
    if spec.widths and str(layer) != str(layer.width):
        with pytest.raises(UsageError, match="not a width"):
            add_layers(str(spec), str(layer))
    elif not spec.widths:
        longer = parse_layered(add_layers(str(spec), f"{layer}/7"))
        assert (longer.convolutions, longer.widths) == ((*spec.convolutions, replace(layer, pooled=True)), (7,))


def test_the_grammar_of_convolutional_layers() -> None:
    spec = parse_layered("convnet: 20k5, residual64 + dense8k7,32/128, 64")
    assert spec.convolutions == (
        ConvLayer(20, kernel=5), ConvLayer(64, "residual", pooled=False), ConvLayer(8, "dense", 7), ConvLayer(32),
    )  # fmt: skip
    assert spec.layers == ("conv1", "conv2", "conv3", "conv4", "hidden1", "hidden2")
    assert str(spec) == "convnet:20k5,residual64+dense8k7,32/128,64"
    assert drop_layers(str(spec), "conv3,conv4,hidden1,hidden2") == "convnet:20k5,residual64"
    assert add_layers("convnet:8", "/50") == "convnet:8/50"


def test_default_without_widths_has_its_own() -> None:
    assert str(parse_layered("default")) == "default:300,100"
    assert add_layers("default", "50") == "default:300,100,50"


@pytest.mark.parametrize(("spec", "message"), [
    ("convnet:4k2", "odd"), ("convnet:residul4", "did you mean 'residual'"), ("convnet:4,", "empty place"),
    ("convnet:4+", "not a width"), ("convnet:/5", "empty place"), ("convnet:4/", "no widths"),
    ("convnet:4/residual5", "not a width"), ("convnet:0k3", "not a width"), ("mlp:3/4", "not a width"),
])  # fmt: skip
def test_convolutional_layers_that_cannot_be_read_say_why(spec: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_layered(spec)


def test_spaces_do_not_matter() -> None:
    assert parse_layered("mlp: 300, 100").widths == (300, 100)
    assert add_layers("convnet:8", "16, 32") == "convnet:8,16,32"


def test_drop_takes_several_in_any_order() -> None:
    assert drop_layers("mlp:30,20,10", "hidden3,hidden2") == "mlp:30"


@pytest.mark.parametrize("spec", ["mlp:", "mlp", "mlp:300,", "mlp:300,x", "mlp:0", "mlp:-5", "convnet:3.5", "mlp:²"])
def test_bad_widths_are_refused(spec: str) -> None:
    with pytest.raises(UsageError, match=spec.replace(".", r"\.")):
        parse_layered(spec)


@pytest.mark.parametrize(("names", "message"), [
    ("hidden1", "uppermost"), ("hidden1,hidden3", "uppermost"), ("hidden1,hidden2,hidden3", "at least one"),
    ("", "empty place"), ((), "no layers"),
])  # fmt: skip
def test_only_the_uppermost_can_be_dropped(names: str | tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        drop_layers("mlp:3,2,1", names)


def test_unknown_layers_and_families_get_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="hidden2"):
        drop_layers("mlp:3,2", "hiden2")
    with pytest.raises(UnknownNameError, match="convnet"):
        parse_layered("convnets:3")
    with pytest.raises(UsageError, match="mlp and convnet"):
        add_layers("timm:resnet18", "50")


def test_one_word_selects_the_default_network() -> None:
    torch.manual_seed(0)
    model = build("default", (200,), 5)
    assert [m.linear.out_features for m in (model.hidden1, model.hidden2)] == [300, 100]
    assert [type(m) for m in model.hidden1] == [nn.Linear, nn.BatchNorm1d, nn.ELU, nn.Dropout]
    assert model.hidden2.dropout.p == 0.2
    assert model.hidden1.linear.weight.var().item() == pytest.approx(2 / 200, rel=0.05)  # He
    assert [type(m) for m in build("default:7", (3,), 5).hidden1] == [type(m) for m in model.hidden1]


def test_what_is_given_comes_before_the_default_networks() -> None:
    model = build("default", (20,), 5, activation="tanh", norm="none", dropout=0.0)
    assert [type(m) for m in model.hidden1] == [nn.Linear, nn.Tanh]
    assert model.hidden1.linear.weight.abs().max() <= (6 / 320) ** 0.5  # Glorot's follow tanh


def test_other_families_bring_nothing_along() -> None:
    assert family_options("default").given == ("activation", "norm", "dropout")
    assert family_options("mlp:3") == family_options("timm:resnet18") == LayerOptions()
    assert [type(m) for m in build("mlp:7", (3,), 5).hidden1] == [nn.Linear, nn.ReLU]
