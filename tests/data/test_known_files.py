"""Files that did not change are neither read nor decoded again; whatever changed is."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reuse.data import file_digests, image_check, images, pictures
from reuse.data.dataset import Dataset
from reuse.data.file_digests import FILE_DIGESTS
from reuse.data.loading import load
from reuse.data.preprocessing import Preprocessing
from reuse.errors import DataError
from reuse.hints import Hints

RNG = np.random.default_rng(3)
ROWS = 6


def draw(path: Path, size: int = 7) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (size, size, 3), dtype=np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Class folders of images that seem to be older than the clock's grain, as change times cannot be set."""
    monkeypatch.setattr(file_digests, "GRAIN", -(10**12))
    for number in range(ROWS):
        draw(tmp_path / "pets" / ("cat" if number % 2 else "dog") / f"{number}.png")
    return tmp_path / "pets"


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """Count files read and images decoded inside the block."""
    counts = {"read": 0, "decoded": 0}
    read, pixels_of = file_digests.read_bytes, pictures.pixels_of

    def reading(path: Path) -> bytes:
        counts["read"] += 1
        return read(path)

    def decoding(image: Image.Image, preprocessing: Preprocessing) -> np.ndarray:
        counts["decoded"] += 1
        return pixels_of(image, preprocessing)

    with monkeypatch.context() as patch:
        patch.setattr(file_digests, "read_bytes", reading)
        patch.setattr(images, "read_bytes", reading)
        patch.setattr(pictures, "pixels_of", decoding)
        patch.setattr(image_check, "pixels_of", decoding)
        yield counts


def loaded(folder: Path, **settings: object) -> Dataset:
    usual = {"valid_fraction": 0, "test_fraction": 0, "hints": Hints(folder.parent / "cache")}
    return load(str(folder), **(usual | settings))  # type: ignore[arg-type]


def test_the_second_time_nothing_is_read_or_decoded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = loaded(folder)
    with counted(monkeypatch) as counts:
        again = loaded(folder)
        assert np.array_equal(again.train.inputs.digests(), first.train.inputs.digests())
        assert again.input_shape == first.input_shape
        assert counts == {"read": 0, "decoded": 0}
        assert torch.equal(again.train.inputs.gather(torch.tensor([4, 1]))[0], first.train.inputs.resident()[[4, 1]])
        assert counts == {"read": 2, "decoded": 2}
        assert torch.equal(again.train.inputs.resident(), first.train.inputs.resident())
        assert counts == {"read": ROWS, "decoded": ROWS}


def test_rehash_reads_all_and_decodes_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded(folder)
    with counted(monkeypatch) as counts:
        loaded(folder, hints=Hints(folder.parent / "cache", anew=frozenset({FILE_DIGESTS})))
    assert counts == {"read": ROWS, "decoded": 0}


def test_a_moved_folder_is_read_and_not_decoded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = loaded(folder).train.inputs.digests()
    moved = folder.rename(folder.with_name("animals"))
    with counted(monkeypatch) as counts:
        assert np.array_equal(loaded(moved).train.inputs.digests(), before)
    assert counts == {"read": ROWS, "decoded": 0}


def test_other_pixels_are_another_look(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded(folder)
    with counted(monkeypatch) as counts:
        assert loaded(folder, image_size=5).input_shape == (3, 5, 5)
    assert counts["decoded"] >= ROWS


def same_size_and_time(path: Path) -> None:
    found, content = path.stat(), bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def another_file_in_its_place(path: Path) -> None:
    found = path.stat()
    draw(path.with_name("new.png"))
    os.utime(path.with_name("new.png"), ns=(found.st_atime_ns, found.st_mtime_ns))
    path.with_name("new.png").replace(path)


def swapped_with_a_neighbour(path: Path) -> None:
    other = path.with_name("4.png")
    aside = path.with_name("aside.png")
    path.rename(aside)
    other.rename(path)
    aside.rename(other)


def link_that_points_elsewhere(path: Path) -> None:
    path.unlink()
    draw(path.parents[2] / "elsewhere.png")
    path.symlink_to(path.parents[2] / "elsewhere.png")


CHANGES = {change.__name__: change for change in (
    same_size_and_time, another_file_in_its_place, swapped_with_a_neighbour, link_that_points_elsewhere, draw
)}  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="there every file is digested")
@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changed_is_digested_again(folder: Path, change: str) -> None:
    loaded(folder)
    CHANGES[change](folder / "dog/2.png")
    expected = load(str(folder), valid_fraction=0, test_fraction=0).train.inputs
    got = loaded(folder).train.inputs
    assert np.array_equal(got.digests(), expected.digests())
    assert torch.equal(got.resident(), expected.resident())  # type: ignore[arg-type]


def test_what_changed_within_the_grain_of_the_clock_is_not_believed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # the clock as it is: the files are younger than its grain
    loaded(folder)
    with counted(monkeypatch) as counts:
        loaded(folder)
    assert counts == {"read": ROWS, "decoded": 0}


def test_what_is_wrong_with_a_file_is_remembered_by_its_digest(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = folder / "cat/1.png"
    broken.write_bytes(broken.read_bytes()[:60])
    with pytest.raises(DataError) as first:
        loaded(folder)
    with counted(monkeypatch) as counts:
        with pytest.raises(DataError) as again:
            loaded(folder)
        notes = loaded(folder, skip_bad=True).notes
    assert str(again.value) == str(first.value)
    assert any("cat/1.png" in note for note in notes)
    assert counts == {"read": 0, "decoded": 0}
    draw(broken)
    assert len(loaded(folder).train) == ROWS


def test_a_file_that_could_not_be_opened_is_tried_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(file_digests, "read_bytes", refuse)
        with pytest.raises(DataError, match="no image that can be read"):
            loaded(folder)
    assert len(loaded(folder).train) == ROWS


def test_damaged_hints_are_as_none(folder: Path) -> None:
    first = loaded(folder)
    (folder.parent / "cache" / "hints.sqlite").write_bytes(b"\x07" * 5000)
    assert np.array_equal(loaded(folder).train.inputs.digests(), first.train.inputs.digests())


def test_deep_pictures_and_their_white_are_known_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, value in enumerate((4000, 900)):
        Image.fromarray(np.full((7, 7), value, np.uint16)).save(folder / "cat" / f"deep{number}.png")
    first = loaded(folder)
    with counted(monkeypatch) as counts:
        again = loaded(folder)
    assert counts["decoded"] == 0
    assert again.preprocessing == first.preprocessing
    assert again.preprocessing.white == 4095
    assert torch.equal(again.train.inputs.resident(), first.train.inputs.resident())


def test_a_limit_that_is_lifted_is_another_look(folder: Path) -> None:
    with pytest.raises(DataError, match=r"holds no image that can be read .*more than 40: see --max-pixels"):
        loaded(folder, max_pixels=40)
    assert loaded(folder, max_pixels=49).sizes["train"] == ROWS


def test_broken_and_new_files_among_known_ones_keep_their_places(folder: Path) -> None:
    loaded(folder)
    draw(folder / "cat" / "0-new.png")
    (folder / "dog" / "9.png").write_bytes(b"none")
    first, again = (loaded(folder, skip_bad=True) for _ in range(2))
    for data in (first, again):
        assert [Path(name).name for name in data.train.inputs.names() or ()] == [
            "0-new.png", "1.png", "3.png", "5.png", "0.png", "2.png", "4.png",
        ]  # fmt: skip
    assert torch.equal(first.train.inputs.resident(), again.train.inputs.resident())
