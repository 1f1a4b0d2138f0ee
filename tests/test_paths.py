"""A leading `~` in a path is a home everywhere, as it is at a shell; no folder of that name appears."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.shell_completion import ShellComplete
from torch import nn, randn
from torch.utils.data import TensorDataset

import reuse
from reuse.cli.main import cli, main
from reuse.paths import cache_folder

X, Y = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32), np.arange(40) % 2


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a file of rows, and a run that began in a folder beside it."""
    home = tmp_path_factory.mktemp("home")
    np.savez(home / "rows.npz", x=X, y=Y)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.chdir(tmp_path_factory.mktemp("elsewhere"))
        settings: dict[str, Any] = {"model": "mlp:4,3", "epochs": 1, "pictures": False}
        reuse.pretrain("supervised", data="~/rows.npz", out="~/run", **settings)
        assert not list(Path.cwd().iterdir())
    return home


@pytest.fixture
def away(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is not the home."""
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REUSE_CACHE", "~/kept")
    return tmp_path


def tuned(**settings: Any) -> Any:
    """Fine-tune the run for an epoch."""
    return reuse.finetune("~/run", freeze="hidden1", data="~/rows.npz", epochs=1, **settings)


USES: dict[str, tuple[Callable[[], Any], str]] = {
    "finetune": (lambda: tuned(out="~/tuned"), "tuned/run.json"),
    "finetune to a Path": (lambda: tuned(out=Path("~/tuned2")), "tuned2/run.json"),
    "cache": (lambda: tuned(out="~/tuned3", cache_dir="~/other"), "other"),
    "cache of the environment": (lambda: tuned(out="~/tuned4"), "kept"),
    "predict": (lambda: reuse.predict("~/run", data="~/rows.npz"), "run"),
    "evaluate": (lambda: reuse.evaluate("~/run"), "run"),
    "model": (lambda: reuse.load_model("~/run").predict("~/rows.npz"), "run"),
    "export": (lambda: reuse.export("~/run", to="safetensors", out="~/exported"), "exported/README.md"),
    "report": (lambda: reuse.report(["~/run"], out="~/page.html"), "page.html"),
    "rate finding": (lambda: reuse.lr_find("~/run", data="~/rows.npz", plot="~/rates.png"), "rates.png"),
    "sweep": (
        lambda: reuse.sweep("~/run", freeze="!head", data="~/rows.npz", solver="logistic", keep="best", out="~/best"),
        "best",
    ),
    "ranking": (lambda: reuse.rank(["~/run"], data="~/rows.npz"), "kept"),
    "ensemble": (lambda: reuse.ensemble_runs(["~/run", "~/run"]), "run"),
    "soup": (lambda: reuse.soup_runs(["~/run", "~/run"], out="~/soup"), "soup/run.json"),
    "columns": (lambda: reuse.FrozenFeatures("~/run", cache_dir="~/columns").fit_transform(X), "columns"),
    "classifier": (lambda: reuse.TransferClassifier("~/run", epochs=1, out="~/fitted").fit(X, Y), "fitted/run.json"),
    "a loop of one's own": (
        lambda: reuse.cached(
            nn.Sequential(nn.Linear(5, 3), nn.Linear(3, 2)), TensorDataset(randn(8, 5)), freeze="0", cache_dir="~/loop"
        ),
        "loop",
    ),
}


@pytest.mark.parametrize("use", USES)
def test_from_python(use: str, away: Path, home: Path) -> None:
    call, made = USES[use]
    call()
    assert (home / made).exists()
    assert not (away / "~").exists()


@pytest.mark.parametrize(
    ("arguments", "made"),
    [
        (["finetune", "~/run", "--data=~/rows.npz", "--epochs=1", "--out=~/said"], "said/run.json"),
        (["predict", "~/run", "--data=~/rows.npz", "--out=~/rows.csv"], "rows.csv"),
        (["evaluate", "~/run", "--data=~/rows.npz"], "run"),
        (["inspect", "~/run"], "run"),
        (["report", "~/run", "--out=~/said.html"], "said.html"),
        (["runs", "list", "--root=~/"], "run"),
        (["ensemble", "~/run", "~/run", "--soup=uniform", "--out=~/soup2"], "soup2/run.json"),
        (["finetune", "~/run", "--data=~/rows.npz", "--config=~/one.toml", "--out=~/said2"], "said2/run.json"),
    ],
)
def test_at_the_command_line(arguments: list[str], made: str, away: Path, home: Path) -> None:
    (home / "one.toml").write_text("epochs = 1\n")
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 0
    assert (home / made).exists()
    assert not (away / "~").exists()


def test_what_lies_at_home_is_completed(away: Path, home: Path) -> None:
    tuned(out="~/tuned5")
    found = sorted(path.parent.name for path in cache_folder().glob("*/prefix.json"))
    assert cache_folder() == home / "kept"
    assert completed("cache", "clear", "") == found != []
    assert {"hidden1", "hidden2"} <= {*completed("finetune", "~/run", "--freeze", "hid")}


def completed(*words: str) -> list[str]:
    """Return the values that complete the last of some words."""
    found = ShellComplete(cli, {}, "reuse", "_REUSE_COMPLETE").get_completions(list(words[:-1]), words[-1])
    return [item.value for item in found if item.type == "plain"]


def test_what_is_nobodys_home_is_a_name(away: Path) -> None:
    tuned(out="~nobody-is-called-so/run")
    assert (away / "~nobody-is-called-so" / "run" / "run.json").exists()
