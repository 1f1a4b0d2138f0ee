"""Finding a rate for exactly what would be trained, and nothing left behind."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from costly import find_frozen_layers_costly
from reuse.errors import UsageError
from reuse.finetuning.finetune import finetune
from reuse.pretraining.pretrain import pretrain
from reuse.searching import rate_finding
from reuse.searching.rate_finding import draw, lr_find
from reuse.training.range_test import RateCurve

SMALL: dict[str, Any] = {"data": "iris", "steps": 60, "device": "cpu"}


def test_the_rate_of_a_fine_tuning_from_a_run_of_a_model() -> None:
    source = pretrain(data="iris", model="mlp:8,6", epochs=1, out="source")
    curve = lr_find(source.run, freeze="hidden1", **SMALL)
    assert curve.proposal is not None
    assert 1e-4 < curve.proposal < 1
    assert [path.name for path in Path().iterdir()] == ["source"], "nothing is written"
    assert lr_find(source.run, freeze="hidden1", **SMALL) == curve
    assert lr_find(source.run, **SMALL).losses != curve.losses


def test_what_a_full_cache_holds_is_not_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    find_frozen_layers_costly(monkeypatch)
    settings: dict[str, Any] = {"data": "iris", "freeze": "hidden1", "random_weights": True, "device": "cpu"}
    plain = lr_find("mlp:8,6", **settings, steps=60)
    assert finetune("mlp:8,6", **settings, epochs=1, compare=False, out="run").cache is not None
    files = sorted(path for path in Path().rglob("*.h5"))

    def computed(*_: object) -> None:
        raise AssertionError("frozen layers are computed")

    monkeypatch.setattr(rate_finding, "feed_inputs", computed)
    curve = lr_find("mlp:8,6", **settings, steps=60)
    assert curve.losses == pytest.approx(plain.losses, rel=1e-4)
    assert sorted(path for path in Path().rglob("*.h5")) == files
    for other in ({"data": "wine"}, {"random_weights": True, "seed": 1}, {"mixup": 0.2}):  # of which nothing is cached
        with pytest.raises(AssertionError, match="computed"):
            lr_find("mlp:8,6", **{**settings, **other}, steps=60)
    assert sorted(path for path in Path().rglob("*.h5")) == files


def test_the_first_loss_is_that_of_the_weights_that_training_begins_with() -> None:
    settings: dict[str, Any] = {"data": "iris", "batch_size": 1000, "epochs": 1, "device": "cpu"}
    curve = lr_find("mlp:8", **settings, steps=20)
    result = finetune("mlp:8", **settings, learning_rate=1e-9, out="run")
    assert curve.losses[0] == pytest.approx(result.metrics["train"]["loss"], rel=1e-4)


@pytest.mark.parametrize("objective", ["autoencoder", "supervised"])
def test_the_rate_of_a_pretraining(objective: str) -> None:
    curve = lr_find(objective=objective, data="iris", model="mlp:8", steps=60)
    assert curve.proposal is not None
    assert list(Path().iterdir()) == []


def test_every_setting_of_the_step_is_taken() -> None:
    plain = lr_find("mlp:8", **SMALL)
    for settings in ({"optimizer": "sgd"}, {"l2": 1.0}, {"layer_rates": "hidden1=0.1"}, {"clip_norm": 0.01}):
        assert lr_find("mlp:8", **SMALL, **settings).losses != plain.losses


def test_what_makes_no_sense_is_refused() -> None:
    phases = (
        "unfreeze",
        "unfreeze_warmup",
        "auto_freeze",
        "auto_freeze_every",
        "compare",
        "draws",
        "side",
        "out",
        "resume",
    )
    cache = ("cache", "cache_dir", "cache_dtype", "cache_budget", "cache_kind", "views", "refresh_views")
    for name in (*phases, *cache, "feature_noise", "learning_rate", "watch", "tensorboard", "snapshots"):
        with pytest.raises(UsageError, match=f"no use for {name}"):
            lr_find("mlp:8", **{name: 1})
    with pytest.raises(UsageError, match="give one of the two"):
        lr_find("mlp:8", objective="autoencoder")
    with pytest.raises(UsageError, match="it is called freeze here"):
        lr_find("mlp:8", freeze_="hidden1")


@pytest.mark.parametrize("settings", [{"freeze": "hidden1"}, {"l2_sp": 0.1}, {"restore": "hidden1"}, {"source": None}])
def test_what_only_a_fine_tuning_has_is_refused_beside_an_objective(settings: dict[str, Any]) -> None:
    if settings == {"source": None}:
        assert lr_find(objective="supervised", model="mlp:8", **settings, **SMALL).rates
        return
    with pytest.raises(UsageError, match=rf"{next(iter(settings))} is a setting of `reuse finetune` and none of"):
        lr_find(objective="supervised", model="mlp:8", **settings, **SMALL)


@pytest.mark.parametrize("settings", [{"noise": 0.1}, {"transductive": True}])
def test_what_only_a_pretraining_has_is_refused_beside_a_source(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=rf"{next(iter(settings))} is a setting of `reuse pretrain` and none of"):
        lr_find("mlp:8", **settings, **SMALL)


def test_a_picture_is_drawn() -> None:
    pytest.importorskip("matplotlib")
    lr_find("mlp:8", plot="rates.png", **SMALL)
    assert Path("rates.png").read_bytes().startswith(b"\x89PNG")
    draw(RateCurve((1e-3, 1e-2), (1.0, 2.0), (1.0, 1.5), None, None, ""), "none.svg")
    assert "<svg" in Path("none.svg").read_text()
    with pytest.raises(UsageError, match="cannot be drawn"):
        draw(RateCurve((1e-3,), (1.0,), (1.0,), None, None, ""), "nowhere/rates.png")


def test_without_matplotlib_it_is_said_before_anything_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(torch.optim.Adam, "step", lambda *_: pytest.fail("computed"))
    with pytest.raises(UsageError, match=r'pip install "torch-reuse\[report\]"'):
        lr_find("mlp:8", plot="rates.png", **SMALL)
