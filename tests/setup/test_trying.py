"""Models that return several outputs, and batches of one row."""

import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import reuse
from reuse.errors import ReuseError, UsageError

X = np.random.default_rng(0).integers(0, 255, (30, 3, 6, 6), dtype=np.uint8)
Y = np.arange(30) % 3
SOURCE = """
import random
from collections import namedtuple
from dataclasses import dataclass
import torch
from torch import nn

Outputs = namedtuple("Outputs", "logits aux")

@dataclass
class Answer:
    logits: torch.Tensor
    features: torch.Tensor

class Net(nn.Module):
    def __init__(self, num_classes, form):
        super().__init__()
        self.form = form
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
        self.aux, self.fc = nn.Linear(64, num_classes), nn.Linear(64, num_classes)
        if form != "auxiliary":
            del self.aux

    def forward(self, x):
        features = self.body(x)
        logits = self.fc(features)
        if self.form == "dictionary":
            return {"features": features, "logits": logits}
        if self.form == "dataclass":
            return Answer(logits, features)
        if self.form == "list" or (self.form == "auxiliary" and self.training):
            return Outputs(logits, self.aux(features)) if self.form == "auxiliary" else [logits, features]
        return logits

class Dropping(Net):
    def forward(self, x):
        features = self.body(x)
        dropped = self.training and random.random() < 0.9
        return {"logits": self.fc(features if dropped else self.extra(features)), "features": features}

def dropping(num_classes):
    net = Dropping(num_classes, "dictionary")
    net.extra = nn.Linear(64, 64)
    return net

class Skipping(Net):
    def forward(self, x):
        features = self.body(x)
        return self.fc(features if self.training and random.random() < 0.8 else self.extra(features))

def skipping(num_classes):
    net = Skipping(num_classes, "plain")
    net.extra = nn.Linear(64, 64)
    return net

def plain(num_classes): return Net(num_classes, "plain")
def auxiliary(num_classes): return Net(num_classes, "auxiliary")
def dictionary(num_classes): return Net(num_classes, "dictionary")
def dataclass_(num_classes): return Net(num_classes, "dataclass")
def list_(num_classes): return Net(num_classes, "list")
"""
SETTINGS: dict[str, Any] = {"data": (X, Y), "epochs": 2, "trust": True, "seed": 3}


@pytest.fixture(autouse=True)
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "several_nets.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "several_nets", raising=False)


@pytest.mark.parametrize("freeze", ["body", "body.0", ()])
@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("auxiliary", "returns a Outputs: trained on logits, not aux"),
        ("dictionary", "returns a dict: trained on logits, not features"),
        ("dataclass_", "returns a Answer: trained on logits, not features"),
        ("list_", "returns a list: trained on 0, not 1"),
    ],
)
def test_models_of_several_outputs_learn_what_they_would_with_one(form: str, said: str, freeze: Any) -> None:
    plain = reuse.finetune("several_nets:plain", freeze=freeze, out="plain", **SETTINGS)
    several = reuse.finetune(f"several_nets:{form}", freeze=freeze, out="several", **SETTINGS)
    assert several.metrics == plain.metrics
    assert any(note.endswith(said) for note in several.notes)
    assert ("frozen, as logits does not depend on it: aux" in several.notes) == (form == "auxiliary")
    assert not any("trained on" in note for note in plain.notes)
    one, other = (reuse.load_model(run, trust=True).values(X) for run in ("plain", "several"))
    torch.testing.assert_close(one, other, rtol=0, atol=0)
    one, other = (reuse.evaluate(run, data=(X, Y), trust=True).metrics for run in ("plain", "several"))
    assert one == other


@pytest.mark.parametrize("freeze", ["body", ()])
def test_a_layer_that_is_left_out_by_chance_is_no_auxiliary_head(freeze: Any) -> None:
    result = reuse.finetune("several_nets:dropping", freeze=freeze, out="dropping", **SETTINGS | {"batch_size": 2})
    assert not any("frozen, as" in note for note in result.notes)
    assert "extra" not in " ".join(result.frozen)


@pytest.mark.parametrize("seed", range(4))
def test_the_only_layer_that_trains_may_be_left_out_by_chance(seed: int) -> None:
    """Of eight steps about one moves it; the first, as a model is tried, is mostly none of them."""
    settings = SETTINGS | {"batch_size": 3, "epochs": 4, "seed": seed, "clip_norm": 1.0, "ema": 0.9}
    result = reuse.finetune("several_nets:skipping", freeze="body,fc", out="skipping", **settings)
    assert result.epochs == 4


