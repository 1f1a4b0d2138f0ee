"""Test rows that a pretraining has seen, as it drew its rows without the labels, are said."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import reuse

QUICK = {"epochs": 1, "early_stopping": False}


@pytest.mark.parametrize("target", ["none", "y"])
def test_test_rows_that_the_source_has_seen_are_counted(tmp_path: Path, target: str) -> None:
    draw = np.random.default_rng(0)
    table = pd.DataFrame({"a": draw.normal(size=60), "b": draw.normal(size=60), "y": draw.choice(["u", "v"], 60)})
    path = str(tmp_path / "t.csv")
    table.to_csv(path, index=False)
    source = reuse.pretrain("autoencoder", model="mlp:4", data=path, target=target, **QUICK)
    tuned = reuse.finetune(source.run, data=path, target="y", compare=False, **QUICK)
    seen = reuse.load(path, target=target, supervised=False).train.rows
    count = int(np.isin(reuse.load(path, target="y").test.rows, seen).sum())
    notes = [note for note in tuned.notes if "test rows are among those that" in note]
    assert (count > 0) == (target == "none")
    assert [note.split(" are among")[0] for note in notes] == [f"{count} of 12 test rows"] * (count > 0)
    assert all("pretrain with --target y" in note for note in notes)
