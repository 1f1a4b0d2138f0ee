"""A disk that fills up under a run folder: one line at whatever is being written, and with room the run goes on."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import reuse
from limited import MOUNTING, Answer, answers, may_mount

CHILD = Path(__file__).with_name("full_disk.py")


@pytest.mark.slow
def test_a_disk_that_fills_up_anywhere_in_a_training_loses_nothing(tmp_path: Path) -> None:
    if not may_mount():
        pytest.skip("no disk may be mounted here: it takes Linux and namespaces of one's own")
    done = subprocess.run([*MOUNTING, sys.executable, str(CHILD), str(tmp_path)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    whole, *tried, predicted = map(json.loads, done.stdout.decode().splitlines())
    told = [refused(one) for one in tried if one["first"]["code"] != 0]
    for part in ("frozen.safetensors", "settings.toml", "epoch-00001", "snapshots/", "run/weights", "result.json"):
        assert any(part in line for line in told), (part, told)
    assert 5 < len(told) < len(tried), "some sizes are too small, and some are not"
    for one in tried:
        assert one["then"]["code"] == 0, one["then"]["err"]
        assert (one["kilobytes"], one["left"]) == (one["kilobytes"], whole["whole"])
    Answer(**predicted["first"]).refusal("predictions.csv cannot be written", "No space left")
    assert predicted["names"] == []


def refused(one: dict[str, Any]) -> str:
    line = Answer(**one["first"]).refusal("no room for", "bytes are free")
    assert ("--resume" in line) == ("run.json" in one["names"])
    assert not [name for name in one["names"] if "draft" in name]
    return line


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no limit on files")
def test_files_that_may_not_grow_are_one_line(tmp_path: Path) -> None:
    """A file that is written in part, on any system: one that gets as large as a limit allows."""
    reuse.pretrain(model="mlp:20,10", epochs=1, out=tmp_path / "base")
    train = ("finetune", "base", "--data", "digits", "--labels", 60, "--freeze", "hidden1", "--epochs", 3)
    (answer,) = answers([(*train, "--no-cache", "--out", "run")], tmp_path, largest_file=6000)
    answer.refusal("epoch-0000", "cannot be written (File too large)", "--resume run")
    assert reuse.finetune(resume=tmp_path / "run").epochs == 3


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no limit on files")
@pytest.mark.parametrize("form", ["safetensors", "torch", "onnx"])
def test_an_export_that_finds_no_room_is_one_line_and_leaves_nothing(tmp_path: Path, form: str) -> None:
    reuse.pretrain("supervised", data="digits", model="mlp:20,10", epochs=1, out=tmp_path / "base")
    (answer,) = answers([("export", "base", "--to", form, "--out", "exported")], tmp_path, largest_file=2000)
    answer.refusal("exported cannot be written")
    assert [path.name for path in tmp_path.iterdir()] == ["base"]