@pytest.mark.parametrize("freeze", ["conv1", "conv1,conv2"])
def test_batches_of_one_row_and_a_batch_norm_are_one_line(freeze: str) -> None:
    settings = SETTINGS | {"model": "convnet:4,4/6", "norm": "batch", "batch_size": 1}
    source = reuse.pretrain("supervised", **(settings | {"batch_size": 8}), out="source").run
    with pytest.raises(UsageError, match=r"hold one row, and batch norm .* cannot learn from one: give --batch-size 2"):
        reuse.finetune(source, freeze=freeze, out="one", **settings)
    with pytest.raises(UsageError, match="cannot learn from one"):
        reuse.pretrain("supervised", **settings, out="one")
    assert not Path("one").exists()


def test_batches_of_one_row_are_fine_where_the_norm_sees_several_places_or_is_frozen() -> None:
    settings = SETTINGS | {"batch_size": 1, "epochs": 1}
    assert reuse.pretrain("supervised", model="convnet:4", norm="batch", **settings).epochs == 1
    source = reuse.pretrain("supervised", **(SETTINGS | {"model": "mlp:6", "norm": "batch"}), out="source").run
    assert reuse.finetune(source, freeze="hidden1", **settings).epochs == 1


def test_a_single_training_row_is_a_batch_of_one() -> None:
    numbers = Y + 0.5
    alone = {"x_train": X[:1], "y_train": numbers[:1], "x_test": X[1:3], "y_test": numbers[1:3]}
    with pytest.raises(UsageError, match="batches hold one row"):
        reuse.pretrain("supervised", data=alone, model="mlp:6", norm="batch", epochs=1, valid_fraction=0)


class Parted(torch.nn.Module):
    """Its output layer, which is made to fit the targets, comes second."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body, self.head = torch.nn.Linear(4, width), torch.nn.Linear(width, 3)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        body = self.body(x)
        return {"body": body, "head": self.head(body)}


@pytest.mark.parametrize(
    ("width", "freeze", "message"),
    [
        (3, "body", "body depends on nothing that trains: freeze less, or let forward return what is meant first"),
        (5, (), "body has 5 numbers a row, and the targets need 3: give its last layer as many"),
        (1, (), "body has 1 number a row, and the targets need 3"),
    ],
)
def test_outputs_from_which_nothing_can_be_learned_are_refused(width: int, freeze: Any, message: str) -> None:
    rows = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    with pytest.raises(UsageError, match=re.escape(message)):
        reuse.finetune(Parted(width), data=(rows, Y), freeze=freeze, epochs=1)


class Shaped(torch.nn.Module):
    """A linear layer whose outputs somebody shaped otherwise."""

    def __init__(self, shaped: Callable[[torch.Tensor], Any], width: int = 3) -> None:
        super().__init__()
        self.shaped, self.body, self.head = shaped, torch.nn.Linear(108, 4), torch.nn.Linear(4, width)

    def forward(self, x: torch.Tensor) -> Any:
        return self.shaped(self.head(self.body(x.flatten(1))))


def seeded(shaped: Callable[[torch.Tensor], Any], width: int = 3) -> Shaped:
    torch.manual_seed(0)
    return Shaped(shaped, width)


FORMS: dict[str, Callable[[torch.Tensor], Any]] = {
    "()": lambda z: z.sum(),
    "(2,)": lambda z: z.sum(1),
    "(2, 3, 1)": lambda z: z[..., None],
    "(1, 3)": lambda z: z.sum(0, keepdim=True),
    "(3, 2)": lambda z: z.T,
    "(6,)": lambda z: z.flatten(),
    "(2, 3) and type complex64": lambda z: z.to(torch.complex64),
}


@pytest.mark.parametrize("form", FORMS)
def test_outputs_of_another_form_are_one_line(form: str) -> None:
    for train in (reuse.finetune, lambda model, **settings: reuse.pretrain("supervised", model=model, **settings)):
        with pytest.raises(UsageError, match=re.escape(f"its output has shape {form}")):
            train(Shaped(FORMS[form]), data=(X, Y), epochs=1)


def test_a_model_that_gives_no_numbers_is_one_line_before_its_features_are_drawn() -> None:
    with pytest.raises(ReuseError, match="the training loss became nan"):
        reuse.pretrain("supervised", model=Shaped(lambda z: z * math.nan), data=(X, Y), epochs=1)


def test_numbers_may_come_in_any_shape_and_a_loss_beside_outputs_is_passed_over() -> None:
    numbers = {"(n, 1)": lambda z: z, "(n,)": lambda z: z.squeeze(-1), "(n, 1, 1)": lambda z: z[..., None]}
    found = [reuse.finetune(seeded(form, 1), data=(X, Y + 0.5), epochs=1).metrics for form in numbers.values()]
    assert found[0] == found[1] == found[2]
    beside = reuse.finetune(seeded(lambda z: (z.sum(), z)), data=(X, Y), epochs=1)
    assert beside.metrics == reuse.finetune(seeded(lambda z: z), data=(X, Y), epochs=1).metrics
    assert [note for note in beside.notes if note.endswith("returns a tuple: trained on 1, not 0")]
