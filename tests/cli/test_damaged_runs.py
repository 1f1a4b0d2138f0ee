"""A run folder with a file that is missing, cut short or garbage, or that another version wrote."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def missing(path: Path) -> None:
    path.unlink()


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def cut_off_behind_a_line(path: Path) -> None:
    """What is left of a TOML file is one too."""
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def garbage(path: Path) -> None:
    path.write_bytes(b"\x00\xffgarbage\n" * 20)


DAMAGES = (missing, truncated, empty, garbage)


@pytest.fixture
def run(tmp_path: Path, finetuned: Path) -> Path:
    """A copy of a run, to be damaged."""
    return Path(shutil.copytree(finetuned, tmp_path / "run"))


@pytest.fixture
def source(tmp_path: Path, pretrained: Path) -> Path:
    """A copy of a pretraining run, to be damaged."""
    return Path(shutil.copytree(pretrained, tmp_path / "source"))


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["run.json", "settings.toml", "weights.safetensors"])
def test_using_a_damaged_run(reuse: Any, run: Path, name: str, damage: Callable[[Path], None]) -> None:
    damage(run / name)
    reuse("evaluate", run).is_refused(str(run))


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["run.json", "settings.toml", "weights.safetensors"])
def test_reusing_a_damaged_run(reuse: Any, source: Path, name: str, damage: Callable[[Path], None]) -> None:
    damage(source / name)
    reuse("finetune", source, "--freeze", "hidden1", "--epochs", 1).is_refused(str(source))


@pytest.mark.parametrize("damage", DAMAGES)
def test_resuming_from_a_damaged_checkpoint(reuse: Any, run: Path, damage: Callable[[Path], None]) -> None:
    files = sorted(path for path in (run / "checkpoint").rglob("*") if path.is_file())
    assert len(files) >= 3
    for path in files:
        whole = path.read_bytes()
        damage(path)
        reuse("finetune", "--resume", run, "--epochs", 12).is_refused(str(run))
        path.write_bytes(whole)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["run.json", "settings.toml"])
def test_resuming_a_damaged_run(reuse: Any, run: Path, name: str, damage: Callable[[Path], None]) -> None:
    damage(run / name)
    reuse("finetune", "--resume", run, "--epochs", 12).is_refused(str(run))


@pytest.mark.parametrize("entry", ["model", "preprocessing", "classes", "task", "format"])
def test_an_entry_is_missing(reuse: Any, run: Path, entry: str) -> None:
    manifest = json.loads((run / "run.json").read_text())
    del manifest[entry]
    (run / "run.json").write_text(json.dumps(manifest))
    reuse("evaluate", run).is_refused(str(run))


@pytest.mark.parametrize("entry", ["model", "preprocessing", "classes", "task"])
@pytest.mark.parametrize("value", [None, 7, "text", [1], {"kind": "vectors", "spec": 1}], ids=str)
def test_an_entry_is_of_another_kind(reuse: Any, run: Path, entry: str, value: object) -> None:
    manifest = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**manifest, entry: value}))
    reuse("evaluate", run).is_refused()


def test_a_run_of_another_version(reuse: Any, run: Path) -> None:
    manifest = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**manifest, "format": 99, "reuse": "7.0"}))
    for command in (("evaluate", run), ("finetune", run, "--data", "digits"), ("inspect", run), ("plan", run)):
        reuse(*command).is_refused("99", "7.0", "train it again")


def test_weights_of_another_model(reuse: Any, run: Path, source: Path) -> None:
    shutil.copy(source / "weights.safetensors", run / "weights.safetensors")
    reuse("evaluate", run).is_refused("output")


def test_settings_without_data(reuse: Any, run: Path) -> None:
    (run / "settings.toml").write_text('command = "finetune"\n')
    reuse("evaluate", run).is_refused("--data")
    (run / "settings.toml").write_text('command = "finetune"\ndata = "arrays"\n')
    reuse("evaluate", run).is_refused("arrays")


def test_a_file_instead_of_a_folder(reuse: Any, run: Path) -> None:
    reuse("evaluate", run / "run.json").is_refused("no run folder")


def test_a_run_that_names_code_is_not_run_unasked(reuse: Any, run: Path, tmp_path: Path) -> None:
    (tmp_path / "evil.py").write_text(
        f"open({str(tmp_path / 'ran')!r}, 'w')\ndef make(input_shape, num_outputs): ...\n"
    )
    manifest = json.loads((run / "run.json").read_text())
    manifest["model"]["spec"] = "evil:make"
    (run / "run.json").write_text(json.dumps(manifest))
    for command in (("evaluate", run), ("inspect", run), ("predict", run, "--data", "digits")):
        reuse(*command).is_refused("evil:make", "--trust")
    assert not (tmp_path / "ran").exists()


def test_settings_that_are_cut_off_behind_a_line_are_not_taken_for_all(reuse: Any, run: Path) -> None:
    cut_off_behind_a_line(run / "settings.toml")
    reuse("evaluate", run).is_refused("settings.toml", "does not end by naming its command")
    reuse("finetune", "--resume", run).is_refused("settings.toml")


def test_settings_of_another_command_are_named(reuse: Any, run: Path) -> None:
    path = run / "settings.toml"
    path.write_text('objective = "evil:build"\n' + path.read_text())
    reuse("finetune", "--resume", run).is_refused(str(run), "another command", "restore settings.toml")


def test_a_format_of_thousands_of_digits_is_shown_in_part(reuse: Any, run: Path) -> None:
    manifest = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(manifest | {"format": int("9" * 4000)}))
    assert len(reuse("evaluate", run).is_refused("999…", "train it again")) < 500


def test_data_that_name_no_path_are_refused(reuse: Any, run: Path) -> None:
    path = run / "settings.toml"
    others = [line for line in path.read_text().splitlines() if not line.startswith("data =")]
    path.write_text("\n".join(['data = "\\u0000"', *others]) + "\n")
    reuse("finetune", "--config", path, "--out", "again").is_refused("holds a character of number 0", "\\x00")
