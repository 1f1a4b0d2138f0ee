"""`reuse lr-find`: a table and a proposal, or JSON; its options are those of the trainings."""

from pathlib import Path
from typing import Any

import pytest

from reuse.cli.rate_finding import lr_find
from reuse.settings.commands import FinetuneSettings, PretrainSettings
from reuse.settings.setting import settings_of


def test_a_table_and_a_proposal(reuse: Any, pretrained: Path) -> None:
    answer = reuse("lr-find", pretrained, "--freeze", "hidden1", "--data", "digits", "--steps", 60)
    assert answer.code == 0
    lines = answer.out.splitlines()
    assert lines[0].split() == ["rate", "loss", "running", "mean"]
    assert len(lines) == 14
    assert "proposal: --learning-rate " in lines[-1]
    assert float(lines[-1].split()[-1]) < 1


def test_json_of_a_pretraining_with_its_picture(reuse: Any) -> None:
    pytest.importorskip("matplotlib")
    answer = reuse(
        "lr-find", "--objective", "autoencoder", "--data", "iris", "--model", "mlp:4", "--steps", 40, "--highest", 1,
        "--plot", "rates.png", "--json",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    found = answer.json
    assert len(found["rates"]) == len(found["losses"]) == len(found["smoothed"]) <= 40
    assert found["proposal"] == pytest.approx(found["turn"] / 10)
    assert found["plot"] == "rates.png"
    assert Path("rates.png").exists()


def test_it_takes_every_option_that_has_a_meaning() -> None:
    names = [option.name for option in lr_find.params]
    assert len(names) == len(set(names))
    assert {"objective", "noise", "freeze", "optimizer", "lowest", "highest", "steps", "plot"} <= set(names)
    theirs = settings_of(PretrainSettings).keys() | settings_of(FinetuneSettings).keys()
    phases = {
        "unfreeze",
        "unfreeze_warmup",
        "auto_freeze",
        "auto_freeze_every",
        "compare",
        "draws",
        "side",
        "side_layers",
    }
    cache = {"cache", "cache_dir", "cache_dtype", "cache_budget", "cache_kind", "rehash", "views", "refresh_views"}
    assert theirs - set(names) == phases | cache | {
        "feature_noise",
        "learning_rate",
        "watch",
        "tensorboard",
        "snapshots",
        "pictures",
        "probe_every",
        "stop_on",
    }


def test_bad_bounds_are_one_line(reuse: Any) -> None:
    reuse("lr-find", "mlp:4", "--data", "iris", "--lowest", 0).is_refused("rates above 0")
