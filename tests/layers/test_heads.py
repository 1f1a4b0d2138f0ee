import pytest
import timm
from torch import nn

from reuse.errors import UnknownNameError
from reuse.layers.freezing import freeze
from reuse.layers.heads import HEADS
from reuse.layers.selecting import select
from reuse.nn.building import build
from reuse.nn.outputs import output_layers

MODELS = {
    "mlp": lambda: build("mlp:6,5", (4,), 3),
    "spectral": lambda: build("mlp:6,5", (4,), 3, norm="batch:after,input,output"),
    "convnet": lambda: build("convnet:4,4", (1, 8, 8), 3),
    "gru": lambda: build("gru:4", (5, 2), 3),
    "resnet": lambda: timm.create_model("resnet10t", num_classes=3),
    "mobilenet": lambda: timm.create_model("mobilenetv3_small_050", num_classes=3),
    "vit": lambda: timm.create_model("test_vit", num_classes=3),
    "deit": lambda: timm.create_model("deit_tiny_distilled_patch16_224", num_classes=3, depth=1),
    "own": lambda: nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)),
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", HEADS)
def test_a_head_is_found_whatever_it_is_called(model: str, name: str) -> None:
    built = MODELS[model]()
    layers = {layer for layer, _ in built.named_modules()}
    expected = [name] if name in layers else output_layers(built)
    kept = {parameter for parameter in dict(built.named_parameters()) if any(_is_below(parameter, e) for e in expected)}
    assert set(select(built, f"!{name}").parameters) == set(dict(built.named_parameters())) - kept
    freeze(built, f"!{name}")
    assert {parameter for parameter, tensor in built.named_parameters() if tensor.requires_grad} == kept


def _is_below(parameter: str, layer: str) -> bool:
    return parameter.startswith(f"{layer}.")


def test_a_model_without_a_head_says_so() -> None:
    with pytest.raises(UnknownNameError, match="'head' matches no layer"):
        select(nn.Sequential(nn.LayerNorm(3)), "!head")
