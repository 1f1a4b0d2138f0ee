"""Records beside cached rows, and segments' own words, that somebody edited: one clear error, never wrong rows."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from caching.conftest import FRONTIER, Rows
from reuse.caching.building import published
from reuse.caching.cache import ActivationCache
from reuse.caching.segment import read_header
from reuse.errors import CacheError
from reuse.fingerprinting.fingerprint import Fingerprint

PREFIX = Fingerprint({"name": "forged"})
Damage = Callable[[Path], object]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    data = Rows(40)
    ActivationCache(tmp_path / "cache").open(PREFIX, FRONTIER).fill(data.keys, data.compute)
    return tmp_path / "cache"


@pytest.fixture(autouse=True)
def no_waiting() -> Iterator[None]:
    """A pipe that is waited for ends the test, whoever catches errors on the way."""

    def ring(*_: object) -> None:
        pytest.fail("something is waited for")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def entry(name: str, value: Any) -> Damage:
    def damage(prefix: Path) -> None:
        record = json.loads((prefix / "prefix.json").read_text())
        (prefix / "prefix.json").write_text(json.dumps({**record, name: value}))

    return damage


def content(name: str, text: str) -> Damage:
    return lambda prefix: (prefix / name).write_text(text)


def pipe(name: str) -> Damage:
    def damage(prefix: Path) -> None:
        (prefix / name).unlink(missing_ok=True)
        os.mkfifo(prefix / name)

    return damage


def circle(name: str) -> Damage:
    def damage(prefix: Path) -> None:
        (prefix / name).unlink(missing_ok=True)
        (prefix / name).symlink_to(name)

    return damage


def folder(name: str) -> Damage:
    def damage(prefix: Path) -> None:
        (prefix / name).unlink(missing_ok=True)
        (prefix / name).mkdir()

    return damage


RECORDS: dict[str, Damage] = {
    "description list": entry("description", [1]),
    "description null": entry("description", None),
    "components list": entry("components", [1, 2]),
    "components number": entry("components", 3),
    "components of numbers": entry("components", {"a": {"b": 1}}),
    "created number": entry("created", 5),
    "record deep": content("prefix.json", "[" * 100_000),
    "record a pipe": pipe("prefix.json"),
    "measured deep": content("measured.json", "[" * 100_000),
    "measured a pipe": pipe("measured.json"),
    "mark deep": content("quarantine.json", "[" * 100_000),
    "mark a pipe": pipe("quarantine.json"),
    "used a pipe": pipe("used"),
    "used a circle": circle("used"),
    "lock of no number": content("writer-x.lock", ""),
    "lock a folder": folder("readers.lock"),
    "lock of writers a folder": folder("writer.lock"),
    "journal a pipe": pipe("building/journal"),
    "rows beyond all memory set aside": content("segment-000001.h5.aside-0-999999999999", ""),
}
USES: dict[str, Callable[[ActivationCache], object]] = {
    "list": ActivationCache.entries,
    "verify": ActivationCache.verify,
    "nearest": lambda cache: cache.nearest(Fingerprint({"name": "near", "more": "x"})),
    "fill": lambda cache: served(cache.root),
    "prune": lambda cache: cache.prune(0),
    "clear": ActivationCache.clear,
}


def served(root: Path) -> None:
    """Fill what is missing and assert that all rows are what is computed."""
    data, cache = Rows(40), ActivationCache(root).open(PREFIX, FRONTIER)
    cache.fill(data.keys, data.compute)
    for found, computed in zip(cache.activations(data.keys).gather(torch.arange(40)), data.tensors, strict=True):
        assert torch.equal(found, computed)


@pytest.mark.parametrize("name", RECORDS)
def test_a_forged_record_stops_nobody_but_in_one_line(root: Path, name: str) -> None:
    RECORDS[name](root / PREFIX.key)
    for use in USES.values():
        with suppress(CacheError):  # all that anybody expects
            use(ActivationCache(root))


@pytest.mark.parametrize("name", RECORDS)
def test_a_forged_record_leaves_other_prefixes_in_use(root: Path, name: str) -> None:
    data = Rows(40)
    other = ActivationCache(root).open(Fingerprint({"name": "whole"}), FRONTIER)
    other.fill(data.keys, data.compute)
    data.calls.clear()
    RECORDS[name](root / PREFIX.key)
    other = ActivationCache(root).open(Fingerprint({"name": "whole"}), FRONTIER)
    other.fill(data.keys, data.compute)
    assert not data.computed
    data.assert_served(other, np.arange(40))
    path = other.path
    del other  # what is read stays
    ActivationCache(root).prune(0)
    assert not published(path)


def attribute(name: str, value: Any) -> Damage:
    def damage(path: Path) -> None:
        with h5py.File(path, "r+", locking=False) as file:
            file.attrs[name] = value

    return damage


def swap_keys(path: Path) -> None:
    place = read_header(path).row_key
    whole = bytearray(path.read_bytes())
    first, second = (slice(place.offset + 16 * row, place.offset + 16 * (row + 1)) for row in (0, 1))
    whole[first], whole[second] = whole[second], whole[first]
    path.write_bytes(whole)


def in_chunks(path: Path) -> None:
    with h5py.File(path, "r+", locking=False) as file:
        keys = file["row_key"][...]
        del file["row_key"]
        file.create_dataset("row_key", data=keys, chunks=(8, 16), compression="gzip")


def other_type(path: Path) -> None:
    with h5py.File(path, "r+", locking=False) as file:
        before = file["frontier/0_pool"]
        words, shape = dict(before.attrs), before.shape
        del file["frontier/0_pool"]
        file.create_dataset("frontier/0_pool", data=np.ones(shape)).attrs.update(words)


SEGMENTS: dict[str, Damage] = {
    **{f"{name} {value}": attribute(name, value) for name in ("rows", "block_rows") for value in (0, -1, 7, 10**18)},
    "row keys exchanged": swap_keys,
    "row keys in chunks": in_chunks,
    "rows of another type": other_type,
}


@pytest.mark.parametrize("name", SEGMENTS)
def test_rows_of_a_forged_segment_are_computed_again(root: Path, name: str) -> None:
    (path,) = published(root / PREFIX.key)
    before = path.stat()
    SEGMENTS[name](path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert ActivationCache(root).verify()
    assert len(ActivationCache(root).entries()) == 1
    served(root)
    served(root)
    assert ActivationCache(root).clear() > 0
