"""Test rows that a pretraining has seen, as it drew its rows without the labels, are said."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import reuse

QUICK = {"epochs": 1, "early_stopping": False}


@pytest.fixture
def table(tmp_path: Path) -> str:
    """Two numbers, two columns of classes, sixty rows."""
    draw = np.random.default_rng(0)
    classes = {"y": draw.choice(["u", "v"], 60), "z": draw.choice(["p", "q"], 60)}
    path = str(tmp_path / "t.csv")
    pd.DataFrame({"a": draw.normal(size=60), "b": draw.normal(size=60), **classes}).to_csv(path, index=False)
    return path


def said(source: reuse.Result, table: str) -> list[str]:
    """Return what a fine-tuning to y says of test rows."""
    tuned = reuse.finetune(source.run, data=table, target="y", ignore="z", compare=False, **QUICK)
    return [note for note in tuned.notes if "test rows are among those that" in note]


@pytest.mark.parametrize("target", ["none", "y"])
def test_test_rows_that_the_source_has_seen_are_counted(table: str, target: str) -> None:
    source = reuse.pretrain("autoencoder", model="mlp:4", data=table, target=target, ignore="z", **QUICK)
    notes = said(source, table)
    seen = reuse.load(table, target=target, ignore="z", supervised=False).train.rows
    count = int(np.isin(reuse.load(table, target="y", ignore="z").test.rows, seen).sum())
    assert (count > 0) == (target == "none")
    assert [note.split(" are among")[0] for note in notes] == [f"{count} of 12 test rows"] * (count > 0)
    assert all("pretrain with --target y" in note for note in notes)


def test_of_few_labels_those_count_that_were_learned_from(table: str) -> None:
    few = {"target": "z", "ignore": "y", "labels": 20}
    notes = said(reuse.pretrain("supervised", model="mlp:4", data=table, **few, **QUICK), table)
    test = reuse.load(table, target="y", ignore="z").test.rows
    count = int(np.isin(test, reuse.load(table, **few).train.rows).sum())
    assert 0 < count < int(np.isin(test, reuse.load(table, target="z", ignore="y").train.rows).sum())
    assert [note.split(" are among")[0] for note in notes] == [f"{count} of 12 test rows"]


def test_test_rows_that_were_asked_for_are_not_counted_but_said(table: str) -> None:
    source = reuse.pretrain(
        "autoencoder", model="mlp:4", data=table, target="none", ignore="z", transductive=True, **QUICK
    )
    assert said(source, table) == []
    others = str(Path(table).with_name("others.csv"))
    Path(others).write_bytes(Path(table).read_bytes())
    for data, is_said in ((table, True), (others, False)):
        tuned = reuse.finetune(source.run, data=data, target="y", ignore="z", compare=False, **QUICK)
        notes = [note for note in tuned.notes if note.startswith("transductive")]
        assert [f"was trained on the inputs of the test rows of {table} too" in note for note in notes] == [
            True
        ] * is_said
