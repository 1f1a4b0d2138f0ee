"""Ladder side networks: against a forward written by hand, and what no gradient may enter."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import reuse
from reuse.errors import UnknownNameError, UsageError
from reuse.layers.cutting import cut
from reuse.layers.freezing import freeze
from reuse.layout import RowTensor, one_tensor
from reuse.nn.sides import check_side, stand_beside

NETS = {
    "mlp:20,16,12": (8,),
    "convnet:8,16/32": (1, 12, 12),
    "timm:test_resnet": (3, 32, 32),
    "timm:test_vit": (3, 32, 32),
    "gru:8,6": (30, 4),
}


def beside(spec: str, shape: tuple[int, ...], side: str = "ladder:2") -> nn.Module:
    """Return a side network beside a frozen network, all of whose weights are drawn at random."""
    torch.manual_seed(0)
    whole = stand_beside(reuse.build(spec, shape, 3), side, (), one_tensor(shape), 3)
    for parameter in whole.parameters():
        if parameter.requires_grad and parameter.ndim < 2:
            nn.init.normal_(parameter, std=0.1)  # blocks begin as their skips, gates at a half
        elif not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    freeze(whole, "backbone")
    return whole


def test_the_forward_is_the_formula() -> None:
    """g = sigmoid(alpha / T); h_i = block(g down(f_i) + (1 - g) h_(i-1)); the output layer reads features and h."""
    whole, x = beside("mlp:20,16", (8,)).double().eval(), torch.randn(5, 8, dtype=torch.float64)
    w = {name: value.detach().numpy() for name, value in whole.state_dict().items()}
    f1 = whole.backbone.network.hidden1(x).detach()
    f2 = whole.backbone.network.hidden2(f1).detach().numpy()

    def norm(values: np.ndarray, name: str) -> np.ndarray:
        scaled = (values - values.mean(1, keepdims=True)) / np.sqrt(values.var(1, keepdims=True) + 1e-5)
        return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(values: np.ndarray, name: str) -> np.ndarray:
        return values @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def gelu(values: np.ndarray) -> np.ndarray:
        return values * (1 + np.vectorize(math.erf)(values / math.sqrt(2))) / 2

    def block(values: np.ndarray, name: str) -> np.ndarray:
        return values + linear(gelu(linear(norm(values, f"{name}.norm"), f"{name}.hidden")), f"{name}.back")

    h = block(linear(norm(f1.numpy(), "rungs.0.norm"), "rungs.0.down"), "rungs.0.block")
    gate = 1 / (1 + math.exp(-float(w["rungs.1.alpha"]) / 0.1))
    h = block(gate * linear(norm(f2, "rungs.1.norm"), "rungs.1.down") + (1 - gate) * h, "rungs.1.block")
    expected = linear(np.concatenate([f2, norm(h, "norm")], axis=1), "output")
    assert 0.05 < gate < 0.95
    assert gate != 0.5
    assert np.allclose(whole(x).detach(), expected, atol=1e-12)


@pytest.mark.parametrize(("spec", "side"), [*[(spec, "ladder:2") for spec in NETS], ("convnet:8,16/32", "linear")])
def test_the_cut_is_what_crosses_and_computes_the_same(spec: str, side: str) -> None:
    whole, shape = beside(spec, NETS[spec], side), NETS[spec]
    x = torch.randn(6, *shape)
    parts = cut(whole, x)
    assert not parts.uncached
    crossing = {tensor.name for tensor in parts.frontier}
    taps = {f"at_{name.replace('.', '_')}" for name in whole.backbone.names}
    assert crossing - {"at_features"} == (taps if side.startswith("ladder") else {"cat"})
    for mode in (True, False):
        whole.train(mode)
        assert torch.equal(parts.suffix(*parts.prefix(x)), whole(x))
    parts.suffix(*parts.prefix(x)).sum().backward()
    assert all((p.grad is None) != p.requires_grad for p in whole.parameters()), "all that trains, and nothing else"


def test_only_a_small_grid_of_large_maps_crosses() -> None:
    whole = beside("convnet:8,16", (1, 64, 64), "ladder:grid=2")
    freeze(whole, "backbone")
    parts = cut(whole, torch.randn(4, 1, 64, 64))
    shapes = {tensor.name: tensor.shape for tensor in parts.frontier}
    assert (shapes["at_conv1"], shapes["at_conv2"]) == ((8, 2, 2), (16, 2, 2))


def test_it_begins_as_a_linear_probe_may_and_its_width_is_a_part_of_the_widest_layer() -> None:
    torch.manual_seed(0)
    whole = stand_beside(reuse.build("mlp:40,80", (8,), 3), "ladder:reduction=5", (), one_tensor((8,)), 3)
    assert {rung.down.out_features for rung in whole.rungs} == {16}
    x = torch.randn(4, 8)
    alike = whole.rungs[0].down(whole.rungs[0].norm(whole.backbone(x)[0]))
    assert torch.equal(whole.rungs[0](whole.backbone(x)[0]), alike), "a fresh block is its skip"


def test_a_linear_layer_beside_reads_all_layers() -> None:
    whole, x = beside("convnet:4,6", (1, 8, 8), "linear:1").eval(), torch.randn(5, 1, 8, 8)
    network = whole.backbone.network
    one = network.conv1(x)
    two = network.conv2(one)
    read = torch.cat([one.mean((2, 3)), two.mean((2, 3)), two.flatten(1)], dim=1)
    expected: Tensor = read @ whole.output.weight.T + whole.output.bias
    assert torch.allclose(whole(x), expected, atol=1e-6)


def test_a_layer_that_is_the_features_is_read_once() -> None:
    assert beside("mlp:6,5", (4,), "linear").output.in_features == 6 + 5


def test_what_cannot_stand_beside_is_said() -> None:
    network, layout = reuse.build("mlp:6", (4,), 2), one_tensor((4,))
    for side, words in {
        "ladder:0": "numbers above 0",
        "ladder:temperature=-1": "numbers above 0",
        "ladder:wide=2": "takes reduction, grid, temperature",
    }.items():
        with pytest.raises(UsageError, match=words):
            stand_beside(network, side, (), layout, 2)
    with pytest.raises(UnknownNameError, match="did you mean 'ladder'"):
        check_side("lader")
    two = (RowTensor("a", (4,), "float32"), RowTensor("b", (4,), "float32"))
    with pytest.raises(UsageError, match="of one input"):
        stand_beside(network, "ladder", (), two, 2)
