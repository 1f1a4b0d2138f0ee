"""Data frames wherever arrays go: pandas, polars, Arrow; columns go by name."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch

from reuse.data.frames import as_frame, is_frame, laid_out
from reuse.data.loading import load
from reuse.errors import DataError, UsageError
from reuse.finetuning.finetune import finetune
from reuse.inference.predicting import evaluate_run, predict_run
from reuse.pretraining.pretrain import pretrain
from reuse.runs.models import load_model

RNG = np.random.default_rng(8)
N = 80
FRAME = pd.DataFrame({
    "a": RNG.normal(size=N),
    "b": RNG.normal(5, 2, N),
    "c": np.resize([1, 2, 3, 5], N),
    "kind": np.resize(["u", "v", "01"], N),
    "when": pd.date_range("2024-01-01", periods=N),
    "flag": np.resize([True, False, False], N),
    "label": np.where(RNG.random(N) > 0.5, "yes", "no"),
})  # fmt: skip
FRAME.loc[[3, 50], "b"] = np.nan
KINDS = {
    "pandas": lambda frame: frame,
    "polars": pl.from_pandas,
    "arrow": lambda frame: pa.Table.from_pandas(frame, preserve_index=False),
    "categorical": lambda frame: frame.astype({"kind": "category"}),
    "shuffled index": lambda frame: frame.set_axis(RNG.permutation(N), axis=0),
}


def inputs(data: Any) -> tuple[torch.Tensor, torch.Tensor]:
    whole = data.train.inputs.resident()
    assert whole is not None
    return whole, data.train.targets


@pytest.mark.parametrize("kind", KINDS)
def test_every_frame_is_read_alike(kind: str, tmp_path: Path) -> None:
    FRAME.to_csv(tmp_path / "t.csv", index=False)
    frame = KINDS[kind](FRAME)
    assert is_frame(frame)
    one, other = load(str(tmp_path / "t.csv")), load(frame, target="label")
    assert one.classes == other.classes
    for found, expected in zip(inputs(other), inputs(one), strict=True):
        torch.testing.assert_close(found, expected)


def test_targets_beside_a_frame() -> None:
    x, y = FRAME.drop(columns="label"), FRAME["label"]
    expected = inputs(load(FRAME, target="label"))
    beside = [y, y.to_numpy(), y.tolist(), y.rename(None), y.to_frame(), pl.Series(y.tolist()), y.rename("a")]
    for targets in beside:
        for found, wanted in zip(inputs(load((x, targets))), expected, strict=True):
            torch.testing.assert_close(found, wanted)
    notes = load((FRAME, y)).notes
    assert "column 'label' is the target too: it is no feature" in notes
    assert load((x, None)).task == "unlabelled"
    assert load((x, FRAME[["a", "b"]].fillna(0).set_axis(["p", "q"], axis=1))).num_outputs == 2
    with pytest.raises(UsageError, match="targets are given beside"):
        load((x, y), target="label")
    with pytest.raises(DataError, match=f"x has {N} rows and y has {N - 1}"):
        load((x, y[:-1]))


def test_frames_by_split() -> None:
    x, y = FRAME.drop(columns="label"), FRAME["label"]
    data = load({"x_train": x[:60], "y_train": y[:60], "x_test": x[60:][x.columns[::-1]], "y_test": y[60:]})
    assert data.sizes == {"train": 48, "valid": 12, "test": 20}
    assert sorted(data.test.rows) == list(range(60, 80))
    with pytest.raises(DataError, match="other columns than the first: a"):
        load({"x_train": x, "y_train": y, "x_test": x.drop(columns="a"), "y_test": y})


def test_a_run_answers_every_form_of_the_same_rows_alike(tmp_path: Path) -> None:
    pretrain("supervised", data=FRAME, target="label", model="mlp:6", epochs=2, out="run")
    model, x = load_model("run"), FRAME.drop(columns="label")
    FRAME.to_csv("t.csv", index=False)
    FRAME.to_parquet("t.parquet")
    expected = model.values(x)
    backwards = x[x.columns[::-1]]
    forms = [FRAME, backwards, pl.from_pandas(backwards), "t.csv", "t.parquet", x.to_numpy(object)]
    for form in forms:
        torch.testing.assert_close(model.values(form), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(predict_run("run", data=backwards).values, expected.float(), rtol=0, atol=1e-6)
    for row in (0, 3, 41):  # each by itself
        torch.testing.assert_close(model.values(x.iloc[[row]]), expected[[row]], rtol=0, atol=1e-6)
    assert evaluate_run("run", data=FRAME[FRAME.columns[::-1]], target="label", split="all").rows == N


def test_numbers_train_alike_in_every_form(tmp_path: Path) -> None:
    x, y = FRAME[["a", "c"]].to_numpy(float), FRAME["label"].to_numpy(str)
    frame = FRAME[["a", "c", "label"]]
    frame.to_csv("t.csv", index=False)
    frame.to_parquet("t.parquet")
    np.savez("t.npz", x=x, y=y)
    forms = {"arrays": (x, y), "npz": "t.npz", "csv": "t.csv", "parquet": "t.parquet", "frame": frame}
    found = {}
    for name, form in forms.items():
        pretrain("supervised", data=form, model="mlp:6", epochs=3, out=name)
        found[name] = load_model(name).values(frame[["a", "c"]])
        torch.testing.assert_close(load_model(name).values(x), found[name], rtol=0, atol=1e-6)
    for name in forms:
        torch.testing.assert_close(found[name], found["arrays"], rtol=0, atol=1e-6)


def test_lists_are_columns_of_numbers() -> None:
    vectors = RNG.normal(size=(N, 3))
    frame = pd.DataFrame({"e": list(vectors), "x": 1.0})
    wide = laid_out(frame)
    assert list(wide.columns) == ["e[0]", "e[1]", "e[2]", "x"]
    np.testing.assert_array_equal(wide.iloc[:, :3], vectors)
    with pytest.raises(DataError, match=r"column 'e' holds lists, and in row 1 \(from 0\) shape \(2,\)"):
        laid_out(pd.DataFrame({"e": [[1, 2, 3], [1, 2]]}))
    with pytest.raises(DataError, match="lists of what are no numbers"):
        laid_out(pd.DataFrame({"e": [["a"], ["b"]]}))


def test_names_of_columns() -> None:
    assert list(as_frame(pd.DataFrame([[1, 2]])).columns) == ["0", "1"]
    assert list(as_frame(pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")]))).columns) == ["a b"]
    with pytest.raises(DataError, match="two columns called 'a'"):
        as_frame(pd.DataFrame([[1, 2]], columns=["a", "a"]))


def test_a_query_of_polars_is_a_frame() -> None:
    table = pl.DataFrame({"a": [0.5, 1.5, 2.5] * 10, "y": ["u", "v", "u"] * 10})
    assert load(table.lazy(), target="y").sizes == load(table, target="y").sizes


def test_targets_in_another_order_than_their_frame_are_refused() -> None:
    x = pd.DataFrame({"a": np.arange(30.0)}, index=[f"r{place}" for place in range(30)])
    y = pd.Series(["u", "v", "w"] * 10, index=x.index)
    with pytest.raises(DataError, match="the same index in another order"):
        load((x, y.sample(frac=1, random_state=0)))
    alike = load((x, y))
    for same in (y.reset_index(drop=True), y.to_numpy(), y.rename(lambda name: name + "'")):
        assert torch.equal(load((x, same)).train.targets, alike.train.targets)  # type: ignore[arg-type]


def test_a_feature_of_the_source_is_no_target() -> None:
    table = pd.DataFrame({"a": np.arange(40.0), "b": np.arange(40.0) ** 2, "kind": ["u", "v"] * 20})
    run = pretrain("autoencoder", data=table, model="mlp:2", epochs=1).run
    with pytest.raises(UsageError, match="target='kind' is among the features that the model was made for"):
        finetune(run, data=table, target="kind", epochs=1)


def test_a_group_in_two_splits_is_named_as_it_is_written() -> None:
    table = pd.DataFrame({"a": np.arange(4.0), "y": ["u", "v"] * 2, "part": ["train", "train", "test", "test"]})
    with pytest.raises(DataError, match="group 7 stands in train and in test"):
        load(table.assign(patient=[7, 8, 7, 9]), target="y", split_column="part", group_by="patient")
