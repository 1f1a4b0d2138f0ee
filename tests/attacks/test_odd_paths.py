"""Names that lead in circles, to nobody's home or to files of the system's: one line in every command, exit code 2."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest

import reuse as reused
from reuse.errors import ReuseError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no links in circles")
SMALL = ("--data", "digits", "--labels", 60, "--epochs", 1)


@pytest.fixture
def tuned(reuse: Any, pretrained: Path) -> Path:
    """A run that learned with few labels; beside it a link to itself and a pipe."""
    assert reuse("finetune", pretrained, "--freeze", "hidden1", *SMALL, "--no-cache", "--out", "tuned").code == 0
    Path("loop").symlink_to("loop")
    os.mkfifo("pipe")
    return Path("tuned")


@pytest.mark.parametrize("name", ["loop", "~nobody-is-called-so/x", "pipe", "./loop/x"])
def test_a_name_that_leads_nowhere_is_one_line(reuse: Any, tuned: Path, name: str) -> None:
    for command in (
        ("report", name, "--out", "r.html"),
        ("evaluate", name),
        ("evaluate", tuned, "--data", name),
        ("predict", tuned, "--data", name, "--out", "p.csv"),
        ("finetune", name, *SMALL, "--freeze", "hidden1"),
        ("finetune", tuned, "--data", name, "--freeze", "hidden1"),
        ("pretrain", "--config", name),
        ("export", name, "--to", "torch"),
        ("pretrain", "supervised", "--model", f"hf:{name}", *SMALL),
    ):
        reuse(*command).is_refused(name.removeprefix("./"))


@pytest.mark.skipif(sys.platform != "linux", reason="a file of Linux's")
def test_a_file_of_the_system_is_no_weights_file(reuse: Any, tuned: Path) -> None:
    reuse("finetune", "/proc/self/mem", *SMALL).is_refused("/proc/self/mem", "weights file")


def test_a_character_of_number_0_is_in_no_name(tuned: Path) -> None:
    for call in (
        lambda: reused.predict(tuned, data="a\0b"),
        lambda: reused.pretrain(data="a\0b"),
        lambda: reused.finetune("a\0b", data="digits"),
        lambda: reused.pretrain(data="digits", out="a\0b"),
    ):
        with pytest.raises(ReuseError, match=r"a(\\x00|\\0)b"):
            call()


def test_the_doctor_looks_at_folders_as_far_as_it_may(reuse: Any) -> None:
    Path("cache/closed").mkdir(parents=True)
    Path("cache/file").write_bytes(bytes(3000))
    Path("cache/closed/loop").symlink_to("loop")
    Path("cache/zero").symlink_to("/dev/zero")
    Path("cache/closed").chmod(0)
    try:
        answer = reuse("doctor", "--cache-dir", "cache")
    finally:
        Path("cache/closed").chmod(0o700)
    assert answer.code == 0
    assert "3.0 KB" in answer.out
