"""Further metrics equal scikit-learn's, computed from the same predictions."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as reference

import reuse
from reuse.errors import UsageError
from reuse.inference.metrics import FurtherMetrics

RNG = np.random.default_rng(0)
SIX = tuple("abcdef")


def shares(rows: int, classes: int) -> np.ndarray:
    return np.asarray(RNG.dirichlet(np.ones(classes), rows))


def further(names: str, task: str, classes: tuple[str, ...], values: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    chosen = FurtherMetrics.named((names,), task, classes)
    return chosen.measured(torch.from_numpy(values), torch.from_numpy(truth))


def test_of_classes() -> None:
    truth, values = np.arange(200) % 6, shares(200, 6)
    values[np.arange(0, 200, 2), truth[::2]] += 0.5
    values /= values.sum(1, keepdims=True)
    found = further("all", "classification", SIX, values, truth)
    assert found == pytest.approx({
        "balanced_accuracy": reference.balanced_accuracy_score(truth, values.argmax(1)),
        "roc_auc": reference.roc_auc_score(truth, values, multi_class="ovr"),
        "average_precision": reference.average_precision_score(truth, values),
        "top_k": reference.top_k_accuracy_score(truth, values, k=5),
    })  # fmt: skip
    for count in (1, 2, 3):
        told = further(f"top_k:{count}", "classification", SIX, values, truth)
        assert told == pytest.approx({f"top_k:{count}": reference.top_k_accuracy_score(truth, values, k=count)})


def test_of_two_classes_that_are_not_alike_in_number() -> None:
    truth, values = (np.arange(90) % 9 == 0).astype(np.int64), shares(90, 2)
    found = further("all", "classification", ("no", "yes"), values, truth)
    assert found == pytest.approx({
        "balanced_accuracy": reference.balanced_accuracy_score(truth, values.argmax(1)),
        "roc_auc": reference.roc_auc_score(truth, values[:, 1]),
        "average_precision": reference.average_precision_score(truth, values[:, 1]),
    })  # fmt: skip


def test_of_labels() -> None:
    truth, values = RNG.integers(0, 2, (150, 4)).astype(np.float32), RNG.random((150, 4))
    given = values > 0.5
    found = further("all", "multilabel", tuple("abcd"), values, truth)
    assert found == pytest.approx({
        "subset_accuracy": reference.accuracy_score(truth, given),
        "hamming_loss": reference.hamming_loss(truth, given),
        "micro_f1": reference.f1_score(truth, given, average="micro"),
        "roc_auc": reference.roc_auc_score(truth, values),
        "average_precision": reference.average_precision_score(truth, values),
    })  # fmt: skip


def test_a_class_of_which_there_are_no_rows_is_left_out_and_named() -> None:
    truth, values = np.arange(60) % 3, shares(60, 6)
    chosen = FurtherMetrics.named(["balanced_accuracy,roc_auc"], "classification", SIX)
    found = chosen.measured(torch.from_numpy(values), torch.from_numpy(truth))
    each = [reference.roc_auc_score(truth == number, values[:, number]) for number in range(3)]
    recalls = [(values.argmax(1)[truth == number] == number).mean() for number in range(3)]
    assert found == pytest.approx({"roc_auc": np.mean(each), "balanced_accuracy": np.mean(recalls)})
    assert chosen.notes(torch.from_numpy(truth)) == ("roc_auc cannot be told of d, e, f, which all rows are or none",)
    constant = further("roc_auc", "classification", SIX, values, np.zeros(60, np.int64))
    assert np.isnan(constant["roc_auc"])


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("roc_acu", r"metric of classification 'roc_acu'.*roc_auc"),
        ("hamming_loss", r"metric of classification 'hamming_loss'"),
        ("top_k:6", r"metric top_k:6 of 6 classes: give a number below 6, as top_k:2"),
        ("top_k:0", r"give a number below 6"),
        ("top_k:x", r"give a number below 6"),
        ("roc_auc:3", r"metric roc_auc:3 takes no number: write roc_auc"),
        ("roc_auc,roc_auc", r"names roc_auc twice"),
    ],
)
def test_what_is_no_metric_is_refused(names: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        FurtherMetrics.named((names,), "classification", SIX)


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_a_run_and_an_ensemble_are_measured_by_them(task: str, tmp_path: Path) -> None:
    x = RNG.normal(size=(120, 4))
    y: Any = {
        "classification": np.arange(120) % 3,
        "multilabel": (x[:, :3] > 0).astype(np.int64),
        "regression": 1e4 * x[:, 0],
    }[task]
    settings: dict[str, Any] = {"data": (x, y), "model": "mlp:8", "epochs": 3}
    runs = [reuse.pretrain("supervised", seed=n, split_seed=0, out=f"run{n}", **settings).run for n in (0, 1)]
    plain, found = (reuse.evaluate(runs[0], data=(x, y), metrics=names) for names in ((), "all"))
    assert plain.metrics.items() < found.metrics.items()
    rows = reuse.predict(runs[0], data=(x, y), split="test").numbers
    model = reuse.load_model(runs[0])
    predicted, truth = model.values(x[rows]).numpy(), y[rows]
    expected = {
        "classification": lambda: ("roc_auc", reference.roc_auc_score(truth, predicted, multi_class="ovr")),
        "multilabel": lambda: ("subset_accuracy", reference.accuracy_score(truth, model.predict(x[rows]))),
        "regression": lambda: ("mae", reference.mean_absolute_error(truth, predicted)),
    }[task]()
    assert found.metrics[expected[0]] == pytest.approx(expected[1], rel=1e-5)
    together = reuse.ensemble_runs(runs).evaluate((x, y), metrics=[expected[0]])
    assert together.members[0]["metrics"][expected[0]] == pytest.approx(expected[1], rel=1e-5)
    assert set(together.metrics) == {*plain.metrics, expected[0]}
