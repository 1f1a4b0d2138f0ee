"""`reuse runs`: what is listed, what removing runs removes, and what it leaves alone."""

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from reuse.cli.runs import runs as group
from reuse.runs.folder import RunFolder
from reuse.runs.listing import disk_bytes, list_runs
from reuse.runs.manifest import Manifest


@pytest.fixture
def folder(pretrained: Path, finetuned: Path) -> Path:
    """Two finished runs, and one that ended two days ago without a result."""
    root = Path("runs")
    shutil.copytree(pretrained, root / "first")
    shutil.copytree(finetuned, root / "second")
    begun = RunFolder.create("finetune", root / "third")
    begun.write_settings("finetune", {"epochs": 3})
    begun.write_manifest(Manifest("finetune", data="digits"))
    for path in begun.path.iterdir():
        os.utime(path, (time.time() - 2 * 86400,) * 2)
    return root


def test_runs_are_listed_with_what_they_came_to(reuse: Any, folder: Path) -> None:
    listed = {Path(run["run"]).name: run for run in reuse("runs", "list", "--json").json["runs"]}
    assert [listed[name]["kind"] for name in ("first", "second", "third")] == ["pretrain", "finetune", "finetune"]
    result = RunFolder(folder / "second").result()
    assert result is not None
    assert listed["second"]["metric"] == "accuracy"
    assert listed["second"]["score"] == result["metrics"]["test"]["accuracy"]
    assert listed["third"]["epochs"] is None
    written = sum(path.stat().st_size for path in (folder / "second").rglob("*") if path.is_file())
    assert listed["second"]["bytes"] <= written  # two names of one file are counted once
    printed = reuse("runs", "list").out
    assert "not finished: --resume runs/third" in printed
    assert "3 runs, " in printed.splitlines()[-1]


def test_what_is_shared_is_counted_once_and_freed_by_the_last(folder: Path) -> None:
    large = folder / "first" / "frozen.safetensors"
    large.write_bytes(bytes(10_000))
    (folder / "second" / large.name).hardlink_to(large)
    alone = [disk_bytes([folder / name]) for name in ("first", "second")]
    both = disk_bytes([folder / "first", folder / "second"])
    assert both[0] == both[1] == sum(taken for taken, _ in alone) - 10_000
    assert sum(freed for _, freed in alone) == both[1] - 10_000


def test_removing_leaves_what_no_run_writes(reuse: Any, folder: Path, tmp_path: Path) -> None:
    documents = tmp_path / "documents"
    documents.mkdir()
    (documents / "thesis.txt").write_text("years of work")
    (folder / "first" / "notes.txt").write_text("keep me")
    (folder / "first" / "snapshots").symlink_to(documents)
    answer = reuse("runs", "prune", folder / "first", "--yes")
    assert answer.code == 0
    assert {path.name for path in (folder / "first").iterdir()} == {"notes.txt", "snapshots"}
    assert "left where it was, as no run writes it: runs/first/notes.txt" in answer.out
    assert (documents / "thesis.txt").read_text() == "years of work"
    assert {path.name for path in folder.iterdir()} == {"first", "second", "third"}


def test_the_newest_are_kept_and_what_may_be_training_stays(reuse: Any, folder: Path) -> None:
    running = RunFolder.create("finetune", folder / "running")
    running.write_manifest(Manifest("finetune"))
    answer = reuse("runs", "prune", "--unfinished", "--keep", 1, "--yes")
    assert "left, as it may be training: runs/running" in answer.out
    left = {path.name for path in folder.iterdir()}
    newest = next(Path(entry.run).name for entry in list_runs(folder) if entry.finished)
    assert left == {"running", newest}


def test_nothing_is_removed_without_being_asked_for(reuse: Any, folder: Path, tmp_path: Path) -> None:
    reuse("runs", "prune").is_refused("--keep N or --unfinished")
    reuse("runs", "prune", "--keep", 0).is_refused("this removes 2 runs", "say --yes")
    reuse("runs", "prune", tmp_path, "--yes").is_refused("is no run folder")
    (tmp_path / "link").symlink_to(folder / "first")
    reuse("runs", "prune", tmp_path / "link", "--yes").is_refused("is no run folder")
    reuse("runs", "list", "--root", "nowhere").is_refused("there is no folder nowhere")
    assert len(list_runs(folder)) == 3


def test_a_damaged_run_is_listed_and_can_be_removed_by_name(reuse: Any, folder: Path) -> None:
    (folder / "third" / "run.json").write_text("{")
    assert "run.json" in next(run["damage"] for run in reuse("runs", "list", "--json").json["runs"] if run["damage"])
    reuse("runs", "prune", "--unfinished", "--yes")
    assert (folder / "third").exists()
    reuse("runs", "prune", folder / "third", "--yes")
    assert not (folder / "third").exists()
    assert set(group.commands) == {"list", "prune"}
