"""Bits that flip in a cache never come out as wrong rows: they are found however they are read, and computed again."""

import itertools
import logging
import os
import pickle
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from caching.conftest import FRONTIER, Rows
from reuse.caching import stored_rows
from reuse.caching.activations import Activations
from reuse.caching.building import published
from reuse.caching.cache import ActivationCache
from reuse.caching.damage import DamageError
from reuse.caching.header import Header
from reuse.caching.segment import read_header
from reuse.caching.spot_checking import spot_check
from reuse.caching.store import PrefixCache
from reuse.data.rows import read_in_order
from reuse.data.windows import Windows
from reuse.errors import CacheError
from reuse.finetuning.finetune import finetune
from reuse.fingerprinting.fingerprint import Fingerprint

FLIPS = int(os.environ.get("REUSE_ATTACKS", "300"))
COUNT = 600
PREFIX = Fingerprint({"name": "rotten"})


def open_cache(root: Path, dtype: str | None = None) -> PrefixCache:
    return ActivationCache(root, segment_bytes=8000).open(PREFIX, FRONTIER, dtype=dtype)


@pytest.fixture(scope="module", params=[None, "int8"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str | None]:
    """A filled cache of several segments, blocks and units; and in which type it is stored."""
    root, data = tmp_path_factory.mktemp("whole"), Rows(COUNT)
    open_cache(root, request.param).fill(data.keys, data.compute, compute_rows=50, block_bytes=1)
    return root, request.param


def in_windows(rows: Activations, order: torch.Tensor) -> tuple[torch.Tensor, ...]:
    rows.windows = Windows(4, 40)
    with read_in_order(rows, order) as opened:
        parts = [opened.gather(some) for some in order.split(16)]
    return tuple(map(torch.cat, zip(*parts, strict=True)))


def in_batches(rows: Activations, order: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return tuple(map(torch.cat, zip(*(rows.gather(some) for some in order.split(16)), strict=True)))


READING: dict[str, tuple[int | None, Callable[[Activations, torch.Tensor], tuple[torch.Tensor, ...]]]] = {
    "memory": (None, in_batches),
    "disk": (0, in_batches),
    "windows": (0, in_windows),
    "unpickled": (0, lambda rows, order: in_batches(pickle.loads(pickle.dumps(rows)), order)),
}
CHOICES = {
    "all": lambda random: np.arange(COUNT),
    "some": lambda random: np.sort(random.permutation(COUNT)[: COUNT // 5]),
    "shuffled": lambda random: random.permutation(COUNT)[: COUNT // 3],
    "few": lambda random: random.permutation(COUNT)[:5],
}


def places(headers: list[Header]) -> Iterator[tuple[Path, int, int]]:
    """Where the data sets of all segments lie."""
    for header in headers:
        for place in (*header.checked, header.checksums):
            yield header.path, place.offset, place.end


def flip(path: Path, offset: int, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ 1 << bit]))


def flip_anywhere(root: Path, random: np.random.Generator) -> tuple[Path, int, int]:
    """Flip a bit of any data set, as likely as it is long; returns where."""
    known = list(places([read_header(path) for path in published(root / PREFIX.key)]))
    sizes = np.array([end - start for _, start, end in known], float)
    path, start, end = known[int(random.choice(len(known), p=sizes / sizes.sum()))]
    offset, bit = int(random.integers(start, end)), int(random.integers(8))
    flip(path, offset, bit)
    return path, offset, bit


def share_of_flips(reading: str, choice: str, dtype: str | None) -> int:
    """Return how many of all flips are tried in one way: as many as in any other, or one more."""
    ways = list(itertools.product(READING, CHOICES, (None, "int8")))
    return len(range(ways.index((reading, choice, dtype)), FLIPS, len(ways)))


def test_all_flips_are_tried() -> None:
    assert sum(itertools.starmap(share_of_flips, itertools.product(READING, CHOICES, (None, "int8")))) == FLIPS >= 300


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("reading", READING)
def test_no_flipped_bit_comes_out_as_a_wrong_row(
    whole: tuple[Path, str | None], reading: str, choice: str, tmp_path: Path, unwarned: None
) -> None:
    (root, dtype), random, data = whole, np.random.default_rng([len(reading), len(choice)]), Rows(COUNT)
    memory, read = READING[reading]
    shutil.copytree(root, tmp_path / "cache")
    expected = open_cache(root, dtype).activations(data.keys).gather(torch.arange(COUNT))
    found = 0
    for _ in range(share_of_flips(reading, choice, dtype)):
        chosen = CHOICES[choice](random)
        order = torch.from_numpy(random.permutation(len(chosen)))
        path, offset, bit = flip_anywhere(tmp_path / "cache", random)
        cache = open_cache(tmp_path / "cache", dtype)
        there = np.flatnonzero(~np.isin(chosen, chosen[cache.missing(data.keys[chosen])]))  # a flipped key is no row
        try:
            rows = cache.activations(data.keys[chosen[there]], memory=memory)
            order = torch.from_numpy(random.permutation(len(there)))
            for now, then in zip(read(rows, order), expected, strict=True):
                assert torch.equal(now, then[chosen[there][order]])
        except DamageError:
            found += 1
        flip(path, offset, bit)
    assert found or choice in {"few", "some"}


@pytest.fixture
def unwarned(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)


def cache_with_mending(root: Path, dtype: str | None) -> tuple[PrefixCache, Callable[[], object], Rows]:
    cache, data = open_cache(root, dtype), Rows(COUNT)
    return cache, lambda: cache.fill(data.keys, data.compute, compute_rows=50), data


@pytest.mark.parametrize("reading", ["memory", "disk", "windows"])
def test_damaged_rows_are_set_aside_and_computed_again(
    whole: tuple[Path, str | None], reading: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (root, dtype), random = whole, np.random.default_rng(1)
    memory, read = READING[reading]
    shutil.copytree(root, tmp_path / "cache")
    segments = [read_header(path) for path in published(tmp_path / "cache" / PREFIX.key)]
    damaged = [(header, row) for header in segments[:2] for row in (3, header.rows - 1)]
    for header, row in damaged:
        place = header.tensors[1]
        flip(header.path, place.offset + row * place.row_bytes, 1)
    cache, mend, data = cache_with_mending(tmp_path / "cache", dtype)
    rows = cache.activations(data.keys, memory=memory, mend=mend)
    for epoch in range(2):
        order = torch.from_numpy(random.permutation(COUNT))
        for now, computed in zip(read(rows, order), data.tensors, strict=True):
            wanted = computed[order]
            near = (now.double() - wanted.double()).abs().max() < (0.05 if dtype else 1e-12)
            assert near, epoch
    again = len(data.computed)
    assert len(damaged) <= again < COUNT / 2
    lines = [record.getMessage() for record in caplog.records]
    assert lines
    assert all("set aside, and computed again" in line and "\n" not in line for line in lines)
    # Others find the rows that were computed again, and know of no damage any more.
    other = open_cache(tmp_path / "cache", dtype)
    assert len(other.missing(data.keys)) == 0
    other.activations(data.keys)
    assert ActivationCache(tmp_path / "cache").verify() == []
    (entry,) = ActivationCache(tmp_path / "cache").entries()
    assert entry.rows == COUNT
    assert any("are set aside" in line for line in entry.damage)
    del rows  # which are held as long as they are read
    assert ActivationCache(tmp_path / "cache").clear() > 0
    assert not list((tmp_path / "cache" / PREFIX.key).glob("segment*"))


def test_rotten_rows_are_told_from_stale_ones(whole: tuple[Path, str | None], tmp_path: Path) -> None:
    """A comparison with what is computed now draws them, sets them aside, and does not distrust the rest for them."""
    root, dtype = whole
    shutil.copytree(root, tmp_path / "cache")
    for path in published(tmp_path / "cache" / PREFIX.key):
        place = read_header(path).tensors[0]
        for row in range(3):
            flip(path, place.offset + row * place.row_bytes + 3, 6)
    cache, _, data = cache_with_mending(tmp_path / "cache", dtype)
    spot_check(cache, data.keys, data.compute, rows=COUNT)
    assert cache.quarantined is None
    assert len(cache.missing(data.keys)) > 0


def test_a_cache_that_may_only_be_read_is_not_served_wrong(
    whole: tuple[Path, str | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, dtype = whole
    shutil.copytree(root, tmp_path / "cache")
    path = published(tmp_path / "cache" / PREFIX.key)[0]
    flip(path, read_header(path).tensors[0].offset, 0)

    def refuse(*arguments: Any, **_: Any) -> None:
        raise PermissionError(13, "Permission denied", str(arguments[0]))

    for name in ("make_folder", "create", "touch", "rename"):
        monkeypatch.setattr(f"reuse.caching.files.{name}", refuse)
    cache, mend, data = cache_with_mending(tmp_path / "cache", dtype)
    with pytest.raises(CacheError, match="cannot be written"):
        cache.activations(data.keys, mend=mend)
    assert len(cache.missing(data.keys)) > 0


def test_a_damaged_record_is_written_anew(whole: tuple[Path, str | None], tmp_path: Path) -> None:
    root, dtype = whole
    shutil.copytree(root, tmp_path / "cache")
    record = tmp_path / "cache" / PREFIX.key / "prefix.json"
    before = record.read_text()
    record.write_text(before[:20])
    cache, more = open_cache(tmp_path / "cache", dtype), Rows(5, seed=9)
    cache.fill(more.keys, more.compute)
    assert set(before.split('"')) >= {"components", "rotten"} <= set(record.read_text().split('"'))


def test_units_are_checked_once(whole: tuple[Path, str | None], monkeypatch: pytest.MonkeyPatch) -> None:
    root, dtype = whole
    data, checked = Rows(COUNT), []
    rows = open_cache(root, dtype).activations(data.keys, memory=0)
    wrong = stored_rows.Verifier._wrong
    monkeypatch.setattr(
        stored_rows.Verifier, "_wrong", lambda self, at, units: (checked.append(len(units)), wrong(self, at, units))[1]
    )
    for _ in range(3):
        in_batches(rows, torch.randperm(COUNT))
    assert sum(checked) == sum(
        len(header.blocks) * header.block_units for header in map(read_header, published(root / PREFIX.key))
    )


@pytest.mark.parametrize("kept", ["memory", "disk"])
def test_a_training_on_a_rotten_cache_is_that_on_a_whole_one(
    pretrained: Path, kept: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Rows that stay on disk turn out to be damaged in the middle of an epoch."""
    settings: dict[str, Any] = {"data": "digits", "labels": 200, "epochs": 3, "cache_kind": "disk", "compare": False}
    if kept == "disk":
        monkeypatch.setattr("reuse.features.feeding.free_memory", lambda device: 8)
        monkeypatch.setattr("reuse.caching.activations.free_memory", lambda device: 8)
    whole = finetune(pretrained, freeze="hidden1", **settings, precision="float64", out="whole")
    assert whole.cache is not None
    (path,) = published(Path(whole.cache["path"]))
    header = read_header(path)
    for row in range(0, header.rows, 150):
        flip(path, header.tensors[0].offset + row * header.tensors[0].row_bytes + 6, 5)
    again = finetune(pretrained, freeze="hidden1", **settings, precision="float64", out="again")
    assert again.cache is not None
    assert again.cache["key"] == whole.cache["key"]
    for split, values in whole.metrics.items():
        for name, value in values.items():
            assert again.metrics[split][name] == pytest.approx(value, rel=1e-6)
    said = [record.getMessage() for record in caplog.records if "computed again" in record.getMessage()]
    assert 1 <= len(said) <= 8  # one a split, and some for rows that were drawn to be compared
    assert ActivationCache(path.parents[1]).verify() == []


def test_what_a_deeper_cut_goes_on_from_may_be_rotten(pretrained: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings: dict[str, Any] = {"data": "digits", "labels": 60, "epochs": 1, "cache_kind": "disk", "compare": False}
    shallow = finetune(pretrained, freeze="hidden1", **settings, out="shallow")
    assert shallow.cache is not None
    (path,) = published(Path(shallow.cache["path"]))
    header = read_header(path)
    flip(path, header.tensors[0].offset + 10 * header.tensors[0].row_bytes + 3, 6)
    deep = finetune(pretrained, freeze="hidden1,hidden2", **settings, out="deep")
    alone = finetune(
        pretrained, freeze="hidden1,hidden2", **settings, cache_dir="another", out="alone", precision="float32"
    )
    assert deep.metrics["test"]["loss"] == pytest.approx(alone.metrics["test"]["loss"], rel=1e-4)
    assert any("computed again" in record.getMessage() for record in caplog.records)


HARM: dict[str, Callable[[Path], object]] = {
    "emptied": lambda path: os.truncate(path, 0),
    "cut in half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "cut by a page": lambda path: os.truncate(path, path.stat().st_size - 4096),
    "removed": Path.unlink,
    "another file": lambda path: (path.unlink(), path.write_bytes(bytes(9000))),
}


def a_copy(
    whole: tuple[Path, str | None], folder: Path
) -> tuple[tuple[torch.Tensor, ...], tuple[PrefixCache, Callable[[], object], Rows]]:
    """What all rows of a cache are, and a copy of it in `folder`, with what mends it."""
    root, dtype = whole
    shutil.copytree(root, folder / "cache")
    expected = open_cache(root, dtype).activations(Rows(COUNT).keys).gather(torch.arange(COUNT))
    return expected, cache_with_mending(folder / "cache", dtype)


def assert_read(
    found: Sequence[torch.Tensor], expected: Sequence[torch.Tensor], order: torch.Tensor, whole: tuple[Path, str | None]
) -> None:
    """Rows are those that were cached, in another order; in 8 bits they may have got codes of other blocks."""
    for now, then in zip(found, expected, strict=True):
        assert torch.allclose(now.double(), then[order].double(), atol=0.05 if whole[1] else 0)


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("reading", READING)
def test_a_file_that_is_cut_off_before_it_is_read_is_computed_again(
    whole: tuple[Path, str | None], reading: str, harm: str, tmp_path: Path
) -> None:
    """By another process, between the filling and the reading of this one, which has the file's place in its memory."""
    memory, read = READING[reading]
    expected, (cache, mend, data) = a_copy(whole, tmp_path)
    assert len(cache.missing(data.keys)) == 0
    HARM[harm](published(tmp_path / "cache" / PREFIX.key)[1])
    order = torch.randperm(COUNT)
    assert_read(read(cache.activations(data.keys, memory=memory, mend=mend), order), expected, order, whole)
    assert 0 < len(data.computed) < COUNT / 2


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("reading", ["disk", "windows"])
def test_a_file_that_is_cut_off_while_it_is_read_is_computed_again(
    whole: tuple[Path, str | None], reading: str, harm: str, tmp_path: Path
) -> None:
    """To touch what a map has lost ends a process by a signal; what was removed stays there for who has it open."""
    read = READING[reading][1]
    expected, (cache, mend, data) = a_copy(whole, tmp_path)
    rows, order = cache.activations(data.keys, memory=0, mend=mend), torch.randperm(COUNT)
    read(rows, order[:100])
    HARM[harm](published(tmp_path / "cache" / PREFIX.key)[1])
    assert_read(read(rows, order), expected, order, whole)


@pytest.mark.parametrize("kept", ["memory", "disk"])
def test_a_training_goes_on_where_its_cache_is_cut_off_after_the_filling(
    pretrained: Path, kept: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings: dict[str, Any] = {"data": "digits", "labels": 60, "epochs": 2, "cache_kind": "disk", "compare": False}
    if kept == "disk":
        monkeypatch.setattr("reuse.features.feeding.free_memory", lambda device: 8)
        monkeypatch.setattr("reuse.caching.activations.free_memory", lambda device: 8)
    whole = finetune(pretrained, freeze="hidden1", **settings, precision="float64", out="whole")
    assert whole.cache is not None
    (path,), read = published(Path(whole.cache["path"])), PrefixCache.activations
    cuts = iter([5000])

    def cut_first(*given: Any, **named: Any) -> Activations:
        for size in cuts:
            os.truncate(path, size)
        return read(*given, **named)

    monkeypatch.setattr(PrefixCache, "activations", cut_first)
    again = finetune(pretrained, freeze="hidden1", **settings, precision="float64", out="again")
    said = [record.getMessage() for record in caplog.records if "no whole cache file" in record.getMessage()]
    assert len(said) == 1
    for split, values in whole.metrics.items():
        for name, value in values.items():
            assert again.metrics[split][name] == pytest.approx(value, rel=1e-6)
