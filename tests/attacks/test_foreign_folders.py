"""What lies in a cache folder and is not the cache's survives every command, fill and eviction, links and all."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from caching.conftest import FRONTIER, Rows
from reuse.caching import building
from reuse.caching.cache import ActivationCache
from reuse.caching.holding import Hold
from reuse.cli.cache import cache as cache_commands
from reuse.errors import CacheError
from reuse.fingerprinting.fingerprint import Fingerprint

PREFIX = Fingerprint({"name": "ours"})
KEYS = [f"{number:032x}" for number in range(16)]  # names as a prefix has


def fill(root: Path, **settings: Any) -> Rows:
    data = Rows(40)
    ActivationCache(root, **settings).open(PREFIX, FRONTIER).fill(data.keys, data.compute)
    return data


def contents(folder: Path) -> dict[str, object]:
    """All below a folder, links as links."""
    return {
        str(path.relative_to(folder)): path.readlink() if path.is_symlink() else path.is_file() and path.read_bytes()
        for path in sorted(folder.rglob("*"))
    }


def is_kept(before: dict[str, object], folder: Path) -> bool:
    return before.items() <= contents(folder).items()


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A cache that holds a prefix, and folders, files and links of somebody else's."""
    root, documents = tmp_path / "cache", tmp_path / "documents"
    fill(root)
    documents.mkdir()
    (documents / "thesis.txt").write_text("years of work")
    (documents / "segment-000001.h5").write_bytes(b"not of a cache")
    plain, nested, named, empty, forged, other, linked, file = KEYS[:8]
    (root / plain).mkdir()
    (root / plain / "photo.png").write_bytes(b"\x89PNG")
    (root / nested / "deep").mkdir(parents=True)
    (root / nested / "deep" / "note").write_text("x")
    (root / named / "building").mkdir(parents=True)
    for name in ("segment-000001.h5", "used", "writer.lock", "building/journal"):
        (root / named / name).write_text("somebody's file, called as one of the cache's")
    (root / empty).mkdir()
    (root / forged).mkdir()
    (root / forged / "prefix.json").write_text('{"name": "a library\'s record"}')
    (root / other).mkdir()
    (root / other / "prefix.json").write_text((root / PREFIX.key / "prefix.json").read_text())
    (root / linked).symlink_to(documents)
    (root / file).write_text("a file")
    (root / "README.md").write_text("keep")
    (root / "shortcut").symlink_to(root / PREFIX.key)
    return root


def in_a_prefix(root: Path) -> Path:
    """Somebody's files among those of a prefix."""
    prefix = root / PREFIX.key
    (prefix / "notes.txt").write_text("on these activations")
    (prefix / "plots").mkdir()
    (prefix / "plots" / "segment-000009.h5").write_text("a plot")
    (prefix / "building" / "mine.txt").write_text("put there by hand")
    (prefix / "segment-backup.h5").write_text("a copy")
    return prefix


