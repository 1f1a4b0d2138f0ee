"""Targets of other data in the numbering of a run."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from reuse.data.loading import load
from reuse.data.matching import targets_for
from reuse.errors import DataError
from reuse.inference.selecting import DataRequest, SelectedRows, run_rows
from reuse.pretraining.pretrain import pretrain
from reuse.runs.folder import RunFolder
from reuse.runs.manifest import Manifest


def selected(targets: Tensor | None, task: str, classes: tuple[str, ...] = ()) -> SelectedRows:
    inputs: Any = None
    return SelectedRows("other", inputs, targets, task, classes, np.arange(4), (), "all")


def test_classes_are_renumbered_by_name() -> None:
    given = selected(torch.tensor([0, 1, 2, 1]), "classification", ("ant", "bee", "cow"))
    assert targets_for(given, "classification", ("cow", "dog", "bee", "ant")).tolist() == [3, 2, 0, 2]


def test_only_classes_that_have_rows_must_be_known() -> None:
    given = selected(torch.tensor([0, 2]), "classification", ("ant", "bee", "cow"))
    assert targets_for(given, "classification", ("ant", "cow")).tolist() == [0, 1]
    with pytest.raises(DataError, match="does not know: cow; it knows ant, bee"):
        targets_for(given, "classification", ("ant", "bee"))


def test_labels_are_put_in_order_and_none_may_be_missing() -> None:
    values = torch.tensor([[0.0, 1.0], [1.0, 1.0]])
    given = selected(values, "multilabel", ("red", "blue"))
    assert targets_for(given, "multilabel", ("blue", "red")).tolist() == [[1.0, 0.0], [1.0, 1.0]]
    with pytest.raises(DataError, match="green"):
        targets_for(given, "multilabel", ("blue", "red", "green"))
    with pytest.raises(DataError, match="red"):
        targets_for(given, "multilabel", ("blue",))


def test_few_whole_numbers_are_numbers_to_a_regression() -> None:
    data = load({"x": np.eye(6), "y": np.array([7, -2, 7, 30, -2, 7])}, valid_fraction=0, test_fraction=0)
    given = selected(data.train.targets, data.task, data.classes)
    assert data.task == "classification"
    assert targets_for(given, "regression", ()).tolist() == [[7.0], [-2.0], [7.0], [30.0], [-2.0], [7.0]]
    with pytest.raises(DataError, match="predicts numbers"):
        targets_for(selected(torch.tensor([0]), "classification", ("cat",)), "regression", ())


@pytest.mark.parametrize(("theirs", "ours"), [("regression", "classification"), ("multilabel", "regression")])
def test_another_task_is_refused(theirs: str, ours: str) -> None:
    with pytest.raises(DataError, match=f"{theirs}.*{ours}"):
        targets_for(selected(torch.zeros(4, 1), theirs), ours, ("a", "b"))


def test_without_targets_nothing_can_be_measured() -> None:
    with pytest.raises(DataError, match="no labels"):
        targets_for(selected(None, "unlabelled"), "classification", ("a", "b"))


# Which rows


ROWS = 120
ARRAYS = {
    "x": np.random.default_rng(0).normal(size=(ROWS, 3)).astype(np.float32),
    "y": np.tile([0, 1], ROWS // 2),
    "patient": np.repeat(np.arange(ROWS // 4), 4),
}


def run_on(data: str, **settings: Any) -> RunFolder:
    run = RunFolder.create("finetune")
    run.write_manifest(Manifest("finetune"))
    run.write_settings("finetune", {"data": data, "seed": 3, **settings})
    return run


def test_a_split_drawn_for_other_data_is_that_of_a_training() -> None:
    np.savez("own.npz", **ARRAYS)
    np.savez("other.npz", **ARRAYS)
    run = run_on("own.npz", group_by="patient")
    preprocessing = load("own.npz", group_by="patient", seed=3).preprocessing
    for split in ("train", "valid", "test"):
        own = run_rows(run, preprocessing, DataRequest(), split)
        other = run_rows(run, preprocessing, DataRequest("other.npz"), split)
        assert other.numbers.tolist() == own.numbers.tolist()
        assert torch.equal(other.inputs.gather(torch.arange(3))[0], own.inputs.gather(torch.arange(3))[0])
        assert f"{len(own.numbers)} of 120 rows: the {split} split drawn with seed 3" in other.notes


def test_without_a_split_own_data_gives_its_test_rows_and_other_data_all_or_its_own_test_rows() -> None:
    np.savez("own.npz", x=ARRAYS["x"], y=ARRAYS["y"])
    np.savez("other.npz", x=ARRAYS["x"][:7], y=ARRAYS["y"][:7])
    x, y = ARRAYS["x"], ARRAYS["y"]
    np.savez("split.npz", x_train=x[:4], y_train=y[:4], x_test=x[4:9], y_test=y[4:9])
    run = run_on("own.npz")
    data = load("own.npz", seed=3)
    test = ("test", data.test.rows.tolist())
    expected = {None: test, "own.npz": test, "./own.npz": test, "other.npz": ("all", list(range(7)))}
    for spec, (split, rows) in {**expected, "split.npz": ("test", [4, 5, 6, 7, 8])}.items():
        found = run_rows(run, data.preprocessing, DataRequest(spec), None)
        assert (found.split, found.numbers.tolist()) == (split, rows), spec
    assert run_rows(run, data.preprocessing, DataRequest((x, y)), None).split == "all"


def test_arrays_may_be_those_of_a_run_on_arrays() -> None:
    x, y = ARRAYS["x"], ARRAYS["y"]
    data = load((x, y), seed=3)
    found = run_rows(run_on("arrays"), data.preprocessing, DataRequest((x, y)), None)
    assert (found.split, found.numbers.tolist()) == ("test", data.test.rows.tolist())
    assert "24 of 120 rows: the test split drawn with seed 3" in found.notes


def half_labelled() -> pd.DataFrame:
    draw = np.random.default_rng(0)
    table = pd.DataFrame(draw.normal(size=(200, 3)), columns=["a", "b", "c"])
    table["y"] = draw.choice(["u", "v", "w"], 200)
    table.loc[draw.random(200) < 0.5, "y"] = None
    return table


QUICK: dict[str, Any] = {"model": "mlp:2", "epochs": 1, "seed": 3}
CHOSEN: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({}, ("train", "valid", "test")),
    ({"labels": 30}, ("train", "valid", "test")),
    ({"labels": 20, "classes": "u,w"}, ("train", "valid")),
]


@pytest.mark.parametrize(("settings", "splits"), CHOSEN)
@pytest.mark.parametrize("own", ["own.csv", "arrays"])
def test_rows_drawn_for_named_data_are_the_run_s_own_also_where_labels_are_missing_or_few(
    settings: dict[str, Any], splits: tuple[str, ...], own: str
) -> None:
    half_labelled().to_csv("own.csv", index=False)
    data = load("own.csv", target="y", seed=3, **settings)
    spec = half_labelled() if own == "arrays" else own
    run = RunFolder.open(pretrain("supervised", data=spec, target="y", **QUICK, **settings).run)
    for split in splits:
        found, rows = run_rows(run, data.preprocessing, DataRequest(spec), split), getattr(data, split)
        assert found.numbers.tolist() == rows.rows.tolist(), split
        assert found.targets is not None
        assert [found.classes[y] for y in found.targets] == [data.classes[y] for y in rows.targets]


def test_rows_of_another_half_labelled_file_are_drawn_as_for_a_training() -> None:
    half_labelled().to_csv("other.csv", index=False)
    data = load("other.csv", target="y", seed=3)
    half_labelled()[:150].to_csv("own.csv", index=False)
    run = RunFolder.open(pretrain("supervised", data="own.csv", target="y", **QUICK).run)
    for split in ("train", "valid", "test"):
        found = run_rows(run, data.preprocessing, DataRequest("other.csv"), split)
        assert found.numbers.tolist() == getattr(data, split).rows.tolist()


def test_training_rows_are_not_given_for_the_test_rows_of_a_file_of_their_own() -> None:
    np.savez("own.npz", x=ARRAYS["x"], y=ARRAYS["y"])
    np.savez("other.npz", x=ARRAYS["x"][:7] + 1, y=ARRAYS["y"][:7])
    run = run_on("own.npz", test_data="other.npz")
    data = load("own.npz", test_data="other.npz", seed=3)
    found = run_rows(run, data.preprocessing, DataRequest("own.npz"), "test")
    assert torch.equal(found.inputs.gather(torch.arange(7))[0], data.test.inputs.gather(torch.arange(7))[0])
    arrays = (ARRAYS["x"], ARRAYS["y"])
    with pytest.raises(DataError, match="has no rows in its test split"):
        run_rows(run_on("arrays", test_data="other.npz"), data.preprocessing, DataRequest(arrays), "test")


def test_rows_with_one_label_each_are_labels_to_a_run_of_labels() -> None:
    chosen = selected(torch.tensor([1, 0, 1]), "classification", ("cat", "eel"))
    assert targets_for(chosen, "multilabel", ("cat", "dog", "eel")).tolist() == [[0, 0, 1], [1, 0, 0], [0, 0, 1]]
