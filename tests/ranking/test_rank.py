"""`rank`: every row once through each model, all that is cached found again, and one clear line for what cannot be."""

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_diabetes, load_digits
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import reuse
from reuse.cli.training import finetune as command_line_finetune
from reuse.errors import UnknownNameError, UsageError
from reuse.ranking.outcome import STATIC, Ranking


class Counted(nn.Module):
    """Three layers, of which the first is as wide as is said."""

    def __init__(self, seed: int = 0, width: int = 12, inputs: int = 64) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.low, self.act, self.high = nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, 10)
        self.head = nn.Linear(10, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.head(self.high(self.act(self.low(inputs.flatten(1)))).relu())
        return found


class Counting(TorchDispatchMode):
    """Counts the rows that linear layers are given, by their width: below the model, of which it is no part."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.addmm.default:
            width = args[2].shape[1]
            self.rows[width] = self.rows.get(width, 0) + len(args[1])
        return func(*args, **(kwargs or {}))


CHECKS = 300  # rows at most that go through a model for its shapes and checks
DIGITS = load_digits()
DATA = (DIGITS.data[:600], DIGITS.target[:600])
LABELLED = 480  # of them for training and validation


def ranked(tmp_path: Path, *sources: Any, **settings: Any) -> Ranking:
    settings = {"data": DATA, "folds": 3, "scores": "logme,leep", "cache_dir": tmp_path / "cache"} | settings
    return reuse.rank(list(sources), **settings)


def test_each_row_goes_once_through_each_model_and_never_again(tmp_path: Path) -> None:
    def counted(*models: nn.Module, layers: str = "low,high,features") -> tuple[Ranking, int]:
        with Counting() as counting:
            return ranked(tmp_path, *models, layers=layers), counting.rows[12]

    first, rows = counted(Counted())
    assert first.rows == {"Counted": LABELLED}
    assert LABELLED <= rows <= LABELLED + CHECKS
    again, rows = counted(Counted())
    assert again.rows == {"Counted": 0}
    assert rows <= CHECKS
    assert again.table == first.table
    both, rows = counted(Counted(), Counted(width=20))
    assert both.rows == {"Counted 1": 0, "Counted 2": LABELLED}
    assert rows <= CHECKS
    assert {(row["model"], row["layer"]) for row in both.table} >= {("Counted 2", "low"), ("Counted 1", "features")}
    one_more, _ = counted(Counted(), layers="low,high,act,features")
    assert one_more.rows == {"Counted": LABELLED}  # for that layer alone


def test_the_table_says_what_a_layer_is_worth(tmp_path: Path) -> None:
    found = ranked(tmp_path, Counted(), Counted(1, 40), layers="low,features", scores=None, folds=4)
    assert found.sizes == {"rows": LABELLED, "classes": 10}
    assert [row["width"] for row in sorted(found.table, key=lambda row: row["width"])] == [10, 10, 12, 40]
    assert all(row["row_bytes"] == 4 * row["width"] for row in found.table)
    top = found.table[0]
    assert top["layer"] == "low"
    assert top["width"] == 40
    assert 0.8 < top["accuracy"] <= 1
    assert 0 < top["interval"] < 0.1
    assert found.probes["solved"] <= found.probes["all"] == 16
    assert all(choice.regret >= 0 for choice in found.choices)
    static = found.choices[-1]
    assert (static.by, static.model, static.layer) == (STATIC, "Counted 2", "features")
    assert static.regret > 0
    assert not {"leep", "nce"} & {choice.by for choice in found.choices}
    assert found.notes[0] == (
        "–: no LEEP and NCE, as weights alone do not say which classes they tell: Counted 1, Counted 2"
    )
    assert (
        found.seconds["wall"].keys() == {"load", "pass", "scores", "race", "total"} == found.seconds["processor"].keys()
    )
    assert found.to_dict()["choices"][-1]["by"] == STATIC


def test_without_a_cache_it_is_the_same(tmp_path: Path) -> None:
    cached = ranked(tmp_path, Counted(), layers="low,features")
    without = ranked(tmp_path / "other", Counted(), layers="low,features", cache=False)
    assert [row["accuracy"] for row in without.table] == [row["accuracy"] for row in cached.table]
    assert without.table[0]["row_bytes"] == 0
    assert not (tmp_path / "other").exists()


def test_runs_with_their_classes_have_scores_of_them(tmp_path: Path, runs: dict[str, Path]) -> None:
    found = ranked(tmp_path, runs["coder"], runs["labelled"], data="digits", scores=None)
    own = {row["model"]: row for row in found.table if row["layer"] == "features"}
    assert own[str(runs["coder"])]["leep"] is None
    model = reuse.load_model(runs["labelled"])
    data = reuse.load("digits")
    theta = np.concatenate([model.predict_proba(split.inputs) for split in (data.train, data.valid)])
    y = np.concatenate([data.train.targets, data.valid.targets])
    joint = np.stack([theta[y == c].sum(0) for c in range(10)]) / len(y)
    told = ((joint / joint.sum(0))[y] * theta).sum(1)
    assert own[str(runs["labelled"])]["leep"] == pytest.approx(np.log(told).mean(), rel=1e-4)
    assert "leep" in {choice.by for choice in found.choices}
    assert any("trained on labels of these data" in note for note in found.notes)


def test_the_command_to_type_next_can_be_typed(tmp_path: Path, runs: dict[str, Path], monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    found = ranked(tmp_path, runs["coder"], data="digits", labels=300, layers="hidden1")
    assert found.command is not None
    words = found.command.split()
    assert words[:3] == ["reuse", "finetune", str(runs["coder"])]
    assert words[3:9] == ["--data", "digits", "--freeze", ":hidden1", "--labels", "300"]
    settings = {name[2:].replace("-", "_"): value for name, value in zip(words[3::2], words[4::2], strict=True)}
    tuned = reuse.finetune(words[2], **settings | {"labels": 300}, epochs=1)
    assert tuned.frozen == ("hidden1",)


def test_numbers(tmp_path: Path) -> None:
    data = load_diabetes(return_X_y=True)
    found = ranked(tmp_path, "mlp:30,10", "mlp:5", data=data, scores=None)
    assert found.metric == "r2"
    assert {"logme", "nearest"} <= found.table[0].keys()
    assert "leep" not in found.table[0]
    assert found.table[0]["r2"] > 0.2
    with pytest.raises(UsageError, match="leep is a score for classes, and the targets are numbers"):
        ranked(tmp_path, "mlp:30,10", data=data, scores="leep")


def test_models_of_timm_with_their_stages(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    data = (images, np.arange(40) % 2)
    found = ranked(tmp_path, "timm:resnet10t", data=data, random_weights=True, image_size=32, scores="logme", folds=2)
    assert {row["layer"] for row in found.table} == {"layer1", "layer2", "layer3", "features"}  # layer4 is features
    words = shlex.split(str(found.command))
    assert words.count("--random-weights") == 1
    command_line_finetune.make_context("finetune", words[2:])  # raises where it cannot be taken
    assert "--image-size 32" in str(found.command)


def test_what_cannot_be_ranked_is_said_in_one_line(tmp_path: Path, runs: dict[str, Path]) -> None:
    x, y = DATA
    with pytest.raises(UsageError, match="folds would part rows of one group"):
        reuse.rank("mlp:8", data="digits", group_by="writer")
    with pytest.raises(UsageError, match="nothing to rank"):
        ranked(tmp_path)
    with pytest.raises(UsageError, match="ranked twice"):
        ranked(tmp_path, "mlp:4", "mlp:4")
    with pytest.raises(UsageError, match="a int cannot be ranked"):
        ranked(tmp_path, 3)
    with pytest.raises(UsageError, match=r"folds is 200, and there are .* rows of the smallest class"):
        ranked(tmp_path, Counted(), folds=200)
    with pytest.raises(UsageError, match="give 2 folds or more"):
        ranked(tmp_path, Counted(), folds=1)
    with pytest.raises(reuse.DataError, match="only the class same: expected two classes or more"):
        ranked(tmp_path, Counted(), data=(x, np.array(["same"] * 600)))
    with pytest.raises(UnknownNameError, match=r"pattern 'lw' matches no layer.*low"):
        ranked(tmp_path, Counted(), layers="lw")
    with pytest.raises(UsageError, match="none of the layers 'low' is in mlp:4"):
        ranked(tmp_path, Counted(), "mlp:4", layers="low")
    with pytest.raises(UsageError, match=r"Counted does not take rows of shape \(5,\)"):
        ranked(tmp_path, Counted(), data=(x[:, :5], y))
    with pytest.raises(UsageError, match="several labels a row"):
        ranked(tmp_path, Counted(), data=(x, np.eye(10)[y]), task="multilabel")
    with pytest.raises(UnknownNameError, match="logme"):
        ranked(tmp_path, Counted(), scores="logmee")


def test_a_run_of_other_columns_is_refused(tmp_path: Path, runs: dict[str, Path]) -> None:
    with pytest.raises(reuse.ReuseError) as told:
        ranked(tmp_path, runs["coder"], data=load_diabetes(return_X_y=True))
    assert "\n" not in str(told.value)


def weighed(weights: np.ndarray) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    labels = np.arange(150) % 3
    x = draw.normal(size=(150, 4)) + draw.normal(size=(3, 4))[labels]
    return pd.DataFrame({**dict(zip("abcd", x.T, strict=True)), "w": weights, "label": labels})


@pytest.mark.parametrize("unit", [1.0, 1e-200])
def test_rows_count_by_their_weights(tmp_path: Path, unit: float) -> None:
    counts = np.random.default_rng(1).integers(0, 4, 150)
    common: dict[str, Any] = {"target": "label", "cache_dir": tmp_path / "cache", "test_fraction": 0, "folds": 3}
    found = reuse.rank([Counted(inputs=4)], data=weighed(counts * unit), sample_weight="w", **common)
    assert found.sizes["rows"] == int((counts > 0).sum())
    told = reuse.rank([Counted(inputs=4)], data=weighed(counts * 1.0), sample_weight="w", **common).table
    for ours, theirs in zip(found.table, told, strict=True):
        assert {n: v for n, v in ours.items() if isinstance(v, float)} == pytest.approx(
            {n: v for n, v in theirs.items() if isinstance(v, float)}, rel=1e-6
        )
    for title, name in (("PARC", "parc"), ("shrunk H", "shrunk_h")):
        assert f"–: no {title}, which counts all rows alike, and these have a sample_weight" in found.notes
        assert found.best[name] is None
    assert found.best["logme"] is not None
    alike = reuse.rank([Counted(inputs=4)], data=weighed(np.full(150, 2.0)), sample_weight="w", **common).table
    plain = reuse.rank([Counted(inputs=4)], data=weighed(np.full(150, 2.0)), ignore="w", **common).table
    assert [(r["layer"], r["accuracy"]) for r in alike] == [(r["layer"], r["accuracy"]) for r in plain]
    assert [r["accuracy"] for r in alike] != [r["accuracy"] for r in told]
