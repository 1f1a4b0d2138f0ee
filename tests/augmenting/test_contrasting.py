"""Two views of a row: what suits each kind of data, and that nothing turns a 6 into a 9."""

import numpy as np
import pytest
import torch

import reuse
from reuse.augmenting.columns import hide, swap, window
from reuse.augmenting.contrasting import CHANGES, kind_of, parse_views
from reuse.errors import UsageError
from reuse.menus import parse_several

RANDOM = np.random.default_rng(0)
SHAPES = {"colours": (3, 8, 8), "images": (1, 8, 8), "sequences": (7, 3), "columns": (9,)}


@pytest.mark.parametrize(("kind", "shape"), SHAPES.items())
def test_each_kind_has_changes_that_it_takes(kind: str, shape: tuple[int, ...]) -> None:
    data = reuse.load((RANDOM.random((40, *shape), dtype=np.float32), None))
    assert kind_of(data) == kind
    rows = data.train.inputs.resident()
    assert rows is not None
    torch.manual_seed(0)
    augment = parse_views(None, data)
    first, second = augment(rows), augment(rows)
    assert first.shape == second.shape == rows.shape
    assert not torch.equal(first, second)
    assert (first != rows).flatten(1).any(1).float().mean() > 0.9
    torch.manual_seed(0)
    assert torch.equal(parse_views(tuple(CHANGES[kind].split(",")), data)(rows), first), "as one text or as several"


def test_grey_images_are_neither_mirrored_nor_turned_far() -> None:
    changes = {named.name: named.positions for named in parse_several(CHANGES["images"], "augmentation")}
    assert not changes.keys() & {"mirror", "flip"}
    assert changes["rotate"][0] <= 20


def test_a_six_stays_a_six() -> None:
    data = reuse.load("digits")
    rows, labels = data.test.inputs.resident(), data.test.targets
    assert rows is not None
    assert labels is not None
    means = torch.stack([rows[labels == digit].mean(0) for digit in (6, 9)]).flatten(1)
    sixes = rows[labels == 6]
    torch.manual_seed(0)
    views = parse_views(None, data)(sixes.repeat(10, 1, 1, 1)).flatten(1)
    assert (torch.cdist(views, means).argmin(1) == 0).float().mean() > 0.9


def test_swapped_columns_hold_values_of_the_same_column_and_stay_whole() -> None:
    rows = torch.arange(40.0)[:, None] + 100 * torch.tensor([0, 1, 1, 2])
    owners = torch.tensor([0, 1, 1, 2])
    torch.manual_seed(0)
    swapped = swap(rows, 0.5, owners, 3)
    assert ((swapped // 100) == owners).all()
    assert torch.equal(swapped[:, 1], swapped[:, 2]), "inputs of one column come from one row"
    assert 0.3 < (swapped != rows)[:, [0, 1, 3]].float().mean() < 0.7


def test_categories_are_swapped_as_one() -> None:
    table = {"x": [*range(40)], "kind": ["a", "b", "c", "d"] * 10, "y": [0, 1] * 20}
    pandas = pytest.importorskip("pandas")
    pandas.DataFrame(table).to_csv("t.csv", index=False)
    data = reuse.load("t.csv", target="y")
    rows = data.train.inputs.resident()
    assert rows is not None
    changed = parse_views("swap:0.9", data)(rows)
    known = {tuple(row) for row in rows[:, 1:].tolist()}
    assert {tuple(row) for row in changed[:, 1:].tolist()} <= known


def test_a_window_is_one_stretch_and_steps_are_hidden_whole() -> None:
    rows = torch.ones(200, 10, 3)
    torch.manual_seed(0)
    kept = window(rows, 0.6)
    assert set(kept.unique().tolist()) <= {0.0, 1.0}
    there = kept[:, :, 0]
    assert torch.equal(kept, there.unsqueeze(2).expand_as(kept))
    assert there.sum(1).min() == 6
    assert there.sum(1).max() == 10
    assert (there.diff(dim=1) == 1).sum(1).max() <= 1
    gone = hide(rows, 0.3)
    assert torch.equal(gone, gone[:, :, :1].expand_as(gone))
    assert 0.6 < gone.mean() < 0.8


@pytest.mark.parametrize(
    ("views", "shape", "message"),
    [
        ("swap:1", (9,), "swap:1 leaves nothing"),
        ("crop:0", (7, 3), "least share of the steps"),
        ("steps:1", (7, 3), "steps:1 leaves nothing"),
        ("crop:0.5", (9,), "'crop' is for images, and the inputs are none"),
        ("swap:0.5", (1, 8, 8), "unknown augmentation of images 'swap'"),
    ],
)
def test_what_is_not_for_such_rows_is_refused(views: str, shape: tuple[int, ...], message: str) -> None:
    data = reuse.load((RANDOM.random((40, *shape), dtype=np.float32), None))
    with pytest.raises(UsageError, match=message):
        parse_views(views, data)
