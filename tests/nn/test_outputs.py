import pytest
import torch
from torch import nn

from reuse.errors import UsageError
from reuse.nn.building import build, output_layer, replace_output
from reuse.nn.encoders import encoder_of


class Tall(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.head = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5, bias=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.stem(x).mean((2, 3)))


class AllConv(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.classify = nn.Conv2d(4, 6, 1, groups=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classify(self.stem(x)).mean((2, 3))


MODELS = {
    "output": [lambda: build("mlp:8,4", (3, 8, 8), 5), lambda: build("convnet:4", (3, 8, 8), 5)],
    "head.2": [Tall],
    "classify": [AllConv],
}
CASES = [(name, make) for name, makes in MODELS.items() for make in makes]


@pytest.mark.parametrize(("name", "make"), CASES)
@pytest.mark.parametrize("num_outputs", [1, 8])
def test_only_the_output_layer_is_replaced(name: str, make: type[nn.Module], num_outputs: int) -> None:
    model = make()
    old = dict(model.named_parameters())
    assert output_layer(model) == name
    assert replace_output(model, num_outputs) == [name]
    assert model(torch.randn(2, 3, 8, 8)).shape == (2, num_outputs)
    kept = {key for key, parameter in model.named_parameters() if parameter is old.get(key)}
    assert kept == {key for key in old if not key.startswith(f"{name}.")}


def test_fresh_layer_is_trainable_and_of_the_old_type_though_the_model_is_frozen() -> None:
    model = Tall().double().requires_grad_(False)
    replace_output(model, 3)
    assert model.head[2].weight.requires_grad
    assert model.head[2].weight.dtype == torch.float64
    assert model.head[2].bias is None


def test_the_norm_of_the_outputs_goes_with_them() -> None:
    model = build("mlp:8,4", (3, 8, 8), 5, norm="batch:output")
    assert output_layer(model) == "output"
    assert replace_output(model, 3) == ["output", "output_norm"]
    assert model(torch.randn(2, 3, 8, 8)).shape == (2, 3)
    assert model.output_norm.num_features == 3
    assert encoder_of(model)(torch.randn(2, 3, 8, 8)).shape == (2, 4)
    with pytest.raises(UsageError, match="taken away"):
        replace_output(model, 3)


def test_models_without_an_output_layer_are_refused() -> None:
    with pytest.raises(UsageError, match="no linear"):
        output_layer(nn.Sequential(nn.ReLU()))
    with pytest.raises(UsageError, match="at least one"):
        replace_output(Tall(), 0)
