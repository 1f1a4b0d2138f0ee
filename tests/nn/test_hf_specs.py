"""Specs of transformers' models, and how the files beside them say that images are prepared."""

import json
from pathlib import Path
from typing import Any

import pytest

from reuse.errors import UsageError
from reuse.nn.hf_specs import has_weights, images_of, is_hf, parse_hf

CONFIG = {"model_type": "vit", "image_size": 32, "num_channels": 3}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    return tmp_path


def test_the_forms_of_a_spec(folder: Path) -> None:
    assert (is_hf("hf:bert"), is_hf("timm:vit"), is_hf("hfx:y")) == (True, False, False)
    assert parse_hf(f"hf:{folder}").folder == folder
    assert parse_hf(f"hf:{folder}/config.json").place == str(folder)
    made = parse_hf("hf:bert:hidden_size=8,hidden_act=relu")
    assert (made.kind, made.settings, made.place) == ("bert", {"hidden_size": 8, "hidden_act": "relu"}, "")
    assert parse_hf("hf:bert:").kind == "bert"
    assert parse_hf("hf:someone/model").hub == "someone/model"
    with pytest.raises(UsageError, match="there is no file"):
        parse_hf("hf:nowhere/config.json")


def test_weights_are_those_of_a_folder_that_holds_some(folder: Path) -> None:
    assert not has_weights(f"hf:{folder}")
    (folder / "model-00001-of-00002.safetensors").touch()
    assert has_weights(f"hf:{folder}")
    assert not has_weights(f"hf:{folder}/config.json")
    assert not has_weights("hf:bert:hidden_size=8")


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({}, {"input_size": (3, 32, 32), "mean": (0.5,) * 3, "crop_pct": None}),
        ({"size": 48}, {"input_size": (3, 48, 48)}),
        ({"size": {"shortest_edge": 64}, "do_center_crop": True, "crop_size": 48}, {"crop_pct": 0.75}),
        ({"size": {"height": 20, "width": 24}, "resample": 0}, {"input_size": (3, 20, 24), "interpolation": "nearest"}),
        ({"size": {"shortest_edge": 48}, "crop_pct": 0.875}, {"input_size": (3, 48, 48), "crop_pct": 0.875}),
        ({"do_normalize": False, "image_mean": [0.1, 0.2, 0.3]}, {"mean": (0.0,) * 3, "std": (1.0,) * 3}),
    ],
)
def test_images_are_prepared_as_the_files_say(told: dict[str, Any], expected: dict[str, Any], folder: Path) -> None:
    (folder / "preprocessor_config.json").write_text(json.dumps(told))
    found = images_of(f"hf:{folder}", None)
    assert found is not None
    assert {name: found[name] for name in expected} == expected


def test_grey_images_have_the_mean_of_the_colours(folder: Path) -> None:
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.2, 0.4, 0.6]}))
    grey = images_of(f"hf:{folder}", 1)
    assert grey is not None
    assert (grey["input_size"], grey["mean"]) == ((1, 32, 32), (pytest.approx(0.4),))


def test_other_models_say_nothing_of_images(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    assert images_of(f"hf:{tmp_path}", None) is None
    assert images_of("hf:./gone", None) is None
