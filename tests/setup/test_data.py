"""The preprocessing that a model brings along: timm's own, at other sizes and channels; none for any other model."""

import pytest
import timm

from reuse.setup.data import preprocessing_for


@pytest.mark.parametrize("spec", ["mlp:5", "convnet:4,4", "own.module:network"])
def test_our_own_and_the_users_models_bring_none(spec: str) -> None:
    assert preprocessing_for(spec, 32, 3) is None


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224", "densenet121", "inception_v3"])
def test_timm_models_bring_what_timm_says(name: str) -> None:
    expected = timm.data.resolve_model_data_config(timm.create_model(name))
    found = preprocessing_for(f"timm:{name}", None, None)
    assert found is not None
    assert found.channels == expected["input_size"][0]
    assert found.image_size == tuple(expected["input_size"][1:])
    assert (found.mean, found.std) == (tuple(expected["mean"]), tuple(expected["std"]))
    assert found.interpolation == expected["interpolation"]
    assert found.crop_pct == expected["crop_pct"]


def test_size_and_channels_of_the_user_go_first() -> None:
    found = preprocessing_for("timm:resnet18", (48, 64), 1)
    assert found is not None
    assert (found.image_size, found.channels) == ((48, 64), 1)
    assert found.mean == pytest.approx([(0.485 + 0.456 + 0.406) / 3])
    assert found.std == pytest.approx([(0.229 + 0.224 + 0.225) / 3])
