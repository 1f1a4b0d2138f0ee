"""Scores of features during a pretraining: in the history, as a reason to stop, and a collapse called by its name."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import reuse
from finished_runs import history, weights
from listening import Listener
from reuse.errors import UsageError
from reuse.runs.fitting import Interrupted

RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(0, 3, 200)
ROWS = (RANDOM.normal(size=(200, 9)) + 2 * np.eye(9)[LABELS]).astype(np.float32)
SETTINGS: dict[str, Any] = {"data": (ROWS, LABELS), "model": "mlp:12,8", "epochs": 4}


def test_features_are_scored_every_so_many_epochs_and_nothing_else_changes() -> None:
    plain = reuse.pretrain("autoencoder", **SETTINGS, out="plain")
    probed = reuse.pretrain("autoencoder", **SETTINGS, probe_every=2, out="probed")
    assert plain.metrics == probed.metrics
    torch.testing.assert_close(weights("plain"), weights("probed"), rtol=0, atol=0)
    lines = history("probed")
    assert ["probe" in line["valid"] for line in lines] == [False, True, False, True]
    for line in lines[1::2]:
        scores = line["valid"]
        assert scores["probe_error"] == 1 - scores["probe"]
        assert 0.5 < scores["probe"] <= 1
        assert 0.34 < scores["knn"] <= 1, "more than chance"
        assert 1 <= scores["rank"] <= 8


def test_the_best_score_is_kept_and_patience_counts_epochs() -> None:
    settings = {**SETTINGS, "epochs": 40, "patience": 4}
    result = reuse.pretrain("autoencoder", **settings, probe_every=2, stop_on="probe", out="run")
    errors = {line["epoch"]: line["valid"].get("probe_error", 2) for line in history("run")}
    assert result.best_epoch == min(errors, key=lambda epoch: (errors[epoch], epoch))
    assert result.best_epoch % 2 == 0
    assert result.epochs == min(40, result.best_epoch + 4)


def test_a_method_whose_loss_tells_nothing_can_stop_by_it_and_is_resumed_bit_for_bit() -> None:
    settings = {**SETTINGS, "probe_every": 1, "stop_on": "probe"}
    reuse.pretrain("simsiam", **settings, out="whole")
    with pytest.raises(Interrupted):
        reuse.pretrain("simsiam", **settings, out="run", reporter=Listener(2))
    reuse.pretrain(resume="run", data=SETTINGS["data"])
    assert history("run") == history("whole")
    torch.testing.assert_close(weights("run"), weights("whole"), rtol=0, atol=0)


def test_without_labels_the_rank_alone_is_measured() -> None:
    reuse.pretrain("autoencoder", **{**SETTINGS, "data": (ROWS, None)}, probe_every=4, out="run")
    assert {"knn", "probe"}.isdisjoint(history("run")[-1]["valid"])
    assert history("run")[-1]["valid"]["rank"] > 1


def test_a_collapse_is_called_by_its_name_with_advice() -> None:
    line = ROWS[:, :1] * np.ones((1, 9), np.float32)  # one number tells all of a row
    told, quiet = Listener(), Listener()
    result = reuse.pretrain("byol", **{**SETTINGS, "data": (line, None)}, reporter=told, out="run")
    assert told.said("collapse: of the 8 features")
    assert any(note.startswith("collapse") for note in result.notes)
    reuse.pretrain("byol", **SETTINGS, reporter=quiet, out="byol")
    assert not quiet.said("collapse")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stop_on": "probe"}, "stop_on is 'probe' and does nothing without probe_every"),
        ({"stop_on": "loss", "probe_every": 1}, "stop_on is 'loss': give probe"),
        ({"stop_on": "probe", "probe_every": 1, "data": (ROWS, None)}, "needs validation rows with labels"),
        ({"probe_every": 0}, "probe every is 0"),
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        reuse.pretrain("autoencoder", **{**SETTINGS, **settings}, out="run")
    assert not Path("run").exists()
