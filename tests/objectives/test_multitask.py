"""Several targets at once: each loss by hand, which are classes, weights, and data that have one."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import reuse
from reuse.data.dataset import Dataset, learned_targets
from reuse.data.rows import Batch
from reuse.devices import Compute
from reuse.errors import UsageError
from reuse.objectives.multitask import ManyTargets, MultiTask

RANDOM = np.random.default_rng(0)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    frame = pd.DataFrame(RANDOM.normal(size=(60, 4)), columns=list("abcd"))
    frame["age"] = 40 + 10 * RANDOM.normal(size=60)
    frame["group"] = RANDOM.choice([3, 5, 8], 60)
    frame["member"] = RANDOM.integers(0, 2, 60)
    return frame


def parts(data: Dataset, objective: MultiTask) -> tuple[ManyTargets, Batch]:
    """Return a network in float64, and a batch as a trainer gives it."""
    torch.manual_seed(0)
    network = objective.build(reuse.build("mlp:8", data.input_shape, 2), data)
    assert isinstance(network, ManyTargets)
    targets = learned_targets(data, data.train, Compute(torch.device("cpu"), "float32"))
    rows = data.train.inputs.resident()
    assert rows is not None
    assert targets is not None
    return network.double(), Batch((rows[:9].double(),), targets[:9])


def test_each_target_has_the_loss_of_its_kind(frame: pd.DataFrame) -> None:
    data, objective = reuse.load(frame, target="age,group,member"), MultiTask((1.0, 0.5, 2.0))
    network, batch = parts(data, objective)
    losses = objective.losses(network, batch)
    coding, truth = network.encoder(batch.inputs[0]), data.train.targets[:9].numpy()  # type: ignore[index]
    told = [(coding @ h.output.weight.T + h.output.bias).detach().numpy() for h in network.heads]  # type: ignore[union-attr, operator]
    scale = data.target_scale
    assert scale is not None
    age = [(told[0][i, 0] - (truth[i, 0] - scale.mean[0]) / scale.std[0]) ** 2 / 2 for i in range(9)]
    sums = [[], []]
    for column, (values, weight) in enumerate((([3, 5, 8], 0.5), ([0, 1], 2.0)), start=1):
        for i in range(9):
            logits = told[column][i]
            right = logits[values.index(int(truth[i, column]))]
            sums[column - 1].append(weight * (math.log(np.exp(logits).sum()) - right))
    assert losses["target1"].item() == pytest.approx(np.mean(age), rel=1e-6)
    assert losses["target2"].item() == pytest.approx(np.mean(sums[0]), rel=1e-9)
    assert losses["target3"].item() == pytest.approx(np.mean(sums[1]), rel=1e-9)


def test_targets_of_zeros_and_ones_are_classes_each(frame: pd.DataFrame) -> None:
    labelled = frame.assign(other=1 - frame["member"] * (frame["group"] == 3)).drop(columns=["age", "group"])
    data = reuse.load(labelled, target="member,other")
    assert data.task == "multilabel"
    network, batch = parts(data, MultiTask())
    assert [head.output.out_features for head in network.heads] == [2, 2]  # type: ignore[union-attr]
    assert set(MultiTask().losses(network, batch)) == {"target1", "target2"}


def test_it_trains_and_lends_its_layers(frame: pd.DataFrame, tmp_path: Path) -> None:
    run = reuse.pretrain(
        "multitask", data=frame, target="age,group,member", model="mlp:8", epochs=2, out=tmp_path / "run"
    )
    assert run.metrics["test"]["loss"] == pytest.approx(sum(run.metrics["test"][f"target{n}"] for n in (1, 2, 3)))
    tuned = reuse.finetune(
        run.run, data=frame, target="member", ignore="age,group", freeze="hidden1", epochs=1, cache=False
    )
    assert tuned.frozen == ("hidden1",)


def test_what_cannot_be_is_refused(frame: pd.DataFrame, tmp_path: Path) -> None:
    for target in ("age", "group"):
        with pytest.raises(UsageError, match="has one target, and several are learned together"):
            reuse.pretrain("multitask", data=frame, target=target, model="mlp:8", epochs=1, out=tmp_path / "run")
    with pytest.raises(UsageError, match="there are 3 weights for 2 targets"):
        reuse.pretrain(MultiTask((1.0, 1.0, 1.0)), data=frame, target="age,group", model="mlp:8", out=tmp_path / "run")
    for weights in ((-1.0, 1.0), (0.0, 0.0), (math.nan,)):
        with pytest.raises(UsageError, match="weights of targets"):
            MultiTask(weights)
    assert not (tmp_path / "run").exists()
