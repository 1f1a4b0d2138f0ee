"""What a cache spared is what a run without it would have computed: no more rows, and no more epochs."""

from pathlib import Path
from typing import Any

import pytest

from reports.conftest import subject_of
from reuse.reports.savings import describe_savings


def told(path: Path, monkeypatch: pytest.MonkeyPatch, **plan: Any) -> str:
    """Return the last sentence on a run as if its plan had been another."""
    record = subject_of(path).record
    assert record.result is not None
    result = {**record.result, "plan": {**record.result["plan"], **plan}, "seconds": {"cache": 2.0}}
    monkeypatch.setattr(type(record), "told", lambda _, name: result.get(name))
    return list(describe_savings(record))[-1]


def test_rows_that_are_measured_once_are_not_counted_in_each_epoch(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run has 3 epochs before all is unfrozen; an uncached epoch takes 10 seconds less those that stay."""
    said = told(runs / "frozen", monkeypatch, epochs=4, without_cache=40.0, later=4.0, frozen_seconds=500.0)
    assert "would have taken 27.0 s in 3 epochs" in said
    assert "25.0 s saved in this run" in said


def test_more_than_it_spares_is_said(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "1.0 s more in this run" in told(runs / "frozen", monkeypatch, epochs=3, without_cache=2.0, later=1.0)
