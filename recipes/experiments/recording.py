"""Running an experiment and keeping what came out, one file of JSON an experiment, written after every training."""

import json
import os
import platform
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from reuse.recipes.experiments.experiment import Experiment, Figures

from reuse.errors import RunError
from reuse.intervals import mean_and_error

RECORD = Path("recipes") / "results"
ELSEWHERE = Path("runs") / "experiments"
LOOKS = Path("runs") / "quick"

Measure = Callable[..., Figures]
"""`(seed=…, **settings of a row) -> figures`."""


@dataclass(frozen=True)
class Record:
    """The measurements so far.

    Attributes:
        path: of the file.
        runs: one entry a training: `row`, `seed`, `date` and its figures.
        conclusions: lines that the recipe drew from them.
        machines: on which they were made, in order.
    """

    path: Path
    runs: tuple[dict[str, Any], ...] = ()
    conclusions: tuple[str, ...] = ()
    machines: tuple[dict[str, Any], ...] = ()

    def values(self, row: str, figure: str) -> list[float]:
        """Return a figure of a row, by seed."""
        ordered = sorted((run for run in self.runs if run["row"] == row), key=lambda run: int(run["seed"]))
        return [run[figure] for run in ordered]

    def means(self, figure: str) -> dict[str, float]:
        """Return the mean of a figure over the seeds, by row."""
        rows = dict.fromkeys(run["row"] for run in self.runs)
        return {row: mean_and_error(self.values(row, figure))[0] for row in rows}


def results_folder(quick: bool = False) -> Path:
    """Return where results go: into the record of a checkout, elsewhere into `runs`; quick looks always into `runs`."""
    if quick:
        return LOOKS
    return RECORD if RECORD.is_dir() else ELSEWHERE


def run_experiment(
    experiment: Experiment,
    measure: Measure,
    *,
    seeds: int,
    quick: bool = False,
    conclude: Callable[[Record], list[str]] | None = None,
    rows: Collection[str] | None = None,
) -> Record:
    """Measure every row with every seed, but for what the record holds already.

    Args:
        experiment: what to run.
        measure: trains one row with one seed.
        seeds: how many, from 0.
        quick: only a look: nothing goes into a checkout's record, and nothing is taken from an earlier look.
        conclude: draws lines for the table from the whole record.
        rows: names of those to measure now; None: all.

    Raises:
        RunError: the record was made with other settings.
    """
    path = results_folder(quick) / f"{experiment.name}.json"
    if quick:
        path.unlink(missing_ok=True)
    record = _opened(path, experiment)
    done = {(run["row"], run["seed"]) for run in record.runs}
    for seed in range(seeds):
        for row, settings in experiment.rows.items():
            if (rows is None or row in rows) and (row, seed) not in done:
                figures = {name: round(value, 9) for name, value in measure(seed=seed, **settings).items()}
                run = {"row": row, "seed": seed, "date": datetime.now(UTC).date().isoformat(), **figures}
                record = replace(record, runs=(*record.runs, run), machines=_with_this(record.machines))
                _write(record, experiment)
    record = replace(record, conclusions=tuple(conclude(record)) if conclude else ())
    _write(record, experiment)
    return record


def machine() -> dict[str, Any]:
    """Return what seconds depend on."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _with_this(machines: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
    this = machine()
    return machines if this in machines else (*machines, this)


def _opened(path: Path, experiment: Experiment) -> Record:
    if not path.exists():
        return Record(path)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        runs, rows = found["runs"], found["rows"]
        machines = found["machines"] if "machines" in found else [found["machine"]]  # as earlier versions wrote
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} is no record of an experiment ({error}): remove it") from error
    _refuse_other_settings(path, rows, experiment, {run["row"] for run in runs})
    return Record(path, tuple(runs), machines=tuple(machines))


def _refuse_other_settings(path: Path, rows: Mapping[str, Any], experiment: Experiment, measured: set[str]) -> None:
    now = json.loads(json.dumps(experiment.to_dict()["rows"]))  # as JSON gives them back: lists for tuples
    changed = sorted(row for row in measured if rows.get(row) != now.get(row))
    if changed:
        raise RunError(f"{path} was measured with other settings of {', '.join(changed)}: remove it, or their runs")


def _write(record: Record, experiment: Experiment) -> None:
    values = experiment.to_dict() | {
        "by": f"torch {torch.__version__}",
        "command": f"reuse recipes run {experiment.name}",
        "machines": list(record.machines),
        "conclusions": list(record.conclusions),
        "runs": list(record.runs),
    }
    record.path.parent.mkdir(parents=True, exist_ok=True)
    partial = record.path.with_suffix(".partial")
    partial.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(record.path)
