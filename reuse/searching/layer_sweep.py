"""A sweep over layers: the linear probe of each, and of all together, on what one pass has computed of all."""

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reuse.caching.cache import ActivationCache, cache_folder
from reuse.data.dataset import SPLITS, Dataset
from reuse.data.inputs import Inputs
from reuse.devices import Compute
from reuse.errors import UsageError
from reuse.features.feeding import feed_inputs
from reuse.features.layer_caches import LayerRows, rows_of_layers
from reuse.features.layer_taps import LayerTap, TapsTogether, taps_of
from reuse.heads.layer_probing import LabelledRows, Probe, interval, probe_layer, probe_together
from reuse.nn.sides import BACKBONE, LinearBeside
from reuse.nn.tapped import FEATURES
from reuse.objectives.labelled import from_labels
from reuse.reporting import Reporter
from reuse.runs.folder import RunFolder
from reuse.runs.manifest import Manifest, PhaseRecord
from reuse.runs.results import Result
from reuse.runs.weights import save_weights
from reuse.searching.folds import divide
from reuse.searching.grid import read_labels
from reuse.searching.keeping import BEST
from reuse.searching.result import SweepResult
from reuse.settings.calling import Given, carried, overridden
from reuse.settings.commands import FinetuneSettings, HeadSettings, SweepArguments
from reuse.settings.files import plain_settings
from reuse.settings.setting import settings_of
from reuse.setup.finetuning import begin_manifest, build_model
from reuse.setup.models import Origins, freeze_layers
from reuse.setup.tasks import Task, new_task
from reuse.training.evaluation import evaluate

TOGETHER = "all together"
UNUSED = {"head", "solver", "penalty", "metric", *settings_of(HeadSettings)}
"""Settings of heads that probes of layers have not."""


@dataclass(frozen=True)
class Probed:
    """One row of the table.

    Attributes:
        layer: its name, or that of all together.
        columns: where it stands among the columns of all layers.
        probe: what was solved for, as these columns take it.
        tested: how many test rows it gets right, of how many.
        validated: how many rows chose it.
    """

    layer: str
    columns: slice
    probe: Probe
    tested: tuple[int, int]
    validated: int

    @property
    def tests(self) -> dict[str, dict[str, float]]:
        """The accuracy on the test rows, with its standard error; empty where there are none."""
        correct, rows = self.tested
        if not rows:
            return {}
        share = correct / rows
        return {"accuracy": {"mean": share, "standard_error": math.sqrt(share * (1 - share) / rows)}}

    def to_dict(self) -> dict[str, Any]:
        """Return the row: accuracies on the validation and on the test rows, each with half its 95 % interval."""
        probe, (correct, rows) = self.probe, self.tested
        right = round(probe.accuracy * self.validated)
        tested = {"test_accuracy": correct / rows, "test_interval": _half(correct, rows)} if rows else {}
        return {
            "layer": self.layer,
            "width": self.columns.stop - self.columns.start,
            "kept": probe.kept,
            "penalty": probe.penalty,
            "accuracy": probe.accuracy,
            "interval": _half(right, self.validated),
            **tested,
        }


@dataclass(frozen=True)
class LayerSweep:
    """What probes of layers are made from.

    Attributes:
        task: the rows and the source.
        whole: the frozen network with a linear layer over what all layers give, into which a probe fits.
        origins: which layers are restored.
        compute: where and in which types.
        data: the same rows, those to learn from and to choose by together.
        taps: the layers.
        pool: what each layer gives for the rows.
        test: what each layer gives for the test rows.
        rows: the labels of the pool.
        cache: what the cache gave; None without one.
        seconds: what each part took.
    """

    task: Task
    whole: LinearBeside
    origins: Origins
    compute: Compute
    data: Dataset
    taps: list[LayerTap]
    pool: list[Tensor]
    test: list[Tensor]
    rows: LabelledRows
    cache: dict[str, Any] | None
    seconds: dict[str, float]


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
    begun = _begin(arguments, _settings(arguments, given), given, reporter, started)
    cached = time.perf_counter()
    table = _probed(begun)
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


def _settings(arguments: SweepArguments, given: Given) -> FinetuneSettings:
    """Return the settings of the fine-tuning that the best probe is kept as.

    Raises:
        UsageError: settings of heads that probes have not, or several numbers of labels.
    """
    refused = sorted(UNUSED & given)
    if refused:
        raise UsageError(f"probe_layers solves for linear probes of each layer and takes no {refused[0]}: leave it out")
    counts = read_labels(arguments.labels)
    if len(counts) > 1:
        raise UsageError(f"probe_layers takes one number of labels, and {len(counts)} are given: leave all but one out")
    layers = () if isinstance(arguments.probe_layers, bool) else arguments.probe_layers
    common = carried(arguments, given - {"labels"}, FinetuneSettings)
    side = f"linear:{arguments.probe_grid}"
    return replace(common, labels=counts[0], compare=False, side=side, side_layers=layers)


