"""The page of techniques: every name in it trains one epoch."""

import random
import re
import shlex
import warnings
from pathlib import Path
from typing import Any

import pytest

from reuse.pretraining.pretrain import pretrain

PAGE = Path(__file__).resolve().parents[2] / "recipes" / "techniques.md"
BASE = "pretrain supervised --data digits --model mlp:20,10 --labels 60 --epochs 1"
# What trains longer by default than one needs to see that it trains.
SHORT = {
    "pretrain": "--model mlp:100,50,25 --epochs 1",
    "finetune": "runs/pretrain-1 --data digits --labels 60 --epochs 1",
    "ensemble": "",
    "predict": "",
    "lr-find": "",
    "sweep": "runs/pretrain-1 --data digits --labels 60",
}


def table() -> list[str]:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")][2:]
    return [span for row in rows for span in re.findall(r"`([^`]+)`", row.rstrip("|").rpartition("|")[2])]


def command(span: str) -> list[str]:
    """Return the arguments of a whole command for an entry; what it gives itself comes last and so counts."""
    if not span.startswith("reuse "):
        return shlex.split(f"{BASE} {span}")
    name, *given = shlex.split(span.removeprefix("reuse "))
    return [name, *shlex.split(SHORT[name]), *given]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the table's commands expect: a pretraining run, two runs to join, texts and word vectors."""
    folder = tmp_path_factory.mktemp("techniques")
    draw = random.Random(0)
    words = {"happy": ["good", "great", "fine"], "sad": ["bad", "awful", "poor"]}
    lines = [f"{' '.join(draw.choices([*words[mood], 'a', 'the'], k=6))},{mood}" for mood in ["happy", "sad"] * 40]
    (folder / "reviews.csv").write_text("\n".join(["review,mood", *lines]) + "\n")
    vectors = [f"{word} {draw.random():.3f} {draw.random():.3f}" for word in (*words["happy"], *words["sad"], "the")]
    (folder / "vectors.txt").write_text("\n".join(vectors) + "\n")
    (folder / "rates.py").write_text("def falling(epoch):\n    return 1 / (1 + epoch)\n")
    for name, dropout in (("with-dropout", 0.5), ("without", 0.0)):
        pretrain(
            "supervised",
            data="digits",
            model="mlp:20",
            labels=60,
            epochs=2,
            snapshots=1,
            dropout=dropout,
            out=folder / "runs" / name,
        )
    pretrain(data="digits", epochs=1, out=folder / "runs" / "pretrain-1")
    return folder


@pytest.mark.parametrize("span", table())
def test_every_name_trains(span: str, runs: Path, reuse: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # such as SELU's, of inputs that are not standardised
        result = reuse(*command(span))
    assert result.code == 0, result.err


def test_the_table_is_there() -> None:
    assert len(table()) > 130
