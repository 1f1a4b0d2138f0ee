"""What a command leaves that fails: one line, JSON where that was asked for, an exit code."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from reuse.cli import main as program
from reuse.cli.failing import INTERRUPTED
from reuse.cli.main import COMMANDS

# A wrong input of each command, and of click's own checks.
WRONG = [
    ("pretrain", "--data", "digts"),
    ("pretrain", "--epochs", "many"),
    ("pretrain", "--nonsense"),
    ("finetune", "nothing/here"),
    ("finetune", "--config", "nowhere.toml"),
    ("inspect", "mpl:3"),
    ("inspect",),
    ("plan", "--out", "there"),
    ("lr-find", "--steps", 3),
    ("sweep", "nothing/here"),
    ("evaluate", "nothing/here"),
    ("predict", "nothing/here"),
    ("predict", "nothing/here", "--data", "digits"),
    ("ensemble",),
    ("ensemble", "a", "b"),
    ("runs", "prune"),
    ("runs", "lst"),
    ("cache", "clear", "abc", "--cache-dir", "nowhere"),
    ("cache", "prune", "--budget", "much"),
    ("recipes", "run", "nonsense"),
    ("doctor", "--nonsense"),
    ("report", "nothing/here"),
    ("export", "nothing/here", "--to", "onnx"),
    ("completion", "ksh"),
    ("rank",),
    ("rank", "nothing/here"),
    ("nonsense",),
]


@pytest.mark.parametrize("arguments", WRONG)
def test_errors_are_json_where_the_answer_would_be(reuse: Any, arguments: tuple[str, ...]) -> None:
    plain = reuse(*arguments)
    answer = reuse(*arguments, "--json")
    assert answer.code == plain.code == 2
    assert answer.json["exit_code"] == 2
    assert f"error: {answer.json['error']}" in answer.err
    assert not plain.out
    assert "Traceback" not in answer.err


def test_every_command_is_tried() -> None:
    assert {str(arguments[0]) for arguments in WRONG} >= set(COMMANDS)


def test_a_fault_of_the_program_is_json_and_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def faulty(*_: object, **__: object) -> None:
        raise KeyError("a fault")

    monkeypatch.setattr("reuse.runs.listing.list_runs", faulty)
    capsys.readouterr()
    with pytest.raises(KeyError):
        program.main(["runs", "list", "--json"])
    assert json.loads(capsys.readouterr().out) == {"error": "KeyError: 'a fault'", "exit_code": 1}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("pretrain", "--objective", "simclr"), ("objective is given without --objective", "reuse pretrain OBJECTIVE")),
        (("predict", "--data", "digits"), ("no run is named", "reuse predict RUN", "reuse runs list")),
        (("ensemble",), ("no run is named", "reuse ensemble RUN")),
        (("rank",), ("no source is given: reuse rank SOURCE, as in reuse rank timm:resnet18 ",)),
        (("inspect",), ("no model is given: reuse inspect MODEL, as in reuse inspect ",)),
        (("recipes", "run"), ("no name is given: reuse recipes run NAME, as in ",)),
        (("runs", "lst"), ("unknown command 'lst' of reuse runs: did you mean 'list'?",)),
        (("runs", "show"), ("unknown command 'show' of reuse runs: choose one of list, prune",)),
        (("nonsense",), ("unknown command 'nonsense': did you mean 'finetune' or 'ensemble'?",)),
        (("finetune", "resnet81", "--data", "digits"), ("resnet81", "'resnet18'")),
        (("pretrain", "--model", "mlp:4", "--device", "tpu"), ("device 'tpu' cannot be used: give auto, cpu",)),
        (
            ("inspect", "mlp:4", "--freeze", "[["),
            ("pattern '[[' matches no layer", "the uppermost are flatten, hidden1"),
        ),
        (("finetune", "--data", "all"), ("'all' names no data",)),
    ],
)
def test_what_newcomers_write_is_answered(
    reuse: Any, pretrained: Path, tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    shutil.copytree(pretrained, tmp_path / "runs" / "pretrained")
    reuse(*arguments).is_refused(*words)


@pytest.mark.parametrize("raised", [KeyboardInterrupt, click.exceptions.Abort])
def test_an_interruption_is_one_line(reuse: Any, monkeypatch: pytest.MonkeyPatch, raised: type[BaseException]) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr("reuse.runs.listing.list_runs", interrupted)
    answer = reuse("runs", "list", "--json")
    if raised is KeyboardInterrupt:
        assert answer.code == answer.json["exit_code"] == INTERRUPTED
        assert answer.err.strip() == answer.json["error"] == "interrupted: the same command begins again"
    else:
        assert (answer.code, answer.json["error"]) == (1, "aborted")


def started(folder: Path, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "reuse", *map(str, arguments)]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # one that is ignored would be handed on
    try:
        return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.fixture
def training(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = started(tmp_path, "pretrain", "--model", "mlp:8", "--epochs", 100_000, "--patience", 100_000)
    yield process
    process.kill()
    process.communicate()


def test_ctrl_c_in_a_training_says_how_to_go_on(training: subprocess.Popen[str], tmp_path: Path) -> None:
    assert training.stderr is not None
    for line in training.stderr:
        if line.startswith("epoch "):
            break
    time.sleep(0.2)
    training.send_signal(signal.SIGINT)
    _, err = training.communicate(timeout=60)
    last = err.splitlines()[-1]
    assert training.returncode == INTERRUPTED
    assert "interrupted after epoch" in last
    run = last.rpartition(" ")[2]
    assert f"go on with --resume {run}" in last
    assert (tmp_path / run / "checkpoint").is_dir()
    assert "Traceback" not in err


def test_ctrl_c_while_libraries_are_loaded_is_one_line(tmp_path: Path) -> None:
    process = started(tmp_path, "pretrain", "--epochs", 1)
    assert process.stderr is not None
    assert process.stderr.readline() == "loading torch …\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == INTERRUPTED
    assert not out
    assert err.strip().startswith("interrupted: the same command begins anew")
    assert len(err.strip().splitlines()) == 1


def test_a_closed_pipe_is_no_traceback(tmp_path: Path) -> None:
    with started(tmp_path, "recipes", "list") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def test_what_a_terminal_cannot_show_is_escaped(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "reuse", "ensemble", "--help"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert "RUN RUN\\u2026" in done.stdout


@pytest.mark.parametrize("group", ["", "cache", "runs", "recipes"])
def test_a_group_alone_shows_what_there_is(reuse: Any, group: str) -> None:
    answer = reuse(*filter(None, [group]))
    assert answer.code == 0
    assert answer.out.startswith("Usage: reuse")
    assert "\nCommands:\n" in answer.out


def test_the_first_line_comes_before_torch_and_not_where_a_program_reads(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom reuse.cli import saying\nsaying.announce(as_json=False)\n"
        "assert 'torch' not in sys.modules\nsaying.announce(as_json=True)\n"
        "sys.modules['torch'] = None\nsaying.announce(as_json=False)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "loading torch …\n")


def test_json_is_all_of_standard_output_where_a_cache_is_damaged(reuse: Any, tmp_path: Path) -> None:
    answer = reuse("cache", "verify", "--cache-dir", tmp_path / "none", "--json")
    assert json.loads(answer.out)["checked"] == 0
