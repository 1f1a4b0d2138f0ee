"""Runs to report on, made once, and a browser to look at the page with."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reuse.finetuning.finetune import finetune
from reuse.pretraining.pretrain import pretrain
from reuse.reports.outcome import Outcome
from reuse.reports.record import RunRecord
from reuse.reports.subject import Subject, read_subject
from reuse.settings.uses import ReportArguments

CHROMIUM = Path("/usr/bin/chromium")
HOSTILE = ("<script>alert(1)</script>", "\"quoted\" & 'so'", "two\nlines\x1b[2J")
"""Names that would be markup, or end an attribute or a line."""


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs: `pre`, `frozen` and `free` of digits; `odd`, of images with hostile class names."""
    folder = tmp_path_factory.mktemp("reported")
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("REUSE_CACHE", str(folder / "cache"))
        pretrain(epochs=2, out=folder / "pre", model="mlp:30,20", pictures=False)
        settings: dict[str, Any] = {"data": "digits", "labels": 200, "epochs": 4, "learning_rate": 0.01}
        recorded: dict[str, Any] = {"watch": True, "train_metrics": True}
        finetune(folder / "pre", freeze="hidden1", out=folder / "frozen", unfreeze="3:all", **settings, **recorded)
        finetune(folder / "pre", out=folder / "free", **settings)
        write_pictures(folder / "odd.npz")
        pretrain("supervised", data=folder / "odd.npz", model="convnet:4", epochs=2, out=folder / "odd <b>")
    return folder


@pytest.fixture(scope="session")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a table of numbers and words that predicts a number."""
    folder = tmp_path_factory.mktemp("numbers")
    generator = np.random.default_rng(0)
    rows = [f"{a:.3f},{'xyz'[i % 3]},{3 * a + i % 3:.3f}" for i, a in enumerate(generator.normal(5, 2, 90))]
    (folder / "table.csv").write_text("\n".join(["size,kind,price", *rows]))
    pretrain("supervised", data=folder / "table.csv", target="price", model="mlp:8", epochs=3, out=folder / "run")
    return folder / "run"


@pytest.fixture(scope="session")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that gives rows several labels."""
    folder = tmp_path_factory.mktemp("labels")
    x = np.random.default_rng(0).normal(size=(90, 5)).astype(np.float32)
    y = (x[:, :3] > 0).astype(np.float32)
    np.savez(folder / "some.npz", x=x, y=y)
    pretrain("supervised", data=folder / "some.npz", model="mlp:8", task="multilabel", epochs=3, out=folder / "run")
    return folder / "run"


def write_pictures(path: Path) -> None:
    """Write images of three classes whose names are hostile."""
    generator = np.random.default_rng(0)
    y = np.arange(90) % 3
    x = generator.integers(0, 120, (90, 3, 8, 8)) + 40 * y[:, None, None, None]
    np.savez(path, x=x.astype(np.uint8), y=np.array(HOSTILE)[y])


def subject_of(path: Path, **settings: Any) -> Subject:
    """Return a run as a report sees it."""
    return read_subject(RunRecord.read(path, path.name), ReportArguments([path], **settings))


def outcome_of(path: Path) -> Outcome:
    """Return what a run predicts for its test rows."""
    outcome = subject_of(path).outcome
    assert outcome is not None
    return outcome


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium, driven by playwright."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright to drive a browser with")
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=str(CHROMIUM))
        yield opened
        opened.close()