def _begin(
    arguments: SweepArguments, settings: FinetuneSettings, given: Given, reporter: Reporter, started: float
) -> LayerSweep:
    """Read the rows, restore and freeze the network, and compute what its layers give, as far as the cache lacks it."""
    called = time.perf_counter()
    task = new_task(settings, given, reporter, fresh_head=True)
    if task.data.task != "classification":
        raise UsageError(f"probes of layers tell classes apart, and the task is {task.data.task}: take no probe_layers")
    if task.data.train.weights is not None:
        raise UsageError("probes of layers count all rows alike: leave sample_weight out")
    labels = task.settings.labels
    drawn = {labels: (task.data.train.rows, task.data.valid.rows)}
    data, divisions = divide(task.data, drawn, arguments.folds, task.settings.seed)
    loaded = time.perf_counter()
    whole, origins, compute = build_model(task, reporter)
    assert isinstance(whole, LinearBeside)
    freeze_layers(whole, task.settings, origins.fresh, reporter)
    taps = taps_of(whole.backbone)
    pool, test = (_features(taps, one.inputs, task, compute, reporter) for one in (data.train, data.test))
    assert data.train.targets is not None
    rows = LabelledRows(data.train.targets, data.num_outputs, [(one.train, one.valid) for one in divisions])
    seconds = {"start": called - started, "load": loaded - called, "cache": time.perf_counter() - loaded}
    cache = _came_of_cache(pool.computed + test.computed, len(data.train) + len(data.test)) if settings.cache else None
    return LayerSweep(task, whole, origins, compute, data, taps, pool.outputs, test.outputs, rows, cache, seconds)


def _features(taps: list[LayerTap], inputs: Inputs, task: Task, compute: Compute, reporter: Reporter) -> LayerRows:
    """Return what each layer gives for some rows; nothing for none."""
    if not len(inputs):
        return LayerRows([], 0, [])
    storing, preprocessing = task.settings, task.data.preprocessing
    opened = ActivationCache(cache_folder(storing.cache_dir), storing.cache_budget) if storing.cache else None
    return rows_of_layers(
        taps, inputs, preprocessing, compute, opened, storing.cache_dtype, reporter, joining=TapsTogether
    )


def _probed(begun: LayerSweep) -> list[Probed]:
    """Return a row for each layer, the lowest first, and one for all together."""
    validated = sum(int(valid.sum()) for _, valid in begun.rows.divisions)
    start, table = 0, []
    for number, (tap, features) in enumerate(zip(begun.taps, begun.pool, strict=True)):
        columns, test = slice(start, start + features.shape[1]), begun.test[number] if begun.test else None
        table.append(
            _tested(_name(tap, begun.whole), columns, probe_layer(features, begun.rows), test, begun, validated)
        )
        start = columns.stop
    probe, test = probe_together(torch.cat(begun.pool, dim=1), begun.rows), None
    if begun.test:
        test = torch.cat(begun.test, dim=1)
    return [*table, _tested(TOGETHER, slice(0, start), probe, test, begun, validated)]


def _tested(name: str, columns: slice, probe: Probe, test: Tensor | None, begun: LayerSweep, validated: int) -> Probed:
    targets = begun.data.test.targets
    if test is None or targets is None:
        return Probed(name, columns, probe, (0, 0), validated)
    return Probed(name, columns, probe, (probe.correct(test, targets), len(test)), validated)


def _name(tap: LayerTap, whole: LinearBeside) -> str:
    """Return what a layer is called; one that gives the very features is called by its own name."""
    same = [whole.backbone.names[place] for place in sorted(whole.backbone.repeats)]
    return tap.name or (same[-1] if same else FEATURES)


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


def _came_of_cache(computed: int, rows: int) -> dict[str, Any]:
    """Return what the cache gave: how many rows went through the network, as some layer lacked them."""
    return {"hit": computed == 0, "rows": {"computed": computed, "found": rows - computed}}


def _resolved(arguments: SweepArguments, task: Task) -> dict[str, Any]:
    """Return the settings that probes have, filled in."""
    shared = settings_of(FinetuneSettings).keys() & settings_of(SweepArguments).keys() - UNUSED - {"freeze"}
    filled = plain_settings(overridden(arguments, task.settings, shared))
    return {name: value for name, value in filled.items() if name not in UNUSED}


def _half(correct: int, rows: int) -> float:
    low, high = interval(correct, rows)
    return (high - low) / 2
