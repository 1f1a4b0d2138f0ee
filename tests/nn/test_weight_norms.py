import copy

import pytest
import torch
from torch import Tensor, nn

import reuse
from reuse.errors import UsageError
from reuse.fingerprinting.fingerprint import fingerprint
from reuse.nn.building import build, replace_output
from reuse.nn.hidden import HiddenStyle, hidden_conv, hidden_linear

SPECS = [("mlp:7,6,5", (6,)), ("convnet:4,5/6", (2, 6, 6))]


def layer(norm: str, kind: str) -> tuple[nn.Module, Tensor]:
    """A linear or convolutional layer in float64 with its weights as one matrix, a row a unit."""
    style = HiddenStyle(activation="none", norm=norm)
    torch.manual_seed(0)
    hidden = hidden_linear(6, 5, style) if kind == "linear" else hidden_conv(3, 5, style)
    module = hidden.double().get_submodule(kind)
    return module, module.weight.detach().flatten(1)


@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_weight_norm_parts_weights_into_length_and_direction(kind: str) -> None:
    module, weight = layer("weight", kind)
    lengths, directions = (p for name, p in module.parametrizations.weight.named_parameters())
    torch.testing.assert_close(lengths.flatten(), weight.norm(dim=1))
    with torch.no_grad():
        directions.mul_(3)  # no length counts but that which is kept apart
        lengths.mul_(2)
    torch.testing.assert_close(module.weight.flatten(1), 2 * weight)
    assert module.bias is not None


@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_spectral_norm_divides_by_the_greatest_singular_value(kind: str) -> None:
    module, _ = layer("spectral", kind)
    original = module.parametrizations.weight.original.detach().flatten(1)
    for _ in range(200):  # each use in training improves the estimate
        _ = module.weight
    expected = original / torch.linalg.svdvals(original)[0]
    torch.testing.assert_close(module.weight.detach().flatten(1), expected, rtol=1e-6, atol=1e-8)
    assert torch.equal(module.eval().weight, module.weight)


@pytest.mark.parametrize("norm", ["weight", "spectral"])
@pytest.mark.parametrize(("spec", "shape"), SPECS)
def test_frozen_layers_stand_still_and_are_cut_off(spec: str, shape: tuple[int, ...], norm: str) -> None:
    torch.manual_seed(1)
    model = build(spec, shape, 3, norm=f"{norm}:output")
    first = next(name for name, module in model.named_children() if any(True for _ in module.parameters()))
    reuse.freeze(model, first)
    before = copy.deepcopy(model.get_submodule(first).state_dict())
    x, optimizer = torch.randn(9, *shape), torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
    model.train()
    parts = reuse.cut(model, x)
    stored = parts.prefix(x)
    trained = copy.deepcopy(model.output.parametrizations.weight.state_dict())
    for _ in range(3):
        optimizer.zero_grad()
        torch.testing.assert_close(parts.suffix(*stored), model(x), rtol=1e-4, atol=1e-5)
        parts.suffix(*stored).square().mean().backward()
        optimizer.step()
    after = model.get_submodule(first).state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert not all(torch.equal(t, trained[n]) for n, t in model.output.parametrizations.weight.state_dict().items())
    model.eval()
    torch.testing.assert_close(parts.suffix.eval()(*parts.prefix(x)), model(x))


@pytest.mark.parametrize("norm", ["weight", "spectral"])
def test_a_layer_half_frozen_is_cut_too(norm: str) -> None:
    model = build("mlp:7,5", (6,), 3, norm=norm)
    reuse.freeze(model, "hidden1,hidden2.linear.parametrizations*")
    x = torch.randn(4, 6)
    parts = reuse.cut(model, x)
    torch.testing.assert_close(parts.suffix(*parts.prefix(x)), model(x))


@pytest.mark.parametrize("norm", ["weight", "spectral"])
def test_copies_and_state_dicts_compute_the_same(norm: str) -> None:
    model = build("mlp:7,5", (6,), 3, norm=norm).eval()
    x = torch.randn(4, 6)
    other = build("mlp:7,5", (6,), 3, norm=norm).eval()
    assert not torch.equal(other(x), model(x))
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(x), model(x))
    assert torch.equal(copy.deepcopy(model)(x), model(x))


@pytest.mark.parametrize("norm", ["weight", "spectral"])
def test_the_same_weights_have_the_same_key_in_any_model(norm: str) -> None:
    def key(scale: float) -> str:
        torch.manual_seed(2)
        model = build("mlp:7,5", (6,), 3, norm=norm)
        with torch.no_grad():
            next(model.hidden1.linear.parametrizations.parameters()).mul_(scale)
        reuse.freeze(model, "hidden1")
        prefix = reuse.cut(model, torch.zeros(2, 6)).prefix
        device = torch.device("cpu")
        return fingerprint(prefix, preprocessing={}, dtype=torch.float32, device=device, cache_format=1).key

    assert key(1.0) == key(1.0) != key(2.0)


def test_a_new_output_layer_has_the_norm_again() -> None:
    model = build("mlp:7,5", (6,), 3, norm="spectral:output")
    replace_output(model, 8)
    assert torch.linalg.svdvals(model.eval().output.weight)[0].item() == pytest.approx(1, rel=0.05)
    assert model(torch.zeros(2, 6)).shape == (2, 8)


@pytest.mark.parametrize("norm", ["weight", "spectral"])
def test_weights_of_zero_have_no_direction(norm: str) -> None:
    with pytest.raises(UsageError, match="begins at zero"):
        build("mlp:7,5", (6,), 3, norm=norm, init="zeros")
