"""Classes and splits from the names and the places of folders."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import reuse
from reuse.data.class_folders import place
from reuse.data.walking import list_files
from reuse.errors import DataError
from reuse.inference.predicting import evaluate_run

CLASSES = ("healthy", "ill")


def tree(*tops: str, classes: tuple[str, ...] = CLASSES, count: int = 2) -> list[str]:
    return [f"{top}/{name}/{number}.png" for top in tops for name in classes for number in range(count)]


def fill(root: Path, paths: list[str]) -> Path:
    for number, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (number % 256, 0, 0)).save(root / path)
    return root


@pytest.mark.parametrize(
    ("tops", "splits"),
    [
        (("Training", "Testing"), ("train", "test")),
        (("TRAIN", "VAL"), ("train", "valid")),
        (("train", "dev", "eval"), ("train", "valid", "test")),
        (("seg_train", "seg_test"), ("train", "test")),
        (("images-train", "images-Validation", "images-test"), ("train", "valid", "test")),
        (("train", "holdout_test"), ("train", "test")),
        (("train", "holdout"), ("train", "test")),
    ],
)
def test_splits_by_their_usual_names(tops: tuple[str, ...], splits: tuple[str, ...]) -> None:
    placed = place(tree(*tops), "photos")
    assert placed.splits == [split for split in splits for _ in range(4)]
    assert placed.labels == ["healthy", "healthy", "ill", "ill"] * len(tops)


def test_a_split_that_holds_a_folder_of_its_own_name() -> None:
    placed = place(tree("seg_train/seg_train", "seg_test/seg_test"), "photos")
    assert set(placed.labels) == set(CLASSES)
    assert set(placed.splits) == {"train", "test"}


def test_folders_around_everything_are_passed_over() -> None:
    assert set(place(tree("archive"), "photos").labels) == set(CLASSES)
    placed = place(tree("archive/v2/train", "archive/v2/test"), "photos")
    assert (set(placed.splits), set(placed.labels)) == ({"train", "test"}, set(CLASSES))


@pytest.mark.parametrize("tops", [("fold1", "fold2"), ("validation", "test"), ("2023", "2024", "2025")])
def test_folders_alike_are_no_classes(tops: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match=r"all hold the same folders \(healthy, ill\).*the one to learn from train"):
        place(tree(*tops), "photos")


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (tree("train", "Training"), "Training and train both mean train"),
        ([*tree("seg_train", "seg_test"), "seg_pred/1.png"], "seg_pred stands beside seg_train"),
        ([*tree("train"), "test/1.png"], "test/1.png has no class folder: predict it"),
        (["cat/1.png", "dog/1.png", "2.png"], "2.png lies beside class folders"),
    ],
)
def test_folders_that_mean_two_things(paths: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        place(paths, "photos")


@pytest.mark.parametrize(
    "paths",
    [
        ["freight_train/1.png", "crash_test/1.png", "bus/1.png"],
        ["train/1.png", "bus/1.png"],
        ["cat/images/1.png", "dog/images/1.png"],
        ["cat/indoor/1.png", "cat/outdoor/1.png", "dog/park/1.png"],
    ],
)
def test_classes_that_are_called_or_filled_like_splits(paths: list[str]) -> None:
    placed = place(paths, "photos")
    assert placed.labels == [path.split("/")[0] for path in paths]
    assert not any(placed.splits)


def test_composed_and_decomposed_names_are_one_class() -> None:
    placed = place(
        ["train/\u00e9t\u00e9/1.png", "train/bar/1.png", "test/e\u0301te\u0301/1.png", "test/bar/1.png"], "photos"
    )
    assert set(placed.labels) == {"\u00e9t\u00e9", "bar"}


@given(st.lists(st.sampled_from(["train", "Test", "VAL", "a", "b", "é"]), min_size=1, max_size=4))
def test_places_are_found_or_refused(tops: list[str]) -> None:
    """Each file has a class or none has, and no class is called like the splits that are there."""
    paths = tree(*dict.fromkeys(tops))
    try:
        placed = place(paths, "photos")
    except DataError:
        return
    assert len(placed.labels) == len(placed.splits) == len(paths)
    assert all(placed.labels) or not any(placed.labels)


def test_a_link_that_leads_back_up_is_not_followed(tmp_path: Path) -> None:
    root = fill(tmp_path / "photos", ["cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"])
    (root / "photos").symlink_to(root)
    (root / "dog" / "up").symlink_to("..")
    data = reuse.load(str(root), test_fraction=0, valid_fraction=0)
    assert (data.sizes["train"], data.classes) == (4, ("cat", "dog"))
    assert any("dog/up, photos: each leads to a folder that was read already" in note for note in data.notes)


def test_a_folder_elsewhere_is_reached_through_its_first_link_alone(tmp_path: Path) -> None:
    fill(tmp_path / "pool", ["1.png", "2.png"])
    (tmp_path / "photos").mkdir()
    for name in ("a", "b"):
        (tmp_path / "photos" / name).symlink_to(tmp_path / "pool")
    listing = list_files(tmp_path / "photos")
    assert listing.paths == ("a/1.png", "a/2.png")
    assert listing.notes == ("b leads to a folder that was read already and was left aside",)


def test_what_systems_put_between_pictures_is_left_aside(tmp_path: Path) -> None:
    root = fill(tmp_path / "photos", [*tree("train", "test"), "@eaDir/1.png/thumb.png", "__MACOSX/train/cat/1.png"])
    fill(root, ["train/ill/@eaDir/0.png/thumb.png"])
    (root / "train/ill/Thumbs.db").write_bytes(b"thumbs")
    data = reuse.load(str(root))
    assert (data.classes, data.sizes["test"]) == (CLASSES, 4)
    assert {"left aside: 2 × @eaDir", "left aside: 1 × __MACOSX"} <= set(data.notes)
    assert not any("Thumbs" in note for note in data.notes)


def test_pipes_are_not_opened(tmp_path: Path) -> None:
    root = fill(tmp_path / "photos", ["cat/1.png", "dog/1.png"])
    os.mkfifo(root / "cat" / "2.png")
    assert list_files(root).notes == ("cat/2.png is no regular file and was left aside",)


def test_paths_come_in_the_order_of_their_parts(tmp_path: Path) -> None:
    names = ["b-c/1.png", "b/2.png", "a.b/1.png", "a/z.png"]
    listing = list_files(fill(tmp_path, names))
    assert list(listing.paths) == sorted(names, key=lambda path: path.split("/"))
    assert listing.leaves == ("a", "a.b", "b", "b-c")


def test_training_pictures_of_ones_own_split_are_not_tested_on(tmp_path: Path) -> None:
    root = str(fill(tmp_path / "photos", [*tree("train", count=10), *tree("val")]))
    data = reuse.load(root)
    assert data.sizes == {"train": 20, "valid": 4, "test": 0}
    assert [note for note in data.notes if note.startswith("test: none are drawn") and "--test-fraction" in note]
    asked = reuse.load(root, test_fraction=0.2)
    assert asked.sizes == {"train": 16, "valid": 4, "test": 4}
    assert any("test: 4 of the 20 training rows are drawn" in note for note in asked.notes)
    arrays = {"x_train": np.zeros((8, 2)), "x_val": np.ones((4, 2))}
    assert reuse.load(arrays).sizes == {"train": 8, "valid": 4, "test": 0}


def test_validation_rows_are_drawn_and_said_where_there_are_none(tmp_path: Path) -> None:
    data = reuse.load(str(fill(tmp_path / "photos", [*tree("Training", count=10), *tree("Testing")])))
    assert data.sizes == {"train": 16, "valid": 4, "test": 4}
    assert "valid: 4 of the 20 training rows are drawn, as the data bring none" in data.notes


def test_a_run_without_test_rows_is_measured_on_those_that_chose_it(tmp_path: Path) -> None:
    root = str(fill(tmp_path / "photos", [*tree("train", count=10), *tree("val")]))
    result = reuse.pretrain("supervised", data=root, model="mlp:4", epochs=1, out=tmp_path / "run")
    assert result.metrics["test"] == {}
    measured = evaluate_run(result.run)
    assert (measured.split, measured.rows) == ("valid", 4)
