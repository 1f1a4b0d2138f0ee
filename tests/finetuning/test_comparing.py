"""Comparisons over several draws of labels: the table is what the trainings one by one would give."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats
from sklearn.datasets import load_digits

import reuse
from reuse.cli.main import cli
from reuse.errors import UsageError
from reuse.runs.results import with_intervals

QUICK = {"epochs": 4, "data": "digits", "labels": 60}
OWN_KEYS = ("gain", "gain_interval")


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    return reuse.pretrain("autoencoder", data="digits", model="mlp:8,6", epochs=1, out="source").run


def test_means_and_gains_are_those_of_the_trainings_one_by_one(source: str) -> None:
    table = reuse.finetune(source, freeze="hidden1", compare=True, draws=3, out="run", **QUICK).comparison
    frozen, scratch = (
        [
            reuse.finetune(source, **how, seed=seed, out=f"{name}{seed}", **QUICK).metrics["test"]["accuracy"]
            for seed in range(3)
        ]
        for name, how in (("frozen", {"freeze": "hidden1"}), ("scratch", {"random_weights": True}))
    )
    assert table["frozen"]["draws"] == 3
    assert table["frozen"]["accuracy"] == pytest.approx(sum(frozen) / 3)
    assert table["scratch"]["accuracy"] == pytest.approx(sum(scratch) / 3)
    paired = stats.ttest_rel(frozen, scratch).confidence_interval(0.95)
    low, high = (table["frozen"]["gain"] + sign * table["frozen"]["gain_interval"] for sign in (-1, 1))
    assert (low, high) == pytest.approx((paired.low, paired.high))
    own = stats.t.interval(0.95, 2, sum(frozen) / 3, stats.sem(frozen))
    assert table["frozen"]["accuracy_interval"] == pytest.approx((own[1] - own[0]) / 2)


def test_runs_of_later_draws_are_cleared_away_and_the_first_ones_stay(source: str) -> None:
    run = Path(reuse.finetune(source, freeze="hidden1", compare=True, draws=2, out="run", **QUICK).run)
    assert sorted(path.name for path in run.glob("compared-*")) == ["compared-scratch", "compared-unfrozen"]


def test_one_draw_is_a_table_without_intervals(source: str) -> None:
    table = reuse.finetune(source, freeze="hidden1", compare=True, out="run", **QUICK).comparison
    assert not any("interval" in name or name in OWN_KEYS for row in table.values() for name in row)


def test_without_data_there_are_few_labels_and_ten_draws(source: str) -> None:
    result = reuse.finetune(source, freeze="hidden1", epochs=1)
    assert (result.settings["labels"], result.comparison["frozen"]["draws"]) == (30, 10)


def test_draws_of_nothing_are_refused(source: str) -> None:
    with pytest.raises(UsageError, match="draws is 3, and nothing is compared: give compare, or leave draws out"):
        reuse.finetune(source, freeze="hidden1", draws=3, **QUICK)


def test_arrays_are_drawn_anew_too(source: str) -> None:
    x, y = load_digits(return_X_y=True)
    of_arrays = reuse.pretrain("autoencoder", data={"x": x}, model="mlp:8", epochs=1, out="of-arrays").run
    rows = {"x": x[:80], "y": y[:80]}
    settings = {"freeze": "hidden1", "labels": 40, "epochs": 2, "compare": True, "draws": 2}
    assert reuse.finetune(of_arrays, data=rows, **settings).comparison["frozen"]["draws"] == 2


def test_pretraining_without_method_and_data_says_which_it_takes(source: str) -> None:
    assert reuse.pretrain(epochs=1).settings["objective"] == "simclr"
    assert reuse.pretrain(epochs=1, data="digits").settings["objective"] == "autoencoder"


def test_a_row_is_read_with_its_intervals() -> None:
    row = {"draws": 3, "epochs": 12.6, "seconds": 1.5, "accuracy": 0.84167, "accuracy_interval": 0.02302}
    assert with_intervals(row) == {"epochs": 13, "seconds": 1.5, "accuracy": "0.842 ± 0.023"}
    assert with_intervals({"epochs": 2, "accuracy": 0.5}) == {"epochs": 2, "accuracy": 0.5}


def test_without_test_rows_it_is_of_the_validation_rows(source: str) -> None:
    x, y = load_digits(return_X_y=True)
    np.savez("rows.npz", x_train=x[:60], y_train=y[:60], x_val=x[60:90], y_val=y[60:90])
    of_arrays = reuse.pretrain("autoencoder", data="rows.npz", model="mlp:8", epochs=1, out="of-arrays").run
    words = ["finetune", of_arrays, "--freeze", "hidden1", "--data", "rows.npz", "--epochs", "2", "--out", "run"]
    shown = CliRunner().invoke(cli, [*words, "--compare"], catch_exceptions=False)
    assert "on the validation split, after training on the same 60 + 30 labels:" in shown.output
    result = json.loads(Path("run/result.json").read_text())
    assert result["metrics"]["test"] == {}
    assert result["comparison"]["frozen"]["loss"] == result["metrics"]["valid"]["loss"]
    assert all("accuracy" in row for row in result["comparison"].values())
