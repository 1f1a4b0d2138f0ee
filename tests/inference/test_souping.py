"""Soups: averages by hand, greedy choice by its definition, statistics computed anew, the run that is left."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from reuse import load, load_model
from reuse.errors import RunError, UnknownNameError, UsageError
from reuse.finetuning.finetune import finetune
from reuse.inference.predicting import evaluate_run
from reuse.inference.souping import soup_runs
from reuse.pretraining.pretrain import pretrain
from reuse.runs.folder import RunFolder
from reuse.runs.tensor_files import load_tensors_file, save_tensors


def tensors(run: str) -> dict[str, Tensor]:
    return load_tensors_file(Path(run) / "weights.safetensors")


def tune(source: str, out: str, **settings: Any) -> str:
    chosen = {"data": "iris", "epochs": 5, "split_seed": 3, "learning_rate": 0.02, **settings}
    return finetune(source, out=out, **chosen).run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("soups"))


@pytest.fixture(scope="module")
def source(folder: str) -> str:
    settings: dict[str, Any] = {"data": "iris", "model": "mlp:8,6", "norm": "batch", "split_seed": 3, "epochs": 8}
    return pretrain("supervised", out=f"{folder}/source", **settings).run


@pytest.fixture(scope="module")
def runs(folder: str, source: str) -> list[str]:
    """Fine-tunings of one source, all of its layers restored."""
    patterns = {"restore": "*"}
    good = [tune(source, f"{folder}/{seed}", seed=seed, **patterns) for seed in range(2)]
    return [*good, tune(source, f"{folder}/bad", learning_rate=1.5, optimizer="sgd", epochs=1, seed=7, **patterns)]


def test_a_uniform_soup_is_the_mean_with_statistics_of_its_own(runs: list[str], folder: str) -> None:
    found = soup_runs(runs[:2], method="uniform", out=f"{folder}/uniform")
    soup, states = tensors(found.run), [tensors(run) for run in runs[:2]]
    weights = [name for name, tensor in soup.items() if tensor.is_floating_point() and "running" not in name]
    for name in weights:
        torch.testing.assert_close(soup[name], (states[0][name] + states[1][name]) / 2)
    assert any(not torch.equal(states[0][name], states[1][name]) for name in weights)
    model = load_model(found.run)
    inputs = load("iris", preprocessing=model.preprocessing, split_seed=3).train.inputs.resident()
    assert inputs is not None
    norms = [(name, module) for name, module in model.network.named_modules() if isinstance(module, _BatchNorm)]
    seen: dict[str, Tensor] = {}
    norms[0][1].register_forward_pre_hook(lambda _, given: seen.update(first=given[0].detach()))
    with torch.no_grad():
        model(inputs)
    torch.testing.assert_close(norms[0][1].running_mean, seen["first"].mean(0), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(norms[0][1].running_var, seen["first"].var(0), atol=1e-5, rtol=1e-5)


def test_a_greedy_soup_takes_what_does_no_harm(runs: list[str], folder: str) -> None:
    found = soup_runs(runs, out=f"{folder}/greedy")
    accuracies = [candidate["valid"]["accuracy"] for candidate in found.candidates]
    assert accuracies == sorted(accuracies, reverse=True)
    assert found.ingredients[0] == found.candidates[0]["run"]
    assert found.valid["accuracy"] >= accuracies[0]
    for candidate in found.candidates:
        assert candidate["valid"] == pytest.approx(evaluate_run(candidate["run"], split="valid").metrics, rel=1e-4)
    measured = evaluate_run(found.run)
    assert measured.metrics == pytest.approx(found.test, rel=1e-4)
    assert evaluate_run(found.run, split="valid").metrics == pytest.approx(found.valid, rel=1e-4)
    assert found.rows == {"valid": evaluate_run(found.run, split="valid").rows, "test": measured.rows}
    manifest = RunFolder.open(found.run).manifest()
    assert (manifest.kind, manifest.ingredients) == ("soup", found.ingredients)


def test_one_ingredient_is_the_run_itself(runs: list[str], folder: str) -> None:
    """Where the second run is far worse, only the first is taken, statistics and all."""
    wrong = {name: -tensor if "output" in name else tensor for name, tensor in tensors(runs[1]).items()}
    broken = Path(shutil.copytree(runs[1], f"{folder}/broken"))
    save_tensors(broken / "weights.safetensors", wrong)
    found = soup_runs([broken, runs[0]], out=f"{folder}/single")
    assert found.ingredients == (runs[0],)
    for name, tensor in tensors(found.run).items():
        assert torch.equal(tensor, tensors(runs[0])[name])


def test_frozen_statistics_stay(source: str, folder: str) -> None:
    pair = [tune(source, f"{folder}/f{seed}", freeze="hidden1", seed=seed, restore="*") for seed in range(2)]
    found = soup_runs(pair, method="uniform", out=f"{folder}/frozen")
    soup, first = tensors(found.run), tensors(pair[0])
    for name, tensor in first.items():
        if name.startswith("hidden1"):
            assert torch.equal(soup[name], tensor)
    changed = [name for name in soup if name.startswith("hidden2") and name.endswith("running_mean")]
    assert changed
    assert all(not torch.equal(soup[name], first[name]) for name in changed)


def test_runs_may_differ_in_what_training_alone_drops(folder: str) -> None:
    rows = (np.random.default_rng(0).normal(size=(60, 1, 4, 4)).astype(np.float32), np.arange(60) % 2)
    settings: dict[str, Any] = {"data": rows, "model": "convnet:residual4", "epochs": 1, "split_seed": 3}
    pair = [
        pretrain("supervised", out=f"{folder}/paths{number}", **settings, drop_path=share, input_dropout=share).run
        for number, share in enumerate((0.0, 0.2))
    ]
    assert soup_runs(pair, method="uniform", data=rows, out=f"{folder}/paths").ingredients
    sequences = (rows[0][:, 0], rows[1])
    settings |= {"data": sequences, "model": "lstm:4"}
    pair = [
        pretrain("supervised", out=f"{folder}/steps{number}", **settings, recurrent_dropout=share).run
        for number, share in enumerate((0.0, 0.2))
    ]
    assert soup_runs(pair, method="uniform", data=sequences, out=f"{folder}/steps").ingredients


def test_what_cannot_be_averaged_is_refused(runs: list[str], folder: str) -> None:
    settings: dict[str, Any] = {"data": "iris", "split_seed": 3, "epochs": 1}
    other = pretrain("supervised", model="mlp:8,6", norm="batch", activation="tanh", out=f"{folder}/t", **settings).run
    with pytest.raises(RunError, match=r"different models.*average their predictions instead"):
        soup_runs([runs[0], other])
    settings["split_seed"] = 5
    moved = pretrain("supervised", model="mlp:8,6", norm="batch", out=f"{folder}/moved", **settings).run
    with pytest.raises(RunError, match="prepare their inputs differently"):
        soup_runs([runs[0], moved])
    with pytest.raises(UsageError, match="soup of 1 run: "):
        soup_runs(runs[:1])
    with pytest.raises(UsageError, match="own validation rows"):
        soup_runs(runs, data="iris")
    with pytest.raises(UnknownNameError, match="did you mean 'greedy'"):
        soup_runs(runs, method="gredy")
