"""Progress as a person sees it: bars on a terminal, lines elsewhere."""

import fcntl
import os
import pty
import re
import struct
import sys
import termios
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import reuse as package
from reuse.cli import progress
from reuse.cli.main import cli
from reuse.cli.printing import Printer
from reuse.reporting import Epoch, Progress, Reporter, Underway


class Heard(Reporter):
    """Keeps what is told of batches and rows."""

    def __init__(self) -> None:
        self.batches: list[Underway] = []
        self.losses: list[float] = []
        self.works: dict[str, list[int]] = {}

    def batch(self, underway: Underway, loss: Any) -> None:
        self.batches.append(underway)
        self.losses.append(loss())

    def rows(self, total: int, what: str, unit: str = "row") -> Any:
        counts = self.works.setdefault(what, [])

        class Work(Progress):
            def __enter__(self) -> Progress:
                return self

            def __exit__(self, *_: object) -> None:
                assert not counts or total

            def advance(self, rows: int, note: str = "") -> None:
                counts.append(rows)

        return Work()


def test_every_batch_of_a_training_is_told(tmp_path: Path) -> None:
    heard = Heard()
    package.pretrain(model="mlp:8", epochs=2, batch_size=500, out=tmp_path / "run", reporter=heard)
    assert [(told.number, told.done) for told in heard.batches] == [(n, d) for n in (1, 2) for d in (500, 1000, 1149)]
    assert {(told.epochs, told.rows) for told in heard.batches} == {(2, 1149)}
    assert all(0 < loss < 10 for loss in heard.losses)
    assert sum(heard.works["measuring"]) == 2 * 288 + 1149 + 288 + 360


def test_the_steps_of_a_range_test_are_told() -> None:
    heard = Heard()
    package.lr_find(objective="supervised", model="mlp:8", labels=100, steps=20, highest=1e-3, reporter=heard)
    assert heard.works["raising the rate"] == [1] * 20


def test_rows_that_are_predicted_measured_and_cached_are_told(finetuned: Path, tmp_path: Path) -> None:
    heard = Heard()
    rows = len(package.predict(finetuned, data="digits", batch_size=100, reporter=heard).numbers)
    assert sum(heard.works["predicting"]) == rows
    measured = package.evaluate(finetuned, reporter=heard)
    assert sum(heard.works["measuring"]) == measured.rows
    settings: dict[str, Any] = {"data": "digits", "labels": 50, "epochs": 1, "cache_kind": "disk", "compare": False}
    package.finetune("mlp:8", freeze="hidden1", cache_dir=tmp_path, out=tmp_path / "run", reporter=heard, **settings)
    assert sum(heard.works["caching activations"]) == 50 + 360


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line is due at once."""
    for name in ("EPOCH_SECONDS", "ROW_SECONDS", "MOST_SECONDS"):
        monkeypatch.setattr(progress, name, -1.0)


@pytest.mark.usefixtures("hasty")
def test_lines_tell_of_batches_where_there_is_no_terminal(reuse: Any) -> None:
    answer = reuse("pretrain", "--model", "mlp:8", "--epochs", 2, "--batch-size", 500)
    line = r"^epoch 1/2  1,000 of 1,149 rows  loss \d\.\d{4}  [\d,.]+ rows/s  [\d.]+ (ms|s) left at most$"
    assert re.search(line, answer.err, re.MULTILINE)
    assert re.search(r"^epoch 2/2  loss .* valid loss ", answer.err, re.MULTILINE)
    assert re.search(r"^measuring: 288 of 288 rows  ", answer.err, re.MULTILINE)
    assert re.search(r"^measuring: 1,149 rows in ", answer.err, re.MULTILINE)


@pytest.mark.usefixtures("hasty")
def test_lines_tell_of_a_range_test(reuse: Any) -> None:
    answer = reuse("lr-find", "--objective", "supervised", "--model", "mlp:8", "--labels", 100, "--steps", 20)
    assert re.search(r"^raising the rate: 2 of 20 steps  .* left  rate 2\.6e-07, loss ", answer.err, re.MULTILINE)


def test_lines_are_few(capsys: pytest.CaptureFixture[str]) -> None:
    printer = Printer()
    for number in range(1, 201):
        printer.batch(Underway(number, 200, 32, 64), lambda: 1.0)
        printer.epoch(Epoch(number, {"loss": 1.0}, {}, 0.001, 0.1), 200)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in lines] == ["1/200", "200/200"]


def seen(*arguments: str, columns: int, cwd: Path) -> str:
    """Return what a terminal of so many columns is sent by the program."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(cwd)
        os.execv(sys.executable, [sys.executable, "-m", "reuse", *arguments])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    shown = b""
    try:
        while part := os.read(terminal, 65536):
            shown += part
    except OSError:  # the other side is closed
        pass
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, shown.decode()
    return shown.decode()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_bar_on_a_narrow_terminal(tmp_path: Path) -> None:
    columns = 60
    shown = seen("pretrain", "--model", "mlp:8", "--epochs", "40", columns=columns, cwd=tmp_path)
    bars = [part for part in shown.split("\r") if part.startswith("epoch ")]
    assert any(re.match(r"epoch \d+/40 +\d+%\|.*\| +[\d.]+k? rows/s, \d\d:\d\d left, loss", bar) for bar in bars), shown
    assert max(map(len, bars)) <= columns
    assert shown.startswith("loading torch …")
    assert shown.splitlines()[-1].startswith("run folder: ")


def test_colours_and_cursor_movements_are_none_in_lines() -> None:
    shown = CliRunner().invoke(cli, ["--help"], color=True).output
    assert "\x1b" not in shown
