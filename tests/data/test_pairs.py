"""Pairs from a file: names or numbers, titles or none, pairs across splits, and lines that are no pairs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import reuse
from reuse.data.pairs import PairedRows, read_pairs
from reuse.data.rows import Resident
from reuse.errors import DataError

ROWS = np.arange(20, dtype=np.float32).reshape(10, 2)
DATA = {"x_train": ROWS[:6], "x_valid": ROWS[6:8], "x_test": ROWS[8:]}


@pytest.mark.parametrize("titles", ["", "first,second,same\n"])
def test_rows_are_called_by_their_numbers_where_they_have_no_names(titles: str, tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(titles + "0,5,1\n\n 3 , 1 ,0\n6,7,1\n0,8,0\n7,9,1\n")
    pairs, straddling = read_pairs(path, reuse.load(DATA))
    assert {split: len(some) for split, some in pairs.items()} == {"train": 2, "valid": 1, "test": 0}
    assert straddling == 2
    assert [t.tolist() for t in (pairs["train"].first, pairs["train"].second)] == [[0, 3], [5, 1]]
    assert pairs["train"].same.tolist() == [1, 0]
    first, second = PairedRows(Resident(torch.from_numpy(ROWS[:6])), pairs["train"]).gather(torch.tensor([1, 0, 1]))
    assert torch.equal(first, torch.from_numpy(ROWS[[3, 0, 3]]))
    assert torch.equal(second, torch.from_numpy(ROWS[[1, 5, 1]]))


def test_images_are_called_by_their_files(tmp_path: Path) -> None:
    for person in ("ann", "bob"):
        (tmp_path / "faces" / person).mkdir(parents=True)
        for number in range(4):
            Image.new("L", (8, 8), 20 * number).save(tmp_path / "faces" / person / f"{number}.png")
    path = tmp_path / "pairs.csv"
    path.write_text("ann/0.png,ann/1.png,1\nann/0.png,bob/3.png,0\n")
    data = reuse.load(tmp_path / "faces", test_fraction=0.0, valid_fraction=0.0)
    (pairs, straddling), names = read_pairs(path, data), data.train.inputs.names()
    assert names is not None
    assert straddling == 0
    found = zip(pairs["train"].first, pairs["train"].second, strict=True)
    ends = [tuple("/".join(Path(names[place]).parts[-2:]) for place in pair) for pair in found]
    assert ends == [("ann/0.png", "ann/1.png"), ("ann/0.png", "bob/3.png")]
    path.write_text("0.png,ann/1.png,1\n")
    with pytest.raises(DataError, match=r"line 1: several rows are called '0\.png': write more of their folders"):
        read_pairs(path, data)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0,1,1\n0,99,1\n", "line 2: no row is called '99'"),
        ("0,1,1\n0,1\n", "line 2: '0,1' is no pair: write two names and 0 or 1"),
        ("0,1,1\n0,1,yes\n", "line 2: '0,1,yes' is no pair"),
        ("", "holds no pairs"),
        ("a,b,same\n", "holds no pairs"),
        (None, "the pairs cannot be read from"),
    ],
)
def test_what_is_no_pair_is_refused(text: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_pairs(path, reuse.load(DATA))
