"""One training a run folder: others are refused while it lasts, and by nothing that is left of it."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from reuse.errors import ReuseError, UsageError
from reuse.finetuning.finetune import finetune
from reuse.pretraining.pretrain import pretrain
from reuse.runs.claiming import claimed, is_claimed
from reuse.runs.folder import RunFolder
from reuse.settings.run import RunSettings

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="folders have no locks there")

SMALL: dict[str, Any] = {"data": "digits", "labels": 40, "epochs": 1}


@contextmanager
def other_process(work: Callable[[], object]) -> Iterator[int]:
    """Do something in another process, which then waits to be killed."""
    done, told = os.pipe()
    child = os.fork()
    if not child:
        try:
            work()
            os.write(told, b".")
            time.sleep(60)
        finally:
            os._exit(1)
    assert os.read(done, 1) == b"."
    try:
        yield child
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(done)
        os.close(told)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of a moment."""
    monkeypatch.chdir(tmp_path)
    pretrain("supervised", model="mlp:4", out="run", **SMALL)
    return Path("run")


def test_nobody_goes_on_with_a_run_that_is_trained(run: Path) -> None:
    finetune(run, freeze="hidden1", out="tuned", cache=False, **SMALL)
    for folder, go_on in ((run, pretrain), (Path("tuned"), finetune)):
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        with claimed(folder), pytest.raises(UsageError, match=f"is training in {folder} .*wait until it is done$"):
            go_on(resume=folder, epochs=2)
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
        assert go_on(resume=folder, epochs=2).epochs == 2
        assert not is_claimed(folder)


@pytest.mark.parametrize("is_empty", [True, False])
def test_nobody_begins_in_a_folder_that_is_trained_in(run: Path, is_empty: bool) -> None:
    """Neither before the other's first record, when the folder was said to be left over, nor after it."""
    out = Path("out") if is_empty else run
    out.mkdir(exist_ok=True)
    with claimed(out), pytest.raises(UsageError, match=r"is training in .*wait.*, or give another --out"):
        pretrain("supervised", model="mlp:4", out=out, **SMALL)
    with claimed(out), pytest.raises(UsageError, match="is training in"):
        finetune(run, freeze="hidden1", out=out, cache=False, **SMALL)


def test_of_two_that_begin_in_one_folder_the_second_finds_it_in_use(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one begins and is done between the look at the folder and the lock on it."""
    real = RunFolder.create

    def overtaken(kind: str, out: str | Path | None = None) -> RunFolder:
        made = real(kind, out)
        (made.path / "run.json").write_text("of another")
        return made

    monkeypatch.setattr(RunFolder, "create", overtaken)
    with pytest.raises(UsageError, match="out is in use: give another --out"):
        pretrain("supervised", model="mlp:4", out="out", **SMALL)
    assert [path.name for path in Path("out").iterdir()] == ["run.json"]
    assert Path("out/run.json").read_text() == "of another"


def test_a_run_goes_on_in_its_own_folder_and_no_other(run: Path) -> None:
    with pytest.raises(UsageError, match="resume='run' goes on in that folder, and out='other' names another"):
        pretrain(resume=run, out="other", epochs=2)
    assert pretrain(resume=run, out="./run", epochs=2).epochs == 2


def test_a_folder_is_the_same_however_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to("run")
    for out in ("other/../run", tmp_path / "run", "~/run", "link", "run/"):
        assert RunSettings(out=out, resume="run").resume == "run"
    with pytest.raises(UsageError, match="names another"):
        RunSettings(out="~run", resume="run")


def test_a_run_that_begins_elsewhere_is_not_said_to_be_left_over(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").mkdir()
    with claimed(tmp_path), pytest.raises(ReuseError, match="is training in"):
        RunFolder.open(tmp_path)
    with pytest.raises(ReuseError, match="ended before its first record"):
        RunFolder.open(tmp_path)


def test_a_process_that_is_killed_leaves_no_lock(run: Path) -> None:
    with other_process(claimed(run).__enter__):
        assert is_claimed(run)
        with pytest.raises(UsageError, match="is training in"):
            pretrain(resume=run, epochs=2)
    assert not is_claimed(run)
    assert pretrain(resume=run, epochs=2).epochs == 2
    assert not list(run.glob("*lock*"))


def test_what_was_forked_meanwhile_holds_no_lock(run: Path) -> None:
    with claimed(run):
        child = os.fork()
        if not child:
            time.sleep(60)
            os._exit(0)
    try:
        assert not is_claimed(run)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_who_asks_keeps_nobody_out(run: Path) -> None:
    def ask() -> None:
        until = time.monotonic() + 1
        while time.monotonic() < until:
            is_claimed(run)

    child = os.fork()
    if not child:
        ask()
        os._exit(0)
    for _ in range(20):
        with claimed(run):
            time.sleep(0.005)
    os.waitpid(child, 0)


def test_who_asks_is_not_taken_for_one_who_trains(tmp_path: Path) -> None:
    import fcntl

    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)  # as another who asks holds it for a moment
    assert not is_claimed(tmp_path)
    os.close(descriptor)
