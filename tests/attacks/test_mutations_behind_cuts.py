"""The same mutations of a network whose frozen layers are cut out of the middle of a forward, and cuts remembered."""

import os
import random
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from attacks.mutable_network import build, load_network
from attacks.mutations import MUTATIONS, Mutation
from reuse.data.dataset import Dataset
from reuse.data.loading import load
from reuse.devices import Compute
from reuse.errors import CutError
from reuse.features.choosing import Upcoming
from reuse.features.feeding import feed_activations
from reuse.features.planned import half_steps, plan_features
from reuse.layers.freezing import freeze
from reuse.objectives.supervised import supervised
from reuse.reporting import Reporter
from reuse.settings.caching import StoringSettings

COUNT = int(os.environ.get("REUSE_MUTATIONS", "300")) // 15
ROWS = 40
X = np.random.default_rng(0).random((ROWS, 8)).astype(np.float32)
CPU = Compute(torch.device("cpu"), "float32")
TRACED = "torch.jit.trace(lambda x: x * torch.tensor([1.0, 2.0, 3.0, 1.0, 2.0, 3.0]), torch.ones(2, 6))"
PLAIN = "lambda x: x * torch.tensor([1.0, 2.0, 3.0, 1.0, 2.0, 3.0])"

pytestmark = [
    pytest.mark.usefixtures("cached_however_small"),
    pytest.mark.filterwarnings("ignore:.*Overriding a previously registered"),
]


def with_an_end_that_trains(source: str) -> str:
    """Return the source of the network with one more parameter at the end of its forward, so that this is traced."""
    source = source.replace(TRACED, PLAIN).replace("x * 1.0\n", "x * 1.0 * self.end\n")
    source = source.replace('globals()["HID" + "DEN"]\n', 'globals()["HID" + "DEN"] * self.end\n')
    return source.replace(
        "        self.factor = 1.1\n", "        self.factor = 1.1\n        self.end = nn.Parameter(torch.ones(6))\n"
    )


def mixed(mutation: Mutation) -> Mutation:
    edit = mutation.edit
    if edit is not None and edit[0] == "return x * 1.0":
        edit = ("return x * 1.0 * self.end", "return x * NUMBER * self.end")
    return replace(mutation, base=with_an_end_that_trains(mutation.base), edit=edit)


KINDS = [mixed(mutation) for mutation in MUTATIONS if mutation.name != "constants of a traced function"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "mutable_scale.txt").write_text("0")
    yield tmp_path
    for name in ("mutable_network", "mutable_tools"):
        sys.modules.pop(name, None)


def is_right(model: nn.Module, data: Dataset) -> bool:
    """Return whether the suffix computes of what is served what the whole model computes; true where none is cut."""
    freeze(model, "0.linear,0.norm,0.bias")
    upcoming = Upcoming(2, partial(half_steps, supervised("classification", 4)), comparable=False)
    try:
        features = plan_features(model, data, CPU, StoringSettings(cache_dir="cache", cache_kind="disk"), upcoming)
    except CutError:
        return True
    feed, every = feed_activations(features, data, CPU, Reporter()), torch.arange(len(data.train))
    model.eval()
    features.parts.suffix.eval()
    with torch.no_grad():
        whole = model(data.train.inputs.gather(every)[0])
        parted = features.parts.suffix(*feed.splits["train"][0].gather(every))
    return torch.allclose(whole, parted, rtol=1e-4, atol=1e-5)


def test_nothing_is_stale_where_a_forward_is_cut_in_two(folder: Path) -> None:
    data, draw = load((X, np.arange(ROWS) % 4)), random.Random(7)
    wrong = []
    for mutation in draw.sample(KINDS, min(COUNT, len(KINDS))):
        assert is_right(build(load_network(folder, mutation.base)), data)
        with ExitStack() as undo:
            model = build(load_network(folder, *mutation.sources(draw)))
            if mutation.change is not None:
                mutation.change(model[0], draw, undo)
            if not is_right(model, data):
                wrong.append(mutation.name)
    assert wrong == []
