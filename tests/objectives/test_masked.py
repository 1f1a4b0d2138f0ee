"""Masked autoencoders: the loss by hand, exact mask ratios, and a transformer that never sees what is hidden."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import reuse
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.nn.visible import encode_visible
from reuse.objectives.masked import Masked, PatchTeller

IMAGES = np.random.default_rng(0).random((24, 3, 32, 32), dtype=np.float32)


def built(objective: Masked, model: str = "convnet:4,6", rows: np.ndarray = IMAGES) -> PatchTeller:
    torch.manual_seed(0)
    trained = objective.build(reuse.build(model, rows.shape[1:], 3), reuse.load((rows, None)))
    assert isinstance(trained, PatchTeller)
    return trained


@pytest.mark.parametrize("standardise", [True, False])
def test_the_loss_is_the_mean_over_hidden_patches_written_by_hand(standardise: bool) -> None:
    told, image = (torch.randn(2, 3, 8, 8, dtype=torch.float64) for _ in range(2))
    network = built(Masked(patch=4), rows=IMAGES[:, :, :8, :8])
    hidden = torch.tensor([[True, False, True, True], [False, True, True, True]])
    outputs = (network.patches.cut(told), network.patches.cut(image), hidden)
    loss = Masked(standardise=standardise).losses(lambda _: outputs, Batch((image,)))["loss"]
    total, count = 0.0, 0
    for row in range(2):
        for patch in range(4):
            if not hidden[row, patch]:
                continue
            down, right = 4 * (patch // 2), 4 * (patch % 2)
            values = image[row, :, down : down + 4, right : right + 4].numpy()
            if standardise:
                values = (values - values.mean()) / math.sqrt(values.var(ddof=1) + 1e-6)
            total += ((told[row, :, down : down + 4, right : right + 4].numpy() - values) ** 2).mean()
            count += 1
    assert loss.item() == pytest.approx(total / count, rel=1e-12)


@pytest.mark.parametrize(
    ("mask", "model", "shape", "hidden"),
    [
        (0.75, "convnet:4", (3, 32, 32), 48),
        (0.5, "mlp:6", (10,), 5),
        (0.99, "mlp:6", (1, 8, 8), 15),
        (0.01, "mlp:6", (7,), 1),
    ],
)
def test_every_row_has_exactly_so_many_hidden(mask: float, model: str, shape: tuple[int, ...], hidden: int) -> None:
    rows = np.random.default_rng(0).random((20, *shape), dtype=np.float32) + 1
    network = built(Masked(mask=mask), model, rows)
    x = torch.from_numpy(rows)
    drawn = network(x)[2]
    assert (drawn.sum(1) == hidden).all()
    assert not (drawn == drawn[:1]).all(), "each row is drawn by itself"
    left = network.patches.cut(network.patches.hide(x, drawn))
    assert torch.equal(left[~drawn], network.patches.cut(x)[~drawn])
    assert not left[drawn].any()


def test_a_transformer_sees_nothing_of_hidden_patches() -> None:
    network = built(Masked(mask=0.5), "timm:test_vit").eval()
    x = torch.from_numpy(IMAGES[:4])
    _, _, hidden = network(x)
    other = network.patches.join(torch.where(hidden.unsqueeze(2), torch.randn_like(x).mean(), network.patches.cut(x)))
    assert not torch.equal(x, other)
    torch.testing.assert_close(network.tell(other, hidden), network.tell(x, hidden), rtol=0, atol=0)
    shown = network.patches.join(torch.where(hidden.unsqueeze(2), network.patches.cut(x), 0.0))
    assert not torch.equal(network.tell(shown, hidden), network.tell(x, hidden))


def test_a_transformer_that_sees_all_patches_gives_what_timm_gives() -> None:
    network = built(Masked(mask=0.5), "timm:test_vit").eval()
    x = torch.from_numpy(IMAGES[:4])
    everywhere = torch.arange(len(network.patches)).expand(4, -1)
    expected: Tensor = network.encoder.forward_features(x)  # type: ignore[operator]
    torch.testing.assert_close(encode_visible(network.encoder, x, everywhere), expected)


@pytest.mark.parametrize("model", ["mlp:20", "convnet:4", "timm:test_resnet", "timm:test_vit", "timm:test_vit2"])
def test_any_encoder_of_images_learns_and_lends_its_layers(model: str) -> None:
    result = reuse.pretrain("masked", data=(IMAGES, None), model=model, epochs=2, batch_size=8, out="run")
    assert math.isfinite(result.metrics["test"]["loss"])
    assert reuse.finetune("run", data=(IMAGES, np.arange(24) % 2), epochs=1, cache=False).restored


@pytest.mark.parametrize("settings", [{"mask": 0.0}, {"mask": 1.0}, {"mask": math.nan}, {"width": 6}, {"depth": 0}])
def test_settings_that_cannot_be(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(settings)) if "mask" not in settings else "hidden patches is"):
        Masked(**settings)


@pytest.mark.parametrize(
    ("model", "shape", "settings", "message"),
    [
        ("convnet:4", (3, 32, 32), {"patch": 5}, "patches of 5 pixels .* 32×32: those that do have 2, 4, 8, 16, 32"),
        ("convnet:4", (3, 32, 32), {"patch": 32}, "are one patch"),
        ("convnet:4", (3, 31, 32), {}, "resize them"),
        ("timm:test_vit", (3, 32, 32), {"patch": 4}, "cuts its own of 16"),
        ("gru:4", (5, 3), {}, "masked_step hides steps"),
    ],
)
def test_data_that_it_does_not_take(model: str, shape: tuple[int, ...], settings: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        built(Masked(**settings), model, np.random.default_rng(0).random((20, *shape), dtype=np.float32))
