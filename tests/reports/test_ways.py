"""The comparison of a run with other ways of training."""

import json
import shutil
from pathlib import Path

import pytest

from reuse.finetuning.finetune import finetune
from reuse.reports.record import RunRecord
from reuse.reports.ways import ways_table


@pytest.mark.parametrize("draws", [1, 2])
def test_each_way_stands_with_its_intervals(draws: int, runs: Path, tmp_path: Path) -> None:
    settings = {"data": "digits", "labels": 40, "epochs": 1, "compare": True, "draws": draws}
    result = finetune(
        shutil.copytree(runs / "pre", tmp_path / "pre"), freeze="hidden1", out=tmp_path / "run", **settings
    )
    page = str(ways_table(RunRecord.read(tmp_path / "run", "run")))
    told = json.loads((tmp_path / "run" / "result.json").read_text())["comparison"]
    assert result.comparison.keys() == told.keys()
    for way, words in (("scratch", "from scratch"), ("frozen", "reused and frozen"), ("unfrozen", "reused, unfrozen")):
        accuracy = told[way]["accuracy"]
        shown = f"{accuracy:.4g}" if draws == 1 else f"{accuracy:.3f} ± {told[way]['accuracy_interval']:.3f}"
        assert f'<th scope="row">{words}</th>' in page
        assert f"<td>{shown}</td>" in page
    assert ("gain" in page) == (draws > 1)
    assert "_interval" not in page


def test_a_run_that_was_not_compared_has_none(runs: Path) -> None:
    assert ways_table(RunRecord.read(runs / "free", "free")) is None
