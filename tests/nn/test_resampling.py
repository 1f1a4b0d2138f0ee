"""Position embeddings for another grid of patches, beside timm's own."""

import pytest
import timm
import torch
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn

from reuse.nn.resampling import resampled


def vit(name: str, size: int, **settings: object) -> nn.Module:
    torch.manual_seed(size)
    made: nn.Module = timm.create_model(name, img_size=size, num_classes=3, **settings)
    return made


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "vit_tiny_r_s16_p8_224"])
def test_as_timm_does_when_it_loads(name: str) -> None:
    source, model = vit(name, 64), vit(name, 160)
    old = source.state_dict()
    tokens = model.num_prefix_tokens
    found = resampled(old, model)
    assert list(found) == ["pos_embed"]
    expected = resample_abs_pos_embed(old["pos_embed"], list(model.patch_embed.grid_size), num_prefix_tokens=tokens)
    torch.testing.assert_close(found["pos_embed"], expected, rtol=0, atol=0)


def test_a_grid_that_is_no_square() -> None:
    old = vit("vit_tiny_patch16_224", 64).state_dict()
    model = timm.create_model("vit_tiny_patch16_224", img_size=(32, 128), num_classes=3)
    expected = resample_abs_pos_embed(old["pos_embed"], [2, 8], num_prefix_tokens=1)
    if expected.shape == old["pos_embed"].shape:
        assert resampled(old, model) == {}
    else:
        torch.testing.assert_close(resampled(old, model)["pos_embed"], expected)


def test_tables_of_relative_positions_are_resampled_by_timms_own_function() -> None:
    name, shallow = "swin_tiny_patch4_window7_224", {"img_size": 64, "num_classes": 3, "depths": (1, 1, 1, 1)}
    small, large = (timm.create_model(name, window_size=window, **shallow) for window in (2, 4))
    found = resampled(small.state_dict(), large)
    tables = {name for name in large.state_dict() if name.endswith("relative_position_bias_table")}
    assert tables & found.keys()
    assert all(found[name].shape == large.state_dict()[name].shape for name in found)


class Own(nn.Module):
    """A network of one's own, with positions of a class and a square of patches."""

    def __init__(self, side: int, *, flat: bool) -> None:
        super().__init__()
        rows = torch.arange(side**2 + 1.0)[:, None].expand(-1, 4).clone()
        self.positional_embedding = nn.Parameter(rows if flat else rows[None])
        self.body = nn.Linear(4, 4)


@pytest.mark.parametrize("flat", [True, False])
def test_networks_of_ones_own(flat: bool) -> None:
    old, new = Own(2, flat=flat), Own(4, flat=flat)
    found: Tensor = resampled(old.state_dict(), new)["positional_embedding"]
    assert found.shape == new.positional_embedding.shape
    assert found.reshape(-1, 4)[0].tolist() == [0, 0, 0, 0]
    square = torch.tensor([[[[1.0, 2], [3, 4]]]])
    expected = torch.nn.functional.interpolate(square, (4, 4), mode="bicubic", antialias=True)
    torch.testing.assert_close(found.reshape(-1, 4)[1:, 0], expected.flatten())


def test_what_fits_or_is_no_embedding_is_left_alone() -> None:
    assert resampled(Own(3, flat=True).state_dict(), Own(3, flat=True)) == {}
    assert resampled({"body.weight": torch.ones(5, 5)}, Own(3, flat=True)) == {}
    assert resampled({"positional_embedding": torch.ones(10, 7)}, Own(3, flat=True)) == {}
