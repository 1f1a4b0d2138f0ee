"""What a result is taken for when it is read back."""

from pathlib import Path
from typing import Any

import pytest

from reuse.errors import RunError
from reuse.runs.folder import RunFolder
from reuse.runs.listing import list_runs
from reuse.runs.manifest import Manifest

OF_SWEEP: dict[str, Any] = {
    "run": "runs/a",
    "settings": {},
    "metric": "accuracy",
    "table": [{"head": "0", "accuracy": 0.5}],
    "best": {"number": 0},
    "epochs": {"0": 2, "50": 3},
    "sizes": {"train": 50},
    "seconds": {"cache": 0.1, "train": 1, "total": 2.0},
}
OF_SOUP: dict[str, Any] = {
    "run": "runs/a",
    "ingredients": ["runs/b", "runs/c"],
    "valid": {"accuracy": 0.5},
    "test": {"accuracy": 0.25, "loss": None},
    "rows": {"valid": 10, "test": 20},
}


@pytest.mark.parametrize(("kind", "result"), [("sweep", OF_SWEEP), ("soup", OF_SOUP)])
def test_every_kind_of_run_is_read_back_as_it_was_written(tmp_path: Path, kind: str, result: dict[str, Any]) -> None:
    run = RunFolder.create(kind, tmp_path / kind)
    run.write_manifest(Manifest(kind))
    run.write_result(result)
    assert run.result() == result
    (entry,) = list_runs(tmp_path)
    assert (entry.damage, entry.epochs) == ("", 3 if kind == "sweep" else 0)
    assert (entry.metric, entry.score) == (("accuracy", 0.25) if kind == "soup" else ("", None))


@pytest.mark.parametrize("absent", OF_SWEEP)
def test_an_entry_that_is_not_there_is_named(tmp_path: Path, absent: str) -> None:
    run = RunFolder.create("sweep", tmp_path / "sweep")
    run.write_manifest(Manifest("sweep"))
    run.write_result({name: value for name, value in OF_SWEEP.items() if name != absent})
    with pytest.raises(RunError, match=f"result.json is damaged .it does not say {absent}"):
        run.result()


def test_the_result_of_another_kind_is_refused(tmp_path: Path) -> None:
    run = RunFolder.create("finetune", tmp_path / "run")
    run.write_manifest(Manifest("sweep"))
    run.write_result(OF_SOUP)
    with pytest.raises(RunError, match="it does not say settings, metric"):
        run.result()
