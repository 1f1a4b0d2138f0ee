"""What a tapped network gives: against its own layers run one by one, and pooled by hand."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import reuse
from reuse.errors import UnknownNameError, UsageError
from reuse.nn.outputs import output_layer
from reuse.nn.tapped import Tapped, main_layers


def pooled(maps: np.ndarray, grid: int) -> np.ndarray:
    """Return means over `grid` by `grid` fields of maps `(rows, channels, side, side)`, which they divide."""
    rows, channels, side, _ = maps.shape
    return maps.reshape(rows, channels, grid, side // grid, grid, side // grid).mean((3, 5))


def test_maps_come_as_the_means_of_their_fields_and_the_features_as_the_output_layer_took_them() -> None:
    torch.manual_seed(0)
    network, x = reuse.build("convnet:4,6/5", (2, 16, 16), 3).eval(), torch.randn(4, 2, 16, 16)
    first = network.conv1(x)
    second = network.conv2(first)
    last = network.hidden1(second.flatten(1))
    one, two, three, features = Tapped(network, grid=2)(x)
    assert np.allclose(one.detach(), pooled(first.detach().numpy(), 2), atol=1e-6)
    assert np.allclose(two.detach(), pooled(second.detach().numpy(), 2), atol=1e-6)
    assert torch.equal(three, last)
    assert torch.equal(features, last)


def test_patches_are_pooled_in_their_square_and_class_tokens_stay() -> None:
    torch.manual_seed(0)
    network, x = reuse.build("timm:test_vit", (3, 64, 64), 3).eval(), torch.randn(2, 3, 64, 64)
    tokens = network.norm_pre(network.patch_drop(network._pos_embed(network.patch_embed(x))))
    first = network.blocks[0](tokens).detach()
    tapped = Tapped(network, "blocks.0", grid=2)
    found = tapped(x)[0].detach()
    assert found.shape == (2, 1 + 4, 64)
    assert torch.equal(found[:, 0], first[:, 0])
    square = first[:, 1:].transpose(1, 2).reshape(2, 64, 4, 4).numpy()
    assert np.allclose(found[:, 1:].transpose(1, 2), pooled(square, 2).reshape(2, 64, 4), atol=1e-6)


def test_maps_with_channels_last_are_read_as_what_they_are() -> None:
    """As timm says of Swin Transformers' maps."""
    torch.manual_seed(0)
    network, x = nn.Sequential(nn.Linear(3, 5), nn.Flatten(), nn.Linear(8 * 8 * 5, 2)).eval(), torch.randn(2, 8, 8, 3)
    network.output_fmt = "NHWC"
    expected = pooled(network[0](x).detach().movedim(3, 1).numpy(), 2)
    assert np.allclose(Tapped(network, "0", grid=2)(x)[0].detach(), expected, atol=1e-6)


def test_what_a_layer_above_changes_in_place_is_given_as_it_was() -> None:
    torch.manual_seed(0)
    network, x = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 2)), torch.randn(5, 3)
    expected = x @ network[0].weight.T + network[0].bias
    assert (expected < 0).any()
    below, _ = Tapped(network, "0")(x)
    assert torch.allclose(below, expected)


def test_a_small_map_stays_as_it_is_and_short_sequences_too() -> None:
    network = reuse.build("gru:3,2", (5, 4), 2)
    assert Tapped(network, grid=4).measure(torch.zeros(2, 5, 4)) == [(5, 3), (5, 2), (2,)]
    assert Tapped(reuse.build("gru:3", (50, 4), 2), grid=2).measure(torch.zeros(2, 50, 4)) == [(4, 3), (3,)]


@pytest.mark.parametrize(
    ("spec", "shape", "expected"),
    [
        ("mlp:6,5", (4,), ("hidden1", "hidden2")),
        ("convnet:4,6/5", (1, 8, 8), ("conv1", "conv2", "hidden1")),
        ("timm:resnet18", (3, 32, 32), ("act1", "layer1", "layer2", "layer3", "layer4")),
    ],
)
def test_main_layers(spec: str, shape: tuple[int, ...], expected: tuple[str, ...]) -> None:
    network = reuse.build(spec, shape, 2)
    assert main_layers(network) == expected
    assert output_layer(network) not in expected


def test_layers_come_from_below_whatever_the_order_of_their_patterns() -> None:
    network = reuse.build("mlp:6,5,4", (4,), 2)
    assert Tapped(network, ["hidden3,hidden1", "re:hidden[12]"]).names == ("hidden1", "hidden2", "hidden3")


def test_what_cannot_be_tapped_is_said() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'hidden1'"):
        Tapped(reuse.build("mlp:6", (4,), 2), "hiden1")
    with pytest.raises(UsageError, match="no layers below its output layer"):
        Tapped(nn.Sequential(nn.Linear(4, 2)))
    with pytest.raises(UsageError, match="1 or more"):
        Tapped(reuse.build("mlp:6", (4,), 2), grid=0)
    with pytest.raises(UsageError, match="'spare' is not called"):
        Tapped(_Spare(), "spare").measure(torch.zeros(2, 4))


class _Spare(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.spare, self.hidden, self.output = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.output(self.hidden(x))
        return outputs
