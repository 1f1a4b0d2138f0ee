"""Names of files, columns and classes that move a cursor, forge a line or compute in a spreadsheet."""

import csv
import io
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import reuse
from limited import Answer, answers
from reuse.errors import DataError, ReuseError
from reuse.escaping import escaped, spreadsheet_cell

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="names of files are bytes there")

CLASSES = (
    "cat\nerror: forged",
    "\x1b[2J\x1b[1;1Hgone",
    "=1+1",
    "+cmd|' C calc'!A0",
    "@SUM(A1:A9)",
    "-2+3",
    "  =2+2",
    "back\rwards",
    "\u202egnp.exe",
    "plain",
    os.fsdecode(b"not \xff UTF-8"),
)
TABLE = ("=1+1", "\x1b[31mred", "dog\nwarning: forged")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of images in classes of these names, a table with such columns, and what cannot be read."""
    folder, rng = tmp_path_factory.mktemp("names"), np.random.default_rng(0)
    for name in CLASSES:
        (folder / "images" / name).mkdir(parents=True)
        for number in range(6):
            picture = Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8))
            picture.save(folder / "images" / name / f"{number}\x1b[A.png")
    (folder / "broken" / "a").mkdir(parents=True)
    (folder / "broken" / "a" / "x\x1b[2J\nerror: forged.png").write_bytes(b"no image")
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["a\x1b[2J", "b\nerror: forged", "target"])
        writer.writerows([[*rng.random(2), TABLE[number % 3]] for number in range(60)])
    return folder


def commands() -> dict[str, tuple[Any, ...]]:
    data = ("--data", "images", "--image-size", 8)
    model = ("--model", "mlp:4", "--epochs", 1)
    kept = ("--keep", "best", "--out", "s\n\x1b[A")
    return {
        "images": ("pretrain", "supervised", *data, *model, "--out", "run\x1b[2J"),
        "evaluate": ("evaluate", "run\x1b[2J"),
        "predict": ("predict", "run\x1b[2J", "--data", "images"),
        "raw": ("predict", "run\x1b[2J", "--data", "images", "--raw"),
        "written": ("predict", "run\x1b[2J", "--data", "images", "--out", "predictions.csv"),
        "table": ("pretrain", "supervised", "--data", "table.csv", *model, "--out", "tabled"),
        "of table": ("predict", "tabled", "--data", "table.csv"),
        "unknown class": ("pretrain", "supervised", *data, *model, "--classes", "ca\x1bt"),
        "broken": ("pretrain", "--data", "broken", "--image-size", 8, *model),
        "no file": ("pretrain", "--data", "a/no\x1b[2J\nerror: forged"),
        "column": ("pretrain", "supervised", "--data", "table.csv", *model, "--target", "z\x1b"),
        "run": ("evaluate", "no\x1b[2Jrun"),
        "command": ("evalu\x1b[2Jate",),
        "option": ("evaluate", "--\x1b[2J"),
        "inspect": ("inspect", "run\x1b[2J"),
        "finetuned": ("finetune", "run\x1b[2J", "--freeze", "hidden1", *data, "--epochs", 1, "--cache-dir", "c\x1b[2J"),
        "cache": ("cache", "list", "--cache-dir", "c\x1b[2J"),
        "cache verify": ("cache", "verify", "--cache-dir", "c\x1b[2J"),
        "cache why": ("cache", "why", "run\x1b[2J", "--freeze", "hidden1", *data, "--cache-dir", "c\x1b[2J"),
        "cache clear": ("cache", "clear", "\x1b[2J", "--cache-dir", "c\x1b[2J"),
        "cache clear all": ("cache", "clear", "--cache-dir", "c\x1b[2J"),
        "cache prune": ("cache", "prune", "--budget", "1KB", "--cache-dir", "c\x1b[2J"),
        "plan": ("plan", "run\x1b[2J", "--freeze", "hidden1", *data, "--cache-dir", "c\x1b[2J"),
        "rates": ("lr-find", "run\x1b[2J", *data, "--steps", 20),
        "sweep": ("sweep", "run\x1b[2J", "--freeze", "hidden1", *data, "--epochs", 1, *kept),
        "ensemble": ("ensemble", "run\x1b[2J", "s\n\x1b[A/best"),
        "soup": ("ensemble", "run\x1b[2J", "s\n\x1b[A/best", "--soup", "greedy", "--out", "soup\x1b[2J"),
        "report": ("report", "run\x1b[2J", "s\n\x1b[A/best", "--out", "r\x1b[2J.html"),
        "runs": ("runs", "list", "--root", "."),
        "pruned": ("runs", "prune", "s\n\x1b[A", "--yes"),
        "pruned none": ("runs", "prune", "n\x1b[2J\nerror: forged", "--yes"),
        "resumed": ("pretrain", "--resume", "run\x1b[2J", "--epochs", 2),
        "config": ("pretrain", "--config", "x\x1b[2J.toml"),
        "code": ("pretrain", "--model", "a\x1b[2J:b"),
        "recipe": ("recipes", "run", "x\x1b[2J"),
        "freeze": ("finetune", "run\x1b[2J", "--freeze", "h\x1b[2J", *data),
    }


@pytest.fixture(scope="module")
def found(place: Path) -> dict[str, Answer]:
    """What the commands answer."""
    return dict(zip(commands(), answers(list(commands().values()), place), strict=True))


@pytest.mark.parametrize("name", commands())
def test_what_reaches_the_terminal_is_printable(found: dict[str, Answer], name: str) -> None:
    answer = found[name]
    assert answer.code in (0, 2), answer.err
    lines = answer.err.split("\n") + ([] if name == "raw" else answer.out.split("\n"))
    assert [line for line in lines if not line.isprintable()] == []
    assert sum(line.startswith("error:") for line in lines) == (answer.code == 2)
    assert not any(line.startswith("warning: forged") for line in lines)


@pytest.mark.parametrize("name", ["unknown class", "broken", "no file", "column", "run", "command", "option"])
def test_a_message_shows_a_name_escaped(found: dict[str, Answer], name: str) -> None:
    assert "\\x1b" in found[name].refusal()


def test_commands_do_what_they_are_to_do_with_such_names(found: dict[str, Answer]) -> None:
    refused = {name for name, answer in found.items() if answer.code != 0}
    assert refused == {
        *("unknown class", "broken", "no file", "column", "run", "command", "option", "cache clear", "cache clear all"),
        *("pruned none", "config", "code", "recipe", "freeze"),
    }


def test_what_is_predicted_is_safe_in_a_spreadsheet(found: dict[str, Answer], place: Path) -> None:
    printed = list(csv.reader(io.StringIO(found["predict"].out)))
    assert len(printed) == 1 + 6 * len(CLASSES)
    for cell in (cell for line in printed for cell in line):
        assert cell.isprintable()
        assert not cell.lstrip().startswith(("=", "+", "-", "@"))
    with (place / "predictions.csv").open(newline="") as file:
        assert list(csv.reader(file)) == printed
    raw = list(csv.reader(io.StringIO(found["raw"].out)))
    assert {name.removeprefix("probability ") for name in raw[0][3:]} == set(CLASSES)
    assert {line[2] for line in raw[1:]} <= set(CLASSES)
    assert [[spreadsheet_cell(cell) for cell in line] for line in raw] == printed


def test_names_stay_what_they_are_in_python(found: dict[str, Answer], place: Path) -> None:
    assert found["images"].code == 0
    assert set(reuse.load_model(place / "run\x1b[2J").classes) == set(CLASSES)
    assert set(reuse.load_model(place / "tabled").classes) == set(TABLE)


def test_a_message_in_python_moves_no_cursor() -> None:
    assert str(ReuseError("a\x1b[2Jb\nc")) == "a\\x1b[2Jb\nc"
    with pytest.raises(DataError, match=r"no\\x1b"):
        reuse.load("a/no\x1b")


@pytest.mark.parametrize("text", ["-1.5", "+3", "1e-5", "-.5", "cat", "crème brûlée", "猫", "می\u200cخواهم", "", "a=b"])
def test_numbers_and_words_stay_as_they_are(text: str) -> None:
    assert spreadsheet_cell(text) == text
    assert escaped(text) == text


@pytest.mark.parametrize("name", ["x" * 300, "/".join(["y" * 200] * 25)])
def test_a_cache_whose_name_is_too_long_is_refused_before_a_run_begins(
    reuse: Any, pretrained: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "exists", os.path.exists)  # raises nothing, as from Python 3.14 on
    command = ("finetune", pretrained, "--freeze", "hidden1", "--data", "digits", "--epochs", 1, "--out", "tuned")
    reuse(*command, "--cache-dir", name).is_refused("cache-dir", "too long", "shorter")
    assert not Path("tuned").exists()
    assert reuse(*command, "--cache-dir", "z" * 200).code == 0
