"""Predictions and metrics of numbers are in the targets' own units, whatever these are."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as reference

from reuse.data.loading import load
from reuse.finetuning.finetune import finetune
from reuse.inference.predicting import evaluate_run, predict_run
from reuse.pretraining.pretrain import pretrain
from reuse.runs.models import load_model

RNG = np.random.default_rng(2)
X = RNG.normal(size=(160, 4))
Y = X @ [1.0, -2.0, 0.5, 0.0] + 0.1 * RNG.normal(size=160)
SETTINGS: dict[str, Any] = {"model": "mlp:8", "epochs": 30, "learning_rate": 0.02}
UNITS = {"as they are": (1.0, 0.0), "dollars": (1e5, 2e5), "moved": (1.0, 1e6), "small": (1e-6, 0.0)}


@pytest.mark.parametrize("unit", UNITS)
def test_the_unit_and_offset_of_the_target_change_nothing(unit: str) -> None:
    factor, offset = UNITS[unit]
    y = Y * factor + offset
    plain = pretrain("supervised", data=(X, Y), out="plain", **SETTINGS)
    result = pretrain("supervised", data=(X, y), out="run", **SETTINGS)
    found = result.metrics["test"]
    assert found["r2"] == pytest.approx(plain.metrics["test"]["r2"], abs=1e-3)
    predicted = predict_run("run", data=(X, y), split="test")
    cells = np.array([line[1] for line in predicted.lines()])  # as they are written to a file
    truth = y[predicted.numbers]
    assert found["r2"] == pytest.approx(reference.r2_score(truth, cells), abs=1e-5)
    assert found["mse"] == pytest.approx(reference.mean_squared_error(truth, cells), rel=1e-4)
    assert evaluate_run("run", data=(X, y)).metrics == pytest.approx(found, rel=1e-5)
    assert found["r2"] > 0.9


def test_the_saved_model_gives_numbers_in_the_targets_units() -> None:
    y = np.stack([Y * 1e5 + 3e5, -Y], axis=1)
    pretrain("supervised", data=(X, y), out="run", **SETTINGS)
    model, test = load_model("run"), load((X, y)).test
    inputs = test.inputs.resident()
    assert inputs is not None
    predicted = model.values(test.inputs)
    assert predicted.dtype == torch.float64
    torch.testing.assert_close(model(inputs).double(), predicted, rtol=1e-5, atol=1e-3)
    assert reference.r2_score(y[test.rows], predicted.numpy()) > 0.9


def test_a_resumed_training_ends_as_an_uninterrupted_one() -> None:
    whole = pretrain("supervised", data=(X, Y * 1e4), out="whole", **SETTINGS)
    pretrain("supervised", data=(X, Y * 1e4), out="parts", **{**SETTINGS, "epochs": 10})
    parts = pretrain(resume="parts", data=(X, Y * 1e4), epochs=30)
    assert parts.metrics == whole.metrics


def test_a_run_that_learned_numbers_as_they_were_still_does() -> None:
    pretrain("supervised", data=(X, Y), out="run", **{**SETTINGS, "epochs": 2})
    manifest = json.loads(Path("run/run.json").read_text())
    scale = manifest.pop("target_scale")
    Path("run/run.json").write_text(json.dumps(manifest))
    old, inputs = load_model("run"), load((X, Y)).test.inputs
    assert old.target_scale is None
    Path("run/run.json").write_text(json.dumps({**manifest, "target_scale": scale}))
    new = load_model("run").values(inputs)
    torch.testing.assert_close(old.values(inputs).double() * scale["std"][0] + scale["mean"][0], new)
    Path("run/run.json").write_text(json.dumps(manifest))
    pretrain(resume="run", data=(X, Y), epochs=3)
    assert "target_scale" not in json.loads(Path("run/run.json").read_text())


def test_an_output_layer_that_is_restored_keeps_its_scale() -> None:
    pretrain("supervised", data=(X, Y * 1e5), out="source", **SETTINGS)
    kept = finetune("source", data=(X[:80], Y[:80] * 1e5), restore="*", freeze="hidden1", epochs=1, out="kept")
    fresh = finetune("source", data=(X[:80], Y[:80] * 1e5), freeze="hidden1", epochs=1, out="fresh")
    scales = {run: load_model(run).target_scale for run in ("source", "kept", "fresh")}
    assert scales["kept"] == scales["source"] != scales["fresh"]
    assert kept.metrics["test"]["r2"] > 0.9 > fresh.metrics["test"]["r2"]