COMMANDS: dict[str, Callable[[ActivationCache], object]] = {
    "entries": lambda cache: cache.entries(),
    "verify": lambda cache: cache.verify(),
    "prune": lambda cache: cache.prune(0),
    "clear": lambda cache: cache.clear(),
    "clear one": lambda cache: cache.clear(PREFIX.key),
    "nearest": lambda cache: cache.nearest(Fingerprint({"name": "near"})),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_not_the_caches_survives_every_command(foreign: Path, command: str) -> None:
    ours = {path.name for path in building.published(foreign / PREFIX.key)}
    in_a_prefix(foreign)
    before = contents(foreign.parent)
    COMMANDS[command](ActivationCache(foreign))
    mine = f"cache/{PREFIX.key}/"
    ours = {f"{mine}{name}" for name in (*ours, "prefix.json", "used")}
    assert is_kept({name: held for name, held in before.items() if name not in ours}, foreign.parent)
    assert ActivationCache(foreign).entries() == [] or "clear" not in command


ON_THE_LINE: dict[str, tuple[str, ...]] = {
    "list": ("list",),
    "verify": ("verify",),
    "verify one": ("verify", PREFIX.key[:8]),
    "why": ("why", "pretrained", "--freeze", "hidden1", "--labels", "60"),
    "prune": ("prune", "--budget", "0B"),
    "clear": ("clear", "--yes"),
    "clear one": ("clear", PREFIX.key),
    "clear a link": ("clear", KEYS[6]),
    "clear somebody's": ("clear", KEYS[0]),
}


@pytest.mark.parametrize("command", ON_THE_LINE)
def test_what_is_not_the_caches_survives_every_command_of_the_line(
    reuse: Any, pretrained: Path, foreign: Path, command: str
) -> None:
    """Those of `reuse cache`; a fill and an eviction come after them."""
    assert {words[0] for words in ON_THE_LINE.values()} == set(cache_commands.commands)
    in_a_prefix(foreign)
    (foreign.parent / "pretrained").symlink_to(pretrained)
    before = {name: held for name, held in contents(foreign.parent).items() if not name.startswith("pretrained")}
    mine = {f"cache/{PREFIX.key}/{path.name}" for path in (foreign / PREFIX.key).iterdir()} - {
        f"cache/{PREFIX.key}/{name}" for name in ("notes.txt", "plots", "segment-backup.h5", "building")
    }
    theirs = {name: held for name, held in before.items() if name not in mine}
    answer = reuse("cache", *ON_THE_LINE[command])
    assert answer.code == (2 if command in ("clear a link", "clear somebody's") else 0), answer.err
    assert is_kept(theirs, foreign.parent)
    finetune = ("finetune", "pretrained", "--data", "digits", "--labels", 60, "--freeze", "hidden1", "--epochs", 1)
    assert reuse(*finetune, "--cache-kind", "disk", "--cache-budget", "200KB", "--out", "run").code == 0
    assert is_kept(theirs, foreign.parent)


def test_only_prefixes_are_counted(foreign: Path) -> None:
    (entry,) = ActivationCache(foreign).entries()
    assert entry.key == PREFIX.key
    before = entry.bytes
    in_a_prefix(foreign)
    assert ActivationCache(foreign).entries()[0].bytes == before
    for key in KEYS[:8]:
        with pytest.raises(CacheError, match="there is no prefix"):
            ActivationCache(foreign).clear(key)


def test_eviction_makes_room_of_its_own_only(foreign: Path) -> None:
    in_a_prefix(foreign)
    size = ActivationCache(foreign).entries()[0].bytes
    before = {name: held for name, held in contents(foreign.parent).items() if f"cache/{PREFIX.key}/" not in name}
    other, data = Fingerprint({"name": "another"}), Rows(40, seed=1)
    ActivationCache(foreign, budget=140_000 + size // 2).open(other, FRONTIER).fill(data.keys, data.compute)
    assert [entry.key for entry in ActivationCache(foreign).entries()] == [other.key]
    assert is_kept(before, foreign.parent)
    assert {path.name for path in (foreign / PREFIX.key).iterdir()} > {"notes.txt", "plots", "segment-backup.h5"}


@pytest.mark.parametrize(
    "name", ["building", "segment-000002.h5", "writer.lock", "readers.lock", "used", "prefix.json"]
)
def test_a_link_in_a_prefix_is_neither_followed_nor_removed(foreign: Path, name: str) -> None:
    """Nothing is written, emptied or touched behind it, and filling says what stands in the way."""
    documents, prefix = foreign.parent / "documents", foreign / PREFIX.key
    target = documents if name == "building" else documents / "thesis.txt"
    for path in (prefix / name).rglob("*"):
        path.unlink()
    if (prefix / name).exists():
        (prefix / name).rmdir() if (prefix / name).is_dir() else (prefix / name).unlink()
    (prefix / name).symlink_to(target)
    before, changed = contents(documents), (documents / "thesis.txt").stat().st_mtime_ns
    cache, data = ActivationCache(foreign), Rows(60)
    with pytest.raises(CacheError, match=rf"{name} is a link, and a cache neither writes nor removes through links"):
        cache.open(PREFIX, FRONTIER).fill(data.keys, data.compute)
    with pytest.raises(CacheError, match="is a link"):
        cache.clear()
    cache.verify()
    assert cache.prune(0) == 0
    cache.open(PREFIX, FRONTIER).activations(Rows(40).keys)
    assert contents(documents) == before
    assert (documents / "thesis.txt").stat().st_mtime_ns == changed
    assert (prefix / name).readlink() == target


def test_a_linked_prefix_folder_is_not_followed(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "cache", tmp_path / "elsewhere"
    data = fill(elsewhere)
    root.mkdir()
    (root / PREFIX.key).symlink_to(elsewhere / PREFIX.key)
    before = contents(elsewhere)
    cache = ActivationCache(root)
    opened = cache.open(PREFIX, FRONTIER)
    assert len(opened.missing(data.keys)) == 40
    with pytest.raises(CacheError, match="is a link"):
        opened.fill(data.keys, data.compute)
    assert opened.fill(data.keys[:0], data.compute).computed == 0
    Hold(opened.path).release()
    assert cache.entries() == []
    assert cache.prune(0) == cache.clear() == 0
    assert contents(elsewhere) == before


def test_a_cache_folder_that_is_a_link_itself_is_the_users_choice(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "cache").symlink_to(tmp_path / "disk")
    data = fill(tmp_path / "cache")
    data.assert_served(ActivationCache(tmp_path / "cache").open(PREFIX, FRONTIER), np.arange(40))
    assert ActivationCache(tmp_path / "cache").clear() > 0


def test_a_prefix_whose_record_is_damaged_is_still_one(tmp_path: Path) -> None:
    fill(tmp_path)
    prefix = tmp_path / PREFIX.key
    for left in ("{", None):
        (prefix / "prefix.json").unlink() if left is None else (prefix / "prefix.json").write_text(left)
        assert [entry.key for entry in ActivationCache(tmp_path).entries()] == [PREFIX.key]
    (prefix / "used").unlink()  # as in older caches, whose segments say it
    assert ActivationCache(tmp_path).clear() > 0
    assert ActivationCache(tmp_path).entries() == []


def test_clearing_all_asks_first(reuse: Any, foreign: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reuse("cache", "clear").is_refused("1 prefix", "--yes")
    assert len(ActivationCache(foreign).entries()) == 1
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    for said, code, left in (("n", 1, 1), ("y", 0, 0)):
        monkeypatch.setattr("click.termui.visible_prompt_func", lambda _, said=said: said)
        answer = reuse("cache", "clear")
        assert answer.code == code
        assert len(ActivationCache(foreign).entries()) == left
    fill(foreign)
    assert reuse("cache", "clear", "--yes", "--json").json["freed"] > 0
    assert json.loads(json.dumps(reuse("cache", "clear", "--json").json))["freed"] == 0
