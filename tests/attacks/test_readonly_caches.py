"""A cache that may only be read serves what it holds; what it lacks is one line."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import reuse
from limited import MOUNTING, answers, may_mount
from reuse.errors import CacheError

NOBODY = 65534
READ_ONLY = 'mount --bind cache cache && mount -o remount,ro,bind cache && exec "$@"'
TRAIN = {"data": "rows.npz", "labels": 60, "epochs": 2, "cache_dir": "cache", "cache_kind": "disk"}


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory that others may read, with a pretrained run and a cache of its first layer."""
    with tempfile.TemporaryDirectory() as name:
        monkeypatch.chdir(name)
        draw = np.random.default_rng(0)
        np.savez("rows.npz", x=draw.random((200, 8), np.float32), y=draw.integers(0, 3, 200))
        reuse.pretrain(data="rows.npz", model="mlp:20,10", epochs=1, out="base")
        reuse.finetune("base", freeze="hidden1", out="first", **TRAIN)
        yield Path(name)
        for path in Path("cache").rglob("*"):
            path.chmod(0o700)


def contents(cache: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(cache.rglob("*")) if path.is_file()}


@pytest.mark.slow
def test_a_read_only_file_system_serves_a_full_hit(folder: Path) -> None:
    if not may_mount():
        pytest.skip("nothing may be mounted here: it takes Linux and namespaces of one's own")
    before = contents(folder / "cache")
    train = ("finetune", "base", "--data", "rows.npz", "--labels", 60, "--epochs", 2, "--cache-dir", "cache")
    on_disk = (*train, "--cache-kind", "disk", "--freeze")
    commands = [
        (*on_disk, "hidden1", "--out", "second", "--json"),
        ("sweep", "base", *train[2:], "--freeze", "hidden1", "--learning-rate", "0.1,0.01", "--out", "swept", "--json"),
        (*on_disk, "hidden1,hidden2", "--out", "fourth"),
        ("cache", "list", "--cache-dir", "cache"),
        ("cache", "verify", "--cache-dir", "cache"),
        ("cache", "clear", "--yes", "--cache-dir", "cache"),
        ("cache", "prune", "--budget", "1KB", "--cache-dir", "cache"),
    ]
    inside = (*MOUNTING, "sh", "-c", READ_ONLY, "sh")
    *found, other, listed, verified, cleared, pruned = answers(commands, folder, inside=inside)
    for answer in found:
        assert answer.code == 0, answer.err
        assert '"hit": true' in answer.out
        assert "read-only" not in answer.err.lower()
    for answer in (other, cleared, pruned):
        assert answer.code == 1, answer.err
        (line,) = [line for line in answer.err.splitlines() if line.startswith("error: ")]
        assert "cannot be written" in line
        assert "Read-only file system" in line
    assert (listed.code, verified.code) == (0, 0)
    assert contents(folder / "cache") == before


@pytest.mark.skipif(sys.platform == "win32", reason="no owners of files")
def test_a_folder_of_somebody_elses_serves_a_full_hit(folder: Path) -> None:
    again = reuse.finetune("base", freeze="hidden1", out="again", **TRAIN)  # imports all that a hit takes
    before = contents(folder / "cache")
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    for path in (folder / "cache", *(folder / "cache").rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    (folder / "out").mkdir()
    (folder / "out").chmod(0o777)
    root = os.geteuid() == 0
    if root:  # who may write anywhere
        os.setegid(NOBODY)
        os.seteuid(NOBODY)
    try:
        found = reuse.finetune("base", freeze="hidden1", out="out/second", **TRAIN)
        with pytest.raises(CacheError, match=r"cannot be written .*Permission denied"):
            reuse.finetune("base", freeze="hidden1,hidden2", out="out/third", **TRAIN)
    finally:
        if root:
            os.seteuid(0)
            os.setegid(0)
    assert found.cache is not None
    assert found.cache["hit"]
    assert found.metrics == again.metrics
    assert contents(folder / "cache") == before
    shutil.rmtree(folder / "out")
