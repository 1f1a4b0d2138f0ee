"""Noise on features against its formula."""

from pathlib import Path

import pytest
import torch

from listening import Listener
from reuse.augmenting.mixing import FeatureNoise
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.finetuning.finetune import finetune
from reuse.searching.sweep import sweep


def test_noise_is_in_parts_of_each_features_deviation() -> None:
    torch.manual_seed(0)
    scales = torch.tensor([0.0, 1.0, 100.0], dtype=torch.float64)
    features = 5 + scales * torch.randn(20_000, 3, dtype=torch.float64)
    tokens, targets = torch.arange(20_000), torch.zeros(20_000)
    noisy = FeatureNoise(0.5)(Batch((features, tokens), targets))
    noise = noisy.inputs[0] - features
    expected = 0.5 * features.std(0)
    torch.testing.assert_close(noise.std(0), expected, rtol=0.03, atol=0)
    assert (noise.mean(0).abs() <= 4 * expected / 20_000**0.5).all()
    assert torch.equal(noise[:, 0], torch.zeros(20_000, dtype=torch.float64)), "what never differs has no noise"
    assert torch.corrcoef(noise[:, 1:].T)[0, 1].abs() < 0.03
    assert noisy.inputs[1] is tokens
    assert noisy.targets is targets


def test_one_row_has_no_deviation_and_no_noise() -> None:
    row = torch.randn(1, 4)
    assert torch.equal(FeatureNoise(1.0)(Batch((row,), None)).inputs[0], row)


@pytest.mark.parametrize("amount", [-0.1, float("nan"), float("inf")])
def test_amounts_out_of_range_are_refused(amount: float) -> None:
    with pytest.raises(UsageError, match=r"such as 0\.1"):
        FeatureNoise(amount)


def test_without_features_it_is_refused_before_anything_is_written(real_data: object) -> None:
    settings = {"data": "digits", "labels": 50, "epochs": 1, "feature_noise": 0.1, "out": "never"}
    with pytest.raises(UsageError, match="name layers with freeze"):
        finetune("mlp:10", **settings)
    with pytest.raises(UsageError, match="say views=5 too"):
        finetune("mlp:10", freeze="hidden1", augment="shift:1", **settings)
    assert not Path("never").exists()
    with pytest.raises(UsageError, match="feature_noise"):
        sweep("mlp:10", freeze="hidden1", data="digits", labels=50, feature_noise=0.1)


def test_that_it_ends_with_the_last_frozen_layer_is_said() -> None:
    settings = {"data": "digits", "labels": 50, "epochs": 2, "feature_noise": 0.1, "unfreeze": "1:all"}
    finetune("mlp:10", freeze="hidden1", reporter=(heard := Listener()), **settings)
    assert "nothing is frozen from epoch 2 on: feature_noise ends" in heard.lines
