"""The main promise on one table: all rows pretrain, those with a label fine-tune, and the target is no feature."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reuse.cli.main import main
from reuse.finetuning.finetune import finetune
from reuse.inference.predicting import evaluate_run, predict_run
from reuse.pretraining.pretrain import pretrain

RNG = np.random.default_rng(7)
X = RNG.normal(size=(300, 4))
LABEL = np.where(X[:, 0] > 0, "left", "right").astype(object)
LABEL[90:] = None
TABLE = pd.DataFrame(X, columns=list("abcd")).assign(label=LABEL)
SETTINGS: dict[str, Any] = {"model": "mlp:12", "epochs": 3}


def features(run: str) -> list[str]:
    return [column["name"] for column in json.loads(Path(run, "run.json").read_text())["preprocessing"]["columns"]]


@pytest.mark.parametrize("target", ["label", "none", None])
def test_all_rows_pretrain_and_labelled_rows_fine_tune(target: str | None) -> None:
    TABLE.to_csv("t.csv", index=False)
    pretrained = pretrain(data="t.csv", target=target, out="source", **SETTINGS)
    assert sum(pretrained.sizes.values()) == 300
    assert features("source") == list("abcd")
    how: dict[str, Any] = {"freeze": "hidden1", "epochs": 60, "learning_rate": 0.03}
    tuned = finetune("source", data="t.csv", target="label", out="tuned", **how)
    assert sum(tuned.sizes.values()) == 90
    assert "210 of 300 rows have no label: they are left aside" in tuned.notes
    assert tuned.metrics["test"]["accuracy"] > 0.6
    assert evaluate_run("tuned", data="t.csv", target="label", split="all").rows == 90
    assert len(predict_run("tuned", data="t.csv").numbers) == 300


def test_options_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    table = TABLE[:90].assign(key=[f"k{n}" for n in range(90)], part=np.resize(["train", "train", "val", "test"], 90))
    table.assign(grade=np.resize([1, 2, 3], 90), often=1.0).to_csv("t.csv", index=False)
    table[60:].to_csv("test.csv", index=False)
    common = ["pretrain", "supervised", "--data", "t.csv", "--model", "mlp:6", "--epochs", "1"]
    roles = ["--ignore", "key,label", "--split-column", "part", "--sample-weight", "often"]
    with pytest.raises(SystemExit) as ended:
        main([*common, "--target", "grade", "--task", "regression", *roles, "--out", "r"])
    assert ended.value.code in (0, None)
    assert features("r") == list("abcd")
    assert json.loads(Path("r/run.json").read_text())["task"] == "regression"
    assert json.loads(Path("r/result.json").read_text())["sizes"] == {"train": 46, "valid": 22, "test": 22}
    ignored = ["--ignore", "key", "--ignore", "part,grade,often"]
    with pytest.raises(SystemExit):
        main([*common, "--target", "label", *ignored, "--test-data", "test.csv", "--out", "s"])
    assert json.loads(Path("s/result.json").read_text())["sizes"]["test"] == 30
    told = capsys.readouterr()
    assert "of 30 test rows stand in the training split too" in told.out + told.err
    assert evaluate_run("s").rows == 30
    assert evaluate_run("r").metrics == pytest.approx(json.loads(Path("r/result.json").read_text())["metrics"]["test"])
