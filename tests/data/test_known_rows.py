"""Rows of a file of arrays that did not change are neither read nor digested again; whatever changed is."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from reuse.data import array_containers, file_digests, known_rows
from reuse.data.dataset import Dataset
from reuse.data.file_digests import FILE_DIGESTS
from reuse.data.known_rows import FileRows
from reuse.data.loading import load
from reuse.errors import DataError
from reuse.hints import Hints

ROWS = 12


@pytest.fixture(autouse=True)
def old_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files seem to be older than the clock's grain, and all arrays are large."""
    monkeypatch.setattr(file_digests, "GRAIN", -(10**12))
    monkeypatch.setattr(array_containers, "MAPPED_BYTES", 0)


@pytest.fixture
def digested(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows were digested by each call, but for those that are compared as they are read."""
    calls, digest_rows = [], known_rows.digest_rows

    def counting(samples: np.ndarray, rows: np.ndarray, meaning: str = "") -> np.ndarray:
        calls.append(len(rows))
        return digest_rows(samples, rows, meaning)

    monkeypatch.setattr(known_rows, "digest_rows", counting)
    return calls


def drawn(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    values = np.random.default_rng(0).integers(0, 256, shape)
    return (values / 255).astype(dtype) if np.dtype(dtype).kind == "f" else values.astype(dtype)


def written(path: Path, x: np.ndarray, save: Callable[..., None] = np.savez) -> Path:
    save(path, x=x, y=np.arange(len(x)) % 3)
    return path


def loaded(path: Path, **settings: object) -> Dataset:
    usual = {"valid_fraction": 0, "test_fraction": 0, "hints": Hints(path.parent / "cache")}
    return load(str(path), **(usual | settings))  # type: ignore[arg-type]


def is_mapped(data: Dataset) -> bool:
    return known_rows._is_mapped(data.train.inputs._raw)  # type: ignore[attr-defined]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(
    "x",
    [
        drawn(ROWS, 3, 5, 4),
        drawn(ROWS, 5, 4, 3),
        drawn(ROWS, 6, 7),
        np.asfortranarray(drawn(ROWS, 3, 5, 4)),
        drawn(ROWS, 3, 5, 4, dtype=np.float32),
        drawn(ROWS, 5, dtype=np.float64),
        drawn(ROWS, 5, dtype=np.float32).astype(">f4"),
    ],
    ids=lambda x: f"{x.dtype.str}{x.shape}",
)
def test_the_second_time_no_row_is_digested_and_all_are_the_same(
    tmp_path: Path, digested: list[int], x: np.ndarray, save: Callable[..., None]
) -> None:
    path = written(tmp_path / "rows.npz", x, save)
    plain, first = load(str(path), valid_fraction=0, test_fraction=0), loaded(path)
    assert np.array_equal(first.train.inputs.digests(), plain.train.inputs.digests())
    digested.clear()
    again = loaded(path)
    digested.clear()  # of the row that shapes are taken from
    assert np.array_equal(again.train.inputs.digests(), plain.train.inputs.digests())
    assert digested == []
    assert torch.equal(again.train.inputs.resident(), plain.train.inputs.resident())
    assert torch.equal(again.train.targets, plain.train.targets)  # type: ignore[arg-type]
    if save is np.savez and x.dtype.isnative:
        assert is_mapped(again)
        assert not is_mapped(first)


def test_rows_that_were_not_asked_for_are_digested_when_they_are(tmp_path: Path, digested: list[int]) -> None:
    path = written(tmp_path / "rows.npz", drawn(ROWS, 6, 7))
    few = loaded(path, labels=6, test_fraction=0.25)
    assert sum(len(split.inputs.digests()) for split in (few.train, few.valid, few.test)) == sum(few.sizes.values())
    every = loaded(path)
    digested.clear()
    expected = load(str(path), valid_fraction=0, test_fraction=0).train.inputs.digests()
    assert np.array_equal(every.train.inputs.digests(), expected)
    assert sum(digested) == ROWS - sum(few.sizes.values())


def test_rehash_digests_all(tmp_path: Path, digested: list[int]) -> None:
    path = written(tmp_path / "rows.npz", drawn(ROWS, 6, 7))
    loaded(path).train.inputs.digests()
    digested.clear()
    again = loaded(path, hints=Hints(tmp_path / "cache", anew=frozenset({FILE_DIGESTS})))
    assert not is_mapped(again)
    again.train.inputs.digests()
    assert digested == [ROWS]


def one_byte_under_the_same_size_and_time(path: Path) -> None:
    found, content = path.stat(), bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as members:
        place = members.getinfo("x.npy").header_offset + 300
    content[place] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def other_rows(path: Path) -> None:
    written(path, 255 - drawn(ROWS, 6, 7))


def another_file_in_its_place(path: Path) -> None:
    found = path.stat()
    written(path.with_name("new.npz"), 255 - drawn(ROWS, 6, 7))
    os.utime(path.with_name("new.npz"), ns=(found.st_atime_ns, found.st_mtime_ns))
    path.with_name("new.npz").replace(path)


CHANGES = {change.__name__: change for change in (other_rows, another_file_in_its_place)}


@pytest.mark.skipif(os.name == "nt", reason="there every file is digested")
@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changed_is_digested_again(tmp_path: Path, change: str) -> None:
    path = written(tmp_path / "rows.npz", drawn(ROWS, 6, 7))
    loaded(path).train.inputs.digests()
    CHANGES[change](path)
    got, expected = (data.train.inputs for data in (loaded(path), load(str(path), valid_fraction=0, test_fraction=0)))
    assert np.array_equal(got.digests(), expected.digests())
    assert torch.equal(got.resident(), expected.resident())  # type: ignore[arg-type]


@pytest.mark.skipif(os.name == "nt", reason="there every file is digested")
def test_damage_is_found_however_a_file_is_dated(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.npz", drawn(ROWS, 6, 7))
    loaded(path).train.inputs.digests()
    one_byte_under_the_same_size_and_time(path)
    with pytest.raises(DataError, match=r"rows\.npz cannot be read"):  # the checksum of the archive
        loaded(path)


@pytest.mark.parametrize("change", [other_rows, one_byte_under_the_same_size_and_time, os.unlink])
def test_a_mapped_file_that_changes_while_it_is_used_is_an_error(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    path = written(tmp_path / "rows.npz", drawn(ROWS, 6, 7))
    loaded(path).train.inputs.digests()
    inputs = loaded(path).train.inputs
    change(path)
    with pytest.raises(DataError, match=r"rows\.npz was written to since it was first read"):
        inputs.gather(torch.arange(3))


def test_rows_that_changed_though_the_file_seems_the_same_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "rows.npz", drawn(ROWS, 6, 7))
    loaded(path).train.inputs.digests()
    inputs = loaded(path).train.inputs
    monkeypatch.setattr(FileRows, "stays", lambda self: True)
    with path.open("r+b") as file, zipfile.ZipFile(path) as members:
        file.seek(members.getinfo("x.npy").header_offset + 250)
        file.write(bytes(60))
    with pytest.raises(DataError, match=r"rows\.npz was written to"):
        inputs.gather(torch.arange(ROWS))


def test_a_file_that_changed_within_the_grain_of_the_clock_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digested: list[int]
) -> None:
    monkeypatch.setattr(file_digests, "GRAIN", 10**12)
    path = written(tmp_path / "rows.npz", drawn(ROWS, 6, 7))
    loaded(path).train.inputs.digests()
    digested.clear()
    assert not is_mapped(loaded(path))
    loaded(path).train.inputs.digests()
    assert digested == [ROWS]


def test_the_same_rows_in_memory_serve_when_their_file_is_gone(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.npz", drawn(ROWS, 6, 7))
    inputs = loaded(path).train.inputs
    path.unlink()
    assert len(inputs.gather(torch.arange(3))[0]) == 3
    assert len(inputs.digests()) == ROWS


def test_damaged_hints_are_as_none(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.npz", drawn(ROWS, 6, 7))
    first = loaded(path).train.inputs.digests()
    (tmp_path / "cache" / "hints.sqlite").write_bytes(b"\x07" * 5000)
    assert np.array_equal(loaded(path).train.inputs.digests(), first)
