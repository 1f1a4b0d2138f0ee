"""Saved models: what a run folder predicts by itself."""

import json
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from reuse import load
from reuse.errors import RunError, UsageError
from reuse.finetuning.finetune import finetune
from reuse.nn.options import LayerOptions
from reuse.nn.recipe import ModelRecipe
from reuse.pretraining.pretrain import pretrain
from reuse.runs.models import load_model
from reuse.runs.results import Result

RANDOM = np.random.default_rng(0)
X = RANDOM.random((60, 7)) * 5 + 3
Y = np.arange(60) % 3

OWN = """
import torch
from torch import nn

class Tied(nn.Module):
    def __init__(self, in_features, num_classes):
        super().__init__()
        self.first = nn.Linear(in_features, in_features)
        self.second = nn.Linear(in_features, in_features)
        self.second.weight = self.first.weight
        self.output = nn.Linear(in_features, num_classes)
        self.register_buffer("drawn", torch.randn(in_features), persistent=False)

    def forward(self, x):
        return self.output(self.second(self.first(x).relu()) + self.drawn)
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_model.py").write_text(OWN)
    monkeypatch.delitem(sys.modules, "own_model", raising=False)
    return "own_model:Tied"


def supervised(data: Any, model: str = "mlp:9,6", **settings: Any) -> Result:
    return pretrain("supervised", data=data, model=model, epochs=3, out="run", **settings)


def measured(result: Result, data: Any, task: str, *, trust: bool = False) -> None:
    """The loaded model gives, from raw data alone, the test metrics that the run reported."""
    model = load_model(result.run, trust=trust)
    test = load(data, preprocessing=model.preprocessing).test
    predicted = model.values(test.inputs, batch_size=5)
    assert model.task == task
    assert not model.training
    assert not predicted.requires_grad
    assert test.targets is not None
    metrics = result.metrics["test"]
    if task == "classification":
        assert torch.allclose(predicted.sum(1), torch.ones(len(test), dtype=predicted.dtype))
        found = float((predicted.argmax(1) == test.targets).float().mean())
        assert metrics["accuracy"] == pytest.approx(found, abs=1e-6)
        loss = -predicted.log()[torch.arange(len(test)), test.targets].mean()
    elif task == "multilabel":
        loss = torch.nn.functional.binary_cross_entropy(predicted, test.targets.to(predicted.dtype))
    else:
        errors = (predicted - test.targets).square().mean()
        assert metrics["mse"] == pytest.approx(float(errors), rel=1e-5)
        assert model.target_scale is not None
        loss = (errors / torch.tensor(model.target_scale.std).square()).mean()
    assert metrics["loss"] == pytest.approx(float(loss), rel=1e-5)


TASKS: dict[str, Any] = {
    "classification": Y,
    "multilabel": np.stack([Y == 0, Y < 2], axis=1).astype(np.int64),
    "regression": X.sum(1) / 10,
}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_the_loaded_model_predicts_what_was_measured(task: str, precision: str) -> None:
    data = (X, TASKS[task])
    result = supervised(data, norm="batch", dropout=0.2, precision=precision)
    measured(result, data, task)
    assert next(load_model("run").parameters()).dtype == getattr(torch, precision)


def test_a_float64_run_loses_no_digits() -> None:
    supervised((X, Y), precision="float64")
    network = load_model("run").network
    for name, tensor in load_file("run/weights.safetensors").items():
        assert torch.equal(network.get_parameter(name), tensor)
    finetune("run", data=(X, Y), freeze="hidden1", epochs=1, precision="float64", out="fine")
    name = "hidden1.linear.weight"
    assert torch.equal(load_file("fine/weights.safetensors")[name], network.get_parameter(name))


def test_classes_and_preprocessing_come_along() -> None:
    names = np.array(["cat", "dog", "eel"])[Y]
    supervised((X, names))
    model = load_model("run")
    assert model.classes == ("cat", "dog", "eel")
    data = load((X, names))
    assert model.preprocessing == data.preprocessing
    np.testing.assert_allclose(model.preprocessing.mean, X[data.train.rows].mean(0))
    tensor = data.test.inputs.gather(torch.arange(4))[0]
    torch.testing.assert_close(model.values(tensor), model.values(data.test.inputs)[:4])


def test_tied_weights_and_buffers_outside_the_state_dict_come_back(own: str) -> None:
    measured(supervised((X, Y), own), (X, Y), "classification", trust=True)
    network: Any = load_model("run", trust=True).network
    assert network.first.weight is network.second.weight


def test_code_is_called_only_on_trust(own: str) -> None:
    supervised((X, Y), own)
    with pytest.raises(UsageError, match=r"names the code own_model:Tied, which would be imported and run: .*--trust"):
        load_model("run")
    with pytest.raises(UsageError, match="--trust"):
        finetune("run", data=(X, Y), freeze="first", epochs=1)
    result = finetune("run", data=(X, Y), freeze="first", epochs=1, trust=True, out="fine")
    assert result.frozen


def test_a_run_that_predicts_nothing_or_is_damaged_says_so() -> None:
    pretrain(data=(X, None), model="mlp:5,4", epochs=1, out="auto")
    with pytest.raises(RunError, match="auto is a pretraining run without labels, so it predicts nothing"):
        load_model("auto")
    supervised((X, Y))
    weights = load_file("run/weights.safetensors")
    save_file({name: t for name, t in weights.items() if not name.startswith("output")}, "run/weights.safetensors")
    with pytest.raises(RunError, match=r"run lacks output\.bias, output\.weight: it is damaged"):
        load_model("run")
    save_file({**weights, "output.bias": torch.zeros(9)}, "run/weights.safetensors")
    with pytest.raises(RunError, match=r"output\.bias is \(9,\) in the state and \(3,\) in the model"):
        load_model("run")
    save_file({**weights, "stray": torch.zeros(9)}, "run/weights.safetensors")
    with pytest.raises(RunError, match="'stray', which the model does not have"):
        load_model("run")
    Path("run/weights.safetensors").unlink()
    with pytest.raises(RunError, match="is missing: the run is damaged or was not finished"):
        load_model("run")
    path = Path("run/run.json")
    manifest = json.loads(path.read_text())
    del manifest["model"]["num_outputs"]
    path.write_text(json.dumps(manifest))
    with pytest.raises(RunError, match=r"does not say how its model is built .*num_outputs"):
        load_model("run")


def test_a_recipe_goes_through_plain_values() -> None:
    recipe = ModelRecipe("mlp:5,4", (3,), 2, LayerOptions(activation="elu", norm="batch"))
    assert ModelRecipe.from_dict(recipe.to_dict()) == recipe
    assert recipe.build(trust=False)(torch.zeros(2, 3)).shape == (2, 2)


def test_the_options_of_a_recipe_keep_their_form_in_run_json() -> None:
    options = {
        "activation": "elu",
        "norm": None,
        "init": "he_normal",
        "dropout": 0.1,
        "input_dropout": 0.2,
        "drop_path": 0.0,
        "recurrent_dropout": 0.3,
        "embedding_size": 5,
        "num_tokens": 9,
    }
    values = {"spec": "lstm:4", "input_shape": [3], "num_outputs": 2, "options": options}
    recipe = ModelRecipe.from_dict(values)
    assert json.dumps(recipe.to_dict()) == json.dumps(values)
    assert recipe.build()(torch.ones(2, 3, dtype=torch.long)).shape == (2, 2)
    del options["num_tokens"]
    assert json.dumps(ModelRecipe.from_dict(values).to_dict()) == json.dumps(values)


def test_an_option_either_tells_architectures_apart_or_is_known_not_to() -> None:
    dropped = {"init", "dropout", "input_dropout", "recurrent_dropout", "drop_path"}
    options = LayerOptions(activation="elu", norm="batch", dropout=0.1, embedding_size=5)
    architecture = ModelRecipe("lstm:4", (3,), 2, options, num_tokens=9).architecture
    assert set(architecture["options"]) == {field.name for field in fields(LayerOptions)} - dropped | {"num_tokens"}
    assert architecture["options"] == {"activation": "elu", "norm": "batch", "embedding_size": 5, "num_tokens": 9}
    assert architecture["spec"] == "lstm:4"


def test_options_that_an_older_run_lacks_are_the_defaults_and_unknown_ones_are_refused() -> None:
    values = {"spec": "mlp:5", "input_shape": [3], "num_outputs": 2, "options": {"norm": "batch"}}
    assert ModelRecipe.from_dict(values).options == LayerOptions(norm="batch")
    with pytest.raises(RunError, match=r"does not say how its model is built .*'depth'.*damaged"):
        ModelRecipe.from_dict(values | {"options": {"depth": 3}})
