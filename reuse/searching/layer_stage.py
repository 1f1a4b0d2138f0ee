"""What probes of layers begin from: rows, a frozen network, and what one pass has computed of all its layers."""

import time
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from reuse.caching.cache import ActivationCache
from reuse.data.dataset import Dataset
from reuse.data.inputs import Inputs
from reuse.devices import Compute
from reuse.errors import UsageError
from reuse.features.layer_caches import LayerRows, rows_of_layers
from reuse.features.layer_taps import LayerTap, TapsTogether, taps_of
from reuse.heads.layer_probing import ProbedRows
from reuse.nn.sides import LinearBeside
from reuse.paths import cache_folder
from reuse.reporting import Reporter
from reuse.searching.folds import divide
from reuse.searching.grid import read_labels
from reuse.settings.calling import Given, carried
from reuse.settings.commands import FinetuneSettings, HeadSettings, SweepArguments
from reuse.settings.setting import settings_of
from reuse.setup.finetuning import build_model
from reuse.setup.models import Origins, freeze_layers
from reuse.setup.tasks import Task, new_task

UNUSED = {"head", "solver", "penalty", "metric", *settings_of(HeadSettings)}
"""Settings of heads that probes of layers have not."""


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
    rows: ProbedRows
    cache: dict[str, Any] | None
    seconds: dict[str, float]


def begin_layers(arguments: SweepArguments, given: Given, reporter: Reporter, started: float) -> LayerSweep:
    """Read the rows, restore and freeze the network, and compute what its layers give, as far as the cache lacks it.

    Args:
        arguments: of the sweep.
        given: names of what the caller gave.
        reporter: told what is done.
        started: when the command began, in seconds of `time.perf_counter`.

    Raises:
        UsageError: a setting that probes have no use for, or a task that is no classification.
    """
    settings, called = _settings(arguments, given), time.perf_counter()
    task = new_task(settings, given, reporter, fresh_head=True)
    if task.data.task != "classification":
        raise UsageError(f"probes of layers tell classes apart, and the task is {task.data.task}: take no probe_layers")
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
    rows = ProbedRows(
        data.train.targets, data.num_outputs, [(one.train, one.valid) for one in divisions], data.train.weights
    )
    seconds = {"start": called - started, "load": loaded - called, "cache": time.perf_counter() - loaded}
    cache = _came_of_cache(pool.computed + test.computed, len(data.train) + len(data.test)) if settings.cache else None
    return LayerSweep(task, whole, origins, compute, data, taps, pool.outputs, test.outputs, rows, cache, seconds)


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


def _features(taps: list[LayerTap], inputs: Inputs, task: Task, compute: Compute, reporter: Reporter) -> LayerRows:
    """Return what each layer gives for some rows; nothing for none."""
    if not len(inputs):
        return LayerRows([], 0, [])
    storing, preprocessing = task.settings, task.data.preprocessing
    opened = ActivationCache(cache_folder(storing.cache_dir), storing.cache_budget) if storing.cache else None
    return rows_of_layers(
        taps, inputs, preprocessing, compute, opened, storing.cache_dtype, reporter, joining=TapsTogether
    )


def _came_of_cache(computed: int, rows: int) -> dict[str, Any]:
    """Return what the cache gave: how many rows went through the network, as some layer lacked them."""
    return {"hit": computed == 0, "rows": {"computed": computed, "found": rows - computed}}
