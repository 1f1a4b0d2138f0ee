"""Pairs of rows from a file: two names and whether they are of one kind, such as two faces of one person."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
import torch
from torch import Tensor

from reuse.data.dataset import SPLITS, Dataset, Split
from reuse.data.rows import Rows
from reuse.errors import DataError
from reuse.files import read_text
from reuse.menus import suggest
from reuse.paths import from_home

TOLD = {"0": False, "1": True}


@dataclass(frozen=True)
class PairList:
    """Pairs of the rows of one split.

    Attributes:
        first: places in the split, int64 `(pairs,)`.
        second: the same.
        same: 1 where both are of one kind, else 0, int64 `(pairs,)`.
    """

    first: Tensor
    second: Tensor
    same: Tensor

    def __len__(self) -> int:
        return len(self.same)


class PairedRows:
    """Pairs of rows of a source: what is gathered is the first of each, and the second.

    Args:
        source: of rows with one tensor each.
        pairs: their places in it.
    """

    def __init__(self, source: Rows, pairs: PairList) -> None:
        self.source, self.device = source, source.device
        self.first, self.second = pairs.first.to(source.device), pairs.second.to(source.device)

    def __len__(self) -> int:
        return len(self.first)

    def gather(self, indices: Tensor) -> tuple[Tensor, ...]:
        """Return the first and the second rows of the pairs `indices`."""
        places = torch.cat([self.first.index_select(0, indices), self.second.index_select(0, indices)])
        return self.source.gather(places)[0].tensor_split(2)


def read_pairs(path: str | Path, data: Dataset) -> tuple[dict[str, PairList], int]:
    """Return the pairs in a file by split, and how many are of rows in two splits, and so in none.

    Args:
        path: of a text file of lines `first,second,0` or `first,second,1`, with or without a line of titles. Rows are
            called by their names, such as files, of which the end is enough that no other has, or by their numbers in
            the data set, from 0, where they have none.
        data: the rows.

    Raises:
        DataError: the file cannot be read so, or names no row, or several at once.
    """
    places = _places(data)
    found: dict[str, list[tuple[int, int, int]]] = {split: [] for split in SPLITS}
    straddling = 0
    for number, *names, same in _lines(from_home(path)):
        (split, place), (other, other_place) = (_found(str(name), places, f"{path}, line {number}") for name in names)
        if split == other:
            found[split].append((place, other_place, same))
        straddling += split != other
    return {split: PairList(*torch.tensor(some).long().view(-1, 3).T) for split, some in found.items()}, straddling


def _places(data: Dataset) -> dict[str, tuple[str, int] | None]:
    """Return the split and the place of each row by its name and by the ends of it, None where several rows have one.

    The ends of `faces/ann/1.png` are `ann/1.png` and `1.png`. Rows without names are called by their numbers.
    """
    places: dict[str, tuple[str, int] | None] = {}
    rows = [(name, (split, place)) for split in SPLITS for place, name in enumerate(_names(getattr(data, split)))]
    for name, where in rows:
        parts = PurePath(name).parts
        for start in range(1, len(parts)):
            end = "/".join(parts[start:])
            places[end] = None if end in places else where
    return places | dict(rows)


def _found(name: str, places: Mapping[str, tuple[str, int] | None], line: str) -> tuple[str, int]:
    """Return the split and the place of a row."""
    if name not in places:
        raise DataError(f"{line}: no row is called {name!r}: {suggest(name, places)}")
    where = places[name]
    if where is None:
        raise DataError(f"{line}: several rows are called {name!r}: write more of their folders")
    return where


def _names(split: Split) -> list[str]:
    return split.inputs.names() or [str(row) for row in np.asarray(split.rows).tolist()]


def _lines(path: Path) -> list[tuple[int, str, str, int]]:
    """Return the number, the two names and 0 or 1 of each line with a pair."""
    try:
        text = read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the pairs cannot be read from {path} ({error})") from error
    lines = [(number, cells) for number, cells in enumerate(csv.reader(text.splitlines()), 1) if cells]
    if lines and len(lines[0][1]) == 3 and lines[0][1][2].strip() not in TOLD:
        lines = lines[1:]  # titles
    pairs = []
    for number, cells in lines:
        if len(cells) != 3 or cells[2].strip() not in TOLD:
            raise DataError(f"{path}, line {number}: {','.join(cells)!r} is no pair: write two names and 0 or 1")
        pairs.append((number, cells[0].strip(), cells[1].strip(), int(cells[2])))
    if not pairs:
        raise DataError(f"{path} holds no pairs: write two names and 0 or 1 a line")
    return pairs
