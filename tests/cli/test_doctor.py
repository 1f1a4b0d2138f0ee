"""`reuse doctor`, and what it looks at."""

import importlib.metadata
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import reuse as package
from reuse.cli import doctoring


def by_name(values: dict[str, Any]) -> dict[str, dict[str, str]]:
    return {finding["name"]: finding for finding in values["findings"]}


def test_what_is_reported(reuse: Any) -> None:
    answer = reuse("doctor", "--json")
    assert answer.code == 0
    found = by_name(answer.json)
    for name in ("torch", "timm", "h5py"):
        assert found[name]["value"] == importlib.metadata.version(name)
    assert sys.executable in found["python"]["value"]
    assert found["reuse"]["value"] == f"{package.__version__} at {Path(package.__file__).parent}"
    assert str(torch.get_num_threads()) in found["threads"]["value"]
    assert answer.json["ok"] == (not any(finding["problem"] for finding in found.values()))
    text = reuse("doctor").out
    assert all(name in text for name in found)


def test_data_sets_that_are_there(reuse: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sets").mkdir()
    np.savez(tmp_path / "sets" / "mnist.npz", x=np.zeros(1))
    monkeypatch.setenv("REUSE_DATA", str(tmp_path / "sets"))
    monkeypatch.setattr("reuse.data.catalogue.DEBIAN_FOLDER", tmp_path / "nowhere")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "nowhere"))
    found = by_name(reuse("doctor", "--json").json)
    assert found["mnist"]["value"] == str(tmp_path / "sets" / "mnist.npz")
    assert "not found" in found["cifar10"]["value"]


def test_problems_stand_behind_a_mark(reuse: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REUSE_DATA", str(tmp_path / "gone"))
    answer = reuse("doctor")
    assert answer.code == 0
    assert any(line.startswith("! REUSE_DATA: ") for line in answer.out.splitlines())


def test_the_cache_folder(reuse: Any, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_bytes(b"x" * 500)
    found = by_name(reuse("doctor", "--cache-dir", tmp_path / "kept", "--json").json)["cache"]
    assert f"{tmp_path / 'kept'}: 500 bytes" in found["value"]
    assert "not/yet" in by_name(reuse("doctor", "--cache-dir", "not/yet", "--json").json)["cache"]["value"]
    assert not (tmp_path / "not").exists()


def test_another_program_of_the_same_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "reuse"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    finding = doctoring.examine(tmp_path)[-1]
    assert finding.value == str(program)
    assert "licence checker" in finding.problem
    assert "-m reuse" in finding.problem


def test_file_systems(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"disk / ext4 rw 0 0\nserver:/x {tmp_path.resolve()} nfs4 rw 0 0\n")
    assert doctoring._file_system(tmp_path / "deep" / "folder", mounts) == "nfs4"
    assert doctoring._file_system(Path("/usr"), mounts) == "ext4"
    assert doctoring._file_system(Path("/usr"), tmp_path / "none") == ""
