"""Tables with a column of paths to pictures."""

from io import BytesIO
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
    with pytest.raises(DataError, match=r"1 broken image \(pool/99\.png: .*No such file"):
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


def as_stored(form: str, content: bytes, number: int) -> Any:
    """Return a picture as a column may hold it."""
    if form == "pillow":
        return Image.open(BytesIO(content))
    return content if form == "bytes" else {"bytes": content, "path": None if form == "unnamed" else f"{number}.png"}


@pytest.mark.parametrize(
    ("form", "is_file"),
    [("bytes", True), ("bytes", False), ("named", True), ("named", False), ("unnamed", True), ("pillow", False)],
)
def test_pictures_that_the_table_holds_itself(pool: Path, form: str, is_file: bool) -> None:
    """They are those of the files that they were made of, down to their digests."""
    contents = [(pool / path).read_bytes() for path in PATHS]
    frame = pd.DataFrame({"image": [as_stored(form, c, n) for n, c in enumerate(contents)], "label": LABELS})
    if is_file:
        frame.to_parquet(pool / "t.parquet")
    held = reuse.load(str(pool / "t.parquet") if is_file else frame, **EVERY)
    named = reuse.load(write(pool, image=PATHS, label=LABELS), **EVERY)
    assert (held.task, held.classes) == (named.task, named.classes)
    torch.testing.assert_close(held.train.inputs.resident(), named.train.inputs.resident(), rtol=0, atol=0)
    if form != "pillow":
        assert (held.train.inputs.digests() == named.train.inputs.digests()).all()


def test_a_picture_in_a_table_that_is_damaged_or_missing_is_named(pool: Path) -> None:
    contents: list[Any] = [{"bytes": (pool / path).read_bytes(), "path": path} for path in PATHS]
    frame = pd.DataFrame({"image": contents, "label": LABELS})
    frame.at[3, "image"] = {"bytes": b"nothing", "path": "pool/03.png"}
    with pytest.raises(DataError, match=r"1 broken image \(pool/03.png: not an image\)"):
        reuse.load(frame, **EVERY)
    assert reuse.load(frame, skip_bad=True, **EVERY).sizes["train"] == 11
    frame.at[3, "image"] = {"bytes": None, "path": None}
    with pytest.raises(DataError, match=r"column 'image' has no picture in row 3"):
        reuse.load(frame, **EVERY)


def test_objects_that_are_no_values_are_refused() -> None:
    frame = pd.DataFrame({"a": [object() for _ in range(12)], "label": LABELS})
    with pytest.raises(DataError, match="column 'a' holds values of type object: expected numbers or texts"):
        reuse.load(frame, **EVERY)


@pytest.mark.parametrize("form", ["formats", "paths", "arrow-mappings", "arrow-bytes", "pathlib"])
def test_pictures_in_a_frame_whatever_holds_them(pool: Path, form: str) -> None:
    files = [pool / path for path in PATHS]
    contents: list[Any] = [path.read_bytes() for path in files]
    if form == "formats":
        for path in files[::2]:
            Image.open(path).save(path.with_suffix(".bmp"))
        contents = [Image.open(path.with_suffix(".bmp") if n % 2 == 0 else path) for n, path in enumerate(files)]
    elif form == "paths":
        contents = [{"bytes": None, "path": path} for path in files]
    elif form == "arrow-mappings":
        contents = [{"bytes": content, "path": None} for content in contents]
    elif form == "pathlib":
        contents = list(files)
    frame = pd.DataFrame({"image": contents, "label": LABELS})
    if form.startswith("arrow"):
        frame.to_parquet(pool / "t.parquet")
        frame = pd.read_parquet(pool / "t.parquet", dtype_backend="pyarrow")
    held = reuse.load(frame, **EVERY)
    named = reuse.load(write(pool, image=PATHS, label=LABELS), **EVERY)
    torch.testing.assert_close(held.train.inputs.resident(), named.train.inputs.resident(), rtol=0, atol=0)
    assert held.classes == named.classes
