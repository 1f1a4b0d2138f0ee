"""500 random tables: each comes to a right data set or to one clear line, and nothing is left out in silence."""

import csv
import re
import string
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from reuse.data.dataset import SPLITS, Dataset
from reuse.data.loading import load
from reuse.errors import ReuseError

TABLES, A_TEST = 500, 50
NAMES = ["größe", "a b", 'q"uote', "comma, name", "semi;colon", "  padded", "two\nlines", "名前", "none", "class", "0",
         "e[0]", "Unnamed: 0", "label", "target", "x" * 200, "😀", "nan", "%", "a.b"]  # fmt: skip
SINGULAR = re.compile(
    r"(?<![\w.,'])1 (?:\w+ )?(?:rows|values|categories|texts|features|words|columns|cells|integers|numbers|classes) "
)
MISSING = ["", "NA", "?", "null", "n/a"]


def column(draw: np.random.Generator, rows: int) -> list[Any]:
    kinds = {
        "numbers": lambda: draw.normal(draw.choice([0, 1e6]), 1, rows).round(3).tolist(),
        "whole": lambda: draw.integers(-5, 50, rows).tolist(),
        "large": lambda: (draw.normal(size=rows) * 10.0 ** draw.integers(-40, 60)).tolist(),
        "counted": lambda: list(range(rows)),
        "codes": lambda: [f"{number:03d}" for number in draw.integers(0, 30, rows)],
        "some codes": lambda: draw.choice(["01", "02", "K1"], rows).tolist(),
        "texts": lambda: draw.choice(["red", "green", "bläu", " blank ", "N/A", 'q"t', "a,b;c"], rows).tolist(),
        "names": lambda: ["".join(draw.choice(list(string.ascii_letters), 8)) for _ in range(rows)],
        "truth": lambda: draw.choice([True, False], rows).tolist(),
        "days": lambda: pd.date_range("2001-02-03", periods=rows).strftime("%Y-%m-%d").tolist(),
        "constant": lambda: [draw.choice(["x", "1"])] * rows,
        "nothing": lambda: [""] * rows,
        "thousands": lambda: [f"{number:,}" for number in draw.integers(10**3, 10**7, rows)],
        "strays": lambda: ["-" if draw.random() < 0.1 else str(n) for n in draw.integers(0, 1000, rows)],
        "infinite": lambda: draw.choice([1.5, np.inf, 2.5], rows).tolist(),
    }
    weights = np.array([6, 6, 1, 1, 1, 3, 6, 1, 2, 2, 1, 0.3, 0.3, 0.3, 0.3])
    cells = kinds[draw.choice(list(kinds), p=weights / weights.sum())]()
    if draw.random() < 0.3:
        cells = [draw.choice(MISSING) if draw.random() < 0.2 else cell for cell in cells]
    return cells


def table(draw: np.random.Generator) -> dict[str, list[Any]]:
    rows = int(draw.integers(1, 70))
    plain = [f"c{place}" for place in range(int(draw.integers(1, 8)))]
    odd = draw.choice(NAMES, int(draw.integers(0, 3)), replace=False).tolist()
    names = draw.permutation([*plain, *odd]).tolist()
    return {name: column(draw, rows) for name in names}


def written(draw: np.random.Generator, cells: dict[str, list[Any]], folder: Path) -> Any:
    form = draw.choice(["csv", "csv", "csv", "frame", "parquet"])
    if form == "csv":
        path = folder / "t.csv"
        with path.open("w", newline="", encoding=str(draw.choice(["utf-8", "utf-8-sig"]))) as file:
            writer = csv.writer(file, delimiter=str(draw.choice([",", ";", "\t"])), quoting=int(draw.integers(0, 3)))
            writer.writerow(cells)
            writer.writerows(zip(*cells.values(), strict=True))
        return str(path)
    frame = pd.DataFrame({name: pd.Series(values, dtype=object).infer_objects() for name, values in cells.items()})
    if form == "frame":
        return frame
    texts = {name: frame[name].astype(str) for name in frame if frame[name].dtype == object}
    frame.assign(**texts).to_parquet(folder / "t.parquet")
    return str(folder / "t.parquet")


def check(data: Dataset, cells: dict[str, list[Any]], target: str | None) -> None:
    rows = np.concatenate([getattr(data, name).rows for name in SPLITS])
    total = len(next(iter(cells.values())))
    assert len(np.unique(rows)) == len(rows) <= total
    assert len(rows) == total or any("no label" in note for note in data.notes)
    for name in SPLITS:
        split = getattr(data, name)
        assert torch.isfinite(split.inputs.resident()).all()
        assert split.inputs.shape == (sum(column.width for column in data.preprocessing.columns),)
        if split.targets is not None and len(split):
            assert split.targets.min() >= 0 if data.task == "classification" else torch.isfinite(split.targets).all()
    used = {column.name for column in data.preprocessing.columns}
    said = "\n".join(data.notes)
    assert not SINGULAR.search(said), said
    for name in cells:
        is_target = data.task != "unlabelled" or name.strip() == target
        assert name.strip() in used or repr(name.strip()) in said or is_target, (name, data.notes)
    assert target is None or target not in used


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, TABLES, A_TEST))
def test_any_table(first: int, tmp_path: Path) -> None:
    outcomes = {"read": 0, "refused": 0}
    for number in range(first, first + A_TEST):
        draw = np.random.default_rng(number)
        cells = table(draw)
        data = written(draw, cells, tmp_path)
        target = str(draw.choice([name.strip() for name in cells if "," not in name] or ["c0"]))
        chosen = target if draw.random() < 0.7 and target != "none" else None
        supervised = bool(draw.random() < 0.6)
        try:
            found = load(data, target=chosen, supervised=supervised)
        except ReuseError as error:
            message = str(error)
            assert not SINGULAR.search(message), message
            assert len(message) < 1500, message
            assert "Traceback" not in message
            outcomes["refused"] += 1
        else:
            check(found, cells, chosen)
            outcomes["read"] += 1
    assert min(outcomes.values()) > 0, outcomes
    assert outcomes["read"] > A_TEST // 4, outcomes
