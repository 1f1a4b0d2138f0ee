"""A sweep over layers: the linear probe of each, and of all together, on what one pass has computed of all."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from reuse.data.dataset import SPLITS
from reuse.features.feeding import feed_inputs
from reuse.nn.sides import BACKBONE, LinearBeside
from reuse.objectives.labelled import from_labels
from reuse.reporting import Reporter
from reuse.runs.folder import RunFolder
from reuse.runs.manifest import Manifest, PhaseRecord
from reuse.runs.results import Result
from reuse.runs.weights import save_weights
from reuse.searching.keeping import BEST
from reuse.searching.layer_stage import UNUSED, LayerSweep, begin_layers
from reuse.searching.layer_table import Probed, probe_layers
from reuse.searching.result import SweepResult
from reuse.settings.calling import Given, overridden
from reuse.settings.commands import FinetuneSettings, SweepArguments
from reuse.settings.files import plain_settings
from reuse.settings.setting import settings_of
from reuse.setup.finetuning import begin_manifest
from reuse.setup.tasks import Task
from reuse.training.evaluation import evaluate


def sweep_layers(arguments: SweepArguments, given: Given, reporter: Reporter, started: float) -> SweepResult:
    """Probe layers, each by itself and all together.

    Args:
        arguments: of the sweep.
        given: names of what the caller gave.
        reporter: told what is done.
        started: when the command began, in seconds of `time.perf_counter`.

    Raises:
        UsageError: a setting that probes have no use for, or a task that is no classification.
    """
    begun = begin_layers(arguments, given, reporter, started)
    cached = time.perf_counter()
    table = probe_layers(begun)
    begun.seconds["train"] = time.perf_counter() - cached
    best = max(range(len(table)), key=lambda number: table[number].probe.accuracy)
    run = RunFolder.create("sweep", arguments.out)
    resolved = _resolved(arguments, begun.task)
    run.write_settings("sweep", resolved)
    seconds = {**begun.seconds, "total": time.perf_counter() - started}
    seconds = {name: round(value, 4) for name, value in seconds.items()}
    kept = None if arguments.keep is None else str(_keep(run.path / BEST, begun, table[best], seconds))
    result = SweepResult(
        run=str(run.path),
        source=str(begun.task.settings.source),
        settings=resolved,
        metric="accuracy",
        table=[one.to_dict() for one in table],
        best={**table[best].to_dict(), "number": best, "test": table[best].tests},
        configurations=[],
        epochs={},
        sizes={"pool": len(begun.data.train), "test": len(begun.data.test)}
        if arguments.folds
        else begun.task.data.sizes,
        frozen=(BACKBONE,),
        frontier=[],
        cache=begun.cache,
        seconds=seconds,
        kept=kept,
    )
    run.write_manifest(Manifest("sweep", begun.data.task, data=begun.data.name, source=result.source))
    run.write_result(result.to_dict())
    return result


def _keep(folder: Path, begun: LayerSweep, best: Probed, seconds: dict[str, float]) -> Path:
    """Write a probe as a fine-tuning run of a linear layer beside the frozen network."""
    _fill(begun.whole, best)
    run, task = RunFolder.create("finetune", folder), begun.task
    save_weights(run, begun.whole)
    settings = plain_settings(task.settings)
    run.write_settings("finetune", settings)
    manifest = begin_manifest(task, begun.origins, task.data)
    run.write_manifest(replace(manifest, phases=(PhaseRecord(1, (BACKBONE,)),)))
    result = Result(
        run=str(run.path),
        source=str(task.settings.source),
        settings=settings,
        epochs=0,
        best_epoch=0,
        sizes=task.data.sizes,
        metrics={name: _measured(begun, name) for name in SPLITS},
        seconds=seconds,
        frozen=(BACKBONE,),
        restored=begun.origins.restored,
        fresh=begun.origins.fresh,
        frontier=(),
        cache=begun.cache,
        notes=(f"the linear probe of {best.layer}, {best.probe.kept} columns, penalty {best.probe.penalty:g}",),
    )
    run.write_result(result.to_dict())
    return run.path


@torch.no_grad()
def _fill(whole: LinearBeside, best: Probed) -> None:
    whole.output.weight.zero_()
    whole.output.weight[:, best.columns] = best.probe.weight.to(whole.output.weight)
    whole.output.bias.copy_(best.probe.bias)


def _measured(begun: LayerSweep, name: str) -> dict[str, float]:
    split = getattr(begun.task.data, name)
    if not len(split):
        return {}
    rows, targets = feed_inputs(begun.whole, begun.task.data, begun.compute).splits[name]
    objective, size = from_labels(begun.task.data, begun.task.settings), begun.task.settings.batch_size
    return evaluate(begun.whole, objective, rows, targets, batch_size=size)


def _resolved(arguments: SweepArguments, task: Task) -> dict[str, Any]:
    """Return the settings that probes have, filled in."""
    shared = settings_of(FinetuneSettings).keys() & settings_of(SweepArguments).keys() - UNUSED - {"freeze"}
    filled = plain_settings(overridden(arguments, task.settings, shared))
    return {name: value for name, value in filled.items() if name not in UNUSED}
