"""Modules of torch in place of a model's spec, from Python."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import reuse
from reuse.cli.configuring import read_config
from reuse.errors import UsageError
from reuse.settings.commands import FinetuneArguments

X = torch.randn(80, 6, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long() + (X[:, 1] > 0).long()
DATA = TensorDataset(X, Y)
QUICK: dict[str, Any] = {"data": DATA, "epochs": 3}


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 7))


def test_the_layers_of_a_module_are_reused_and_the_module_stays_as_it_was(tmp_path: Path) -> None:
    module = network()
    before = copy.deepcopy(module.state_dict())
    result = reuse.finetune(module, freeze="0,1", out=tmp_path / "run", **QUICK)
    assert result.frozen == ("0", "1")
    assert result.restored == ("0", "1", "3")
    assert result.fresh == ("5",)
    assert result.cache is not None
    torch.testing.assert_close(dict(module.state_dict()), dict(before), rtol=0, atol=0)
    model = reuse.load_model(result.run, model=network(seed=5))
    torch.testing.assert_close(model.network[0].weight, module[0].weight, rtol=0, atol=0)
    assert not torch.equal(model.network[3].weight, module[3].weight)
    assert model.predict(X.numpy()).shape == (80,)


def test_it_trains_as_the_same_model_from_a_file_of_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "networks.py").write_text(
        "from torch import nn\n\n\ndef make(num_outputs):\n    return nn.Sequential(nn.Linear(6, 8), "
        "nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, num_outputs))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    torch.save(network().state_dict(), tmp_path / "weights.pt")
    from_file = reuse.finetune(tmp_path / "weights.pt", model="networks:make", freeze="0,1", **QUICK)
    given = reuse.finetune(network(), freeze="0,1", **QUICK)
    assert given.restored == from_file.restored
    assert given.cache is not None
    assert from_file.cache is not None
    assert given.cache["key"] == from_file.cache["key"]
    assert given.cache["hit"] is True, "what the file's layers have computed is found"


def test_what_is_recorded_and_what_it_can_be_used_for(tmp_path: Path) -> None:
    run = reuse.finetune(network(), out=tmp_path / "run", **QUICK).run
    settings = (Path(run) / "settings.toml").read_text(encoding="utf-8")
    assert 'source = "object:torch.nn.modules.container.Sequential"' in settings
    uses = (lambda: reuse.load_model(run), lambda: reuse.predict(run, data=DATA), lambda: reuse.finetune(run, **QUICK))
    for use in uses:
        with pytest.raises(UsageError, match=r"a torch.*Sequential, and keeps its weights alone"):
            use()
    with pytest.raises(UsageError, match="run it again from Python"):
        read_config(f"{run}/settings.toml", FinetuneArguments)
    again = reuse.finetune(run, model=network(seed=3), freeze="0", **QUICK)
    assert again.restored[0] == "0"


def test_a_module_is_pretrained_and_reused(tmp_path: Path) -> None:
    module = network()
    source = reuse.pretrain("supervised", model=module, out=tmp_path / "run", **QUICK)
    result = reuse.finetune(source.run, model=module, freeze="0,1,3", data=DATA, epochs=1)
    assert result.restored == ("0", "1", "3")
    trained = reuse.load_model(source.run, model=module)
    reused = reuse.load_model(result.run, model=module)
    torch.testing.assert_close(reused.network[0].weight, trained.network[0].weight, rtol=0, atol=0)
    assert not torch.equal(trained.network[0].weight, module[0].weight)


def test_an_autoencoder_around_a_module(tmp_path: Path) -> None:
    result = reuse.pretrain(model=network(), data=(X.numpy(), None), epochs=2, out=tmp_path / "run")
    assert result.metrics["valid"]["mse"] > 0


def test_a_resumed_run_is_given_the_module_again(tmp_path: Path) -> None:
    longer = {**QUICK, "epochs": 5}
    whole = reuse.finetune(network(), freeze="0", out=tmp_path / "whole", **longer)
    reuse.finetune(network(), freeze="0", out=tmp_path / "parts", **QUICK)
    with pytest.raises(UsageError, match="keeps its weights alone"):
        reuse.finetune(resume=tmp_path / "parts", **longer)
    resumed = reuse.finetune(network(seed=4), resume=tmp_path / "parts", **longer)
    assert resumed.metrics == whole.metrics


def test_layers_that_are_frozen_already_stay_so(tmp_path: Path) -> None:
    module = network()
    for parameter in (*module[0].parameters(), *module[1].parameters()):
        parameter.requires_grad_(False)
    result = reuse.finetune(module, out=tmp_path / "run", **QUICK)
    model = reuse.load_model(result.run, model=module)
    assert result.frozen == ("0", "1")
    torch.testing.assert_close(dict(model.network[1].state_dict()), dict(module[1].state_dict()), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"activation": "relu"}, "activation is for models that are built"),
        ({"compare": True}, "compare is for models that are built"),
        ({"random_weights": True}, "random_weights is for models that are built"),
        ({"data": None}, "names no data"),
        ({"source": 5}, "source is 5: text, or a module of torch, is expected"),
        ({"model": 5}, "model is 5: text, or a module of torch, is expected"),
    ],
)
def test_what_a_module_does_not_take(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        reuse.finetune(**{"source": network(), **QUICK, **settings})


class Masked(nn.Module):
    """A model of two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(values).relu() * mask)


@pytest.mark.parametrize(
    ("module", "x", "words"),
    [
        (
            nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)),
            X,
            r"not take rows of \(6,\): .*cannot be multiplied",
        ),
        (Masked(), {"values": X, "weight": X[:, :1]}, "rows of values .*, weight .*; forward takes values, mask"),
    ],
)
def test_a_module_that_does_not_take_the_rows_is_refused_in_one_line(
    module: nn.Module, x: Any, words: str, tmp_path: Path
) -> None:
    data = {"x": x, "y": Y}
    with pytest.raises(UsageError, match=words):
        reuse.finetune(module, data=data, out=tmp_path / "tuned")
    with pytest.raises(UsageError, match=words):
        reuse.pretrain("supervised", model=module, data=data, out=tmp_path / "trained")
    assert not list(tmp_path.iterdir())


def test_a_module_of_one_layer_has_nothing_before_its_output_layer(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(6, 8), nn.ReLU())
    with pytest.raises(UsageError, match="one layer with weights, which is taken for its output layer"):
        reuse.pretrain("denoising_autoencoder", model=module, out=tmp_path / "run", **QUICK)
    with pytest.raises(UsageError, match="no layers but its output layer, which is trained anew"):
        reuse.finetune(module, out=tmp_path / "run", **QUICK)


class Fewest(nn.Module):
    """Takes the three greatest rows of a batch while it trains, which two rows do not have."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(6, 4), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.body(x)
        return self.head(y + y.topk(3, dim=0).values.mean() if self.training else y)


def test_a_model_that_needs_more_rows_than_two_is_tried_on_a_batch(tmp_path: Path) -> None:
    settings = {**QUICK, "batch_size": 16, "cache": False, "out": tmp_path / "run", "valid_fraction": 0.2}
    assert reuse.finetune(Fewest(), freeze="body", **settings).epochs == 3
