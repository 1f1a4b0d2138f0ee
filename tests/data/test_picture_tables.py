"""Tables with a column of paths to pictures."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import reuse
from reuse.errors import DataError

RNG = np.random.default_rng(6)
EVERY: dict[str, Any] = {"test_fraction": 0, "valid_fraction": 0}


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    """A folder `pool` of twelve pictures, and tables beside it are to name them."""
    (tmp_path / "pool").mkdir()
    for number in range(12):
        pixels = RNG.integers(0, 60, (6, 6, 3)).astype(np.uint8)
        pixels[..., number % 2] += 150
        Image.fromarray(pixels).save(tmp_path / "pool" / f"{number:02d}.png")
    return tmp_path


def write(folder: Path, **columns: list[Any]) -> str:
    pd.DataFrame(columns).to_csv(folder / "labels.csv", index=False)
    return str(folder / "labels.csv")


PATHS = [f"pool/{number:02d}.png" for number in range(12)]
LABELS = ["red", "green"] * 6


@pytest.mark.parametrize("order", [("image", "label"), ("label", "image"), ("kind", "path"), ("path", "kind")])
def test_paths_and_labels_in_any_order(pool: Path, order: tuple[str, str]) -> None:
    columns = {name: PATHS if name in ("image", "path") else LABELS for name in order}
    data = reuse.load(write(pool, **columns), **EVERY)
    assert (data.classes, data.input_shape) == (("green", "red"), (3, 6, 6))
    expected = np.stack([np.asarray(Image.open(pool / path)) for path in PATHS]).transpose(0, 3, 1, 2) / 255
    torch.testing.assert_close(data.train.inputs.resident(), torch.from_numpy(expected).float())
    assert [data.classes[number] for number in data.train.targets.tolist()] == LABELS


@pytest.mark.parametrize("target", [None, "red,big"])
def test_several_label_columns(pool: Path, target: str | None) -> None:
    red, big = [1, 0] * 6, [1, 1, 0] * 4
    data = reuse.load(write(pool, image=PATHS, red=red, big=big), target=target, **EVERY)
    assert (data.task, data.classes) == ("multilabel", ("red", "big"))
    assert data.train.targets.tolist() == [[float(a), float(b)] for a, b in zip(red, big, strict=True)]


def test_numbers_splits_and_what_is_left_aside(pool: Path) -> None:
    split = ["train"] * 8 + ["val"] * 2 + ["test"] * 2
    path = write(pool, image=PATHS, camera=["a"] * 12, weight=[number + 0.5 for number in range(12)], part=split)
    data = reuse.load(path, target="weight", split_column="part")
    assert (data.task, data.sizes) == ("regression", {"train": 8, "valid": 2, "test": 2})
    assert "columns left aside beside the pictures 'image': 'camera'" in data.notes


def test_a_data_frame_of_absolute_paths(pool: Path) -> None:
    frame = pd.DataFrame({"image": [str(pool / path) for path in PATHS], "label": LABELS})
    assert reuse.load(frame, **EVERY).classes == ("green", "red")


def test_paths_of_the_working_folder(pool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pool)
    (pool / "tables").mkdir()
    assert reuse.load(write(pool / "tables", image=PATHS, label=LABELS), **EVERY).sizes["train"] == 12


def test_pictures_that_are_not_there_are_named_or_set_aside(pool: Path) -> None:
    path = write(pool, image=[*PATHS[:-1], "pool/99.png"], label=LABELS)
    with pytest.raises(DataError, match=r"1 broken images \(pool/99\.png: .*No such file"):
        reuse.load(path, **EVERY)
    data = reuse.load(path, skip_bad=True, **EVERY)
    assert data.train.rows.tolist() == list(range(11))
    assert any(note.startswith("set aside: pool/99.png") for note in data.notes)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"image": [*PATHS[:-1], None], "label": LABELS}, "column 'image' has no picture in row 11"),
        ({"left": PATHS, "right": PATHS, "label": LABELS}, r"several columns of pictures \('left', 'right'\)"),
    ],
)
def test_tables_that_do_not_say_which_picture(pool: Path, columns: dict[str, list[Any]], words: str) -> None:
    with pytest.raises(DataError, match=words):
        reuse.load(write(pool, **columns), **EVERY)


def test_a_run_on_a_table_of_pictures_is_measured_and_asked(pool: Path) -> None:
    path = write(pool, image=PATHS, label=LABELS)
    run = reuse.pretrain("supervised", data=path, target="label", model="mlp:6", epochs=30, out=pool / "run").run
    assert reuse.evaluate(run, split="all").rows == 12
    assert reuse.evaluate(run, data=path, split="all").metrics["accuracy"] == 1
    found = reuse.predict(run, data=path)
    assert found.labels == LABELS
    assert found.files == PATHS
    assert reuse.predict(run, data=str(pool / "pool")).labels == LABELS


def test_files_without_an_ending_are_pictures_by_their_content(pool: Path) -> None:
    names = []
    for path in PATHS:
        names.append(path.removesuffix(".png"))
        (pool / path).rename(pool / names[-1])
    assert reuse.load(write(pool, image=names, label=LABELS), **EVERY).input_shape == (3, 6, 6)
