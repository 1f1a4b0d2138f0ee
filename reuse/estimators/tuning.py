"""A fine-tuning on arrays: by the commands' own training, in a run folder that nobody need see."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from reuse.data.dataset import SPLITS, Dataset
from reuse.data.preprocessing import Preprocessing
from reuse.data.row_weights import fitted_scale, relative_weights
from reuse.errors import UsageError
from reuse.estimators.rows import as_they_are, timm_preparation
from reuse.finetuning.finetune import tune
from reuse.hints import Hints
from reuse.layers.freezing import freeze
from reuse.nn.options import LayerOptions
from reuse.nn.recipe import ModelRecipe
from reuse.nn.specs import is_recurrent
from reuse.paths import cache_folder
from reuse.reporting import Reporter
from reuse.runs.folder import WEIGHTS, RunFolder
from reuse.runs.models import SavedModel, load_whole
from reuse.runs.results import Result
from reuse.runs.tensor_files import load_tensors_file
from reuse.seeding import seed_everything, untouched_random_state
from reuse.settings.calling import Given, carried
from reuse.settings.commands import FinetuneSettings
from reuse.settings.estimators import TransferSettings
from reuse.settings.setting import settings_of
from reuse.setup.data import load_data
from reuse.setup.inheriting import inherit
from reuse.setup.models import make_recipe
from reuse.setup.sources import Source, find_source, module_source
from reuse.setup.tasks import Task, source_preprocessing


@dataclass(frozen=True)
class LabelledRows:
    """Rows to learn from.

    Attributes:
        x: the rows.
        y: `(rows,)` int64 numbers of classes, or float64 `(rows, outputs)`.
        weights: how much each row counts; None: all alike.
        task: "classification" or "regression".
    """

    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray | None
    task: str


@dataclass(frozen=True)
class Tuned:
    """The outcome of a fine-tuning.

    Attributes:
        model: the trained model, with what stayed frozen in it frozen.
        result: what is said of the training.
    """

    model: SavedModel
    result: Result


def tune_on(rows: LabelledRows, settings: TransferSettings, seed: int) -> Tuned:
    """Fine-tune a source on rows, as the command does; random numbers of the caller's are left as they are.

    Args:
        rows: to learn from, and to choose the epoch by.
        settings: of the estimator.
        seed: of all that is drawn.

    Raises:
        UsageError, DataError, RunError: something given cannot be taken; the message says what to do.
    """
    with untouched_random_state(), _folder(settings.out) as folder:
        task = make_task(rows, settings, seed)
        result = tune(task, Reporter(), out=folder)
        network = task.recipe.build()
        load_whole(network, load_tensors_file(RunFolder(folder).path / WEIGHTS), folder)
    stayed = result.phases[-1]["frozen"]
    if stayed:
        freeze(network, list(stayed))
    data, layout = task.data, task.recipe.layout
    model = SavedModel(network, data.task, tuple(data.classes), data.preprocessing, data.target_scale, layout)
    return Tuned(model, replace(result, run="" if settings.out is None else str(settings.out)))


def make_task(rows: LabelledRows, settings: TransferSettings, seed: int) -> Task:
    """Return the task of a fine-tuning on rows that are in memory; `Task` of the commands reads files."""
    reporter = Reporter()
    wanted = _as_command(rows, settings, seed)
    source = _source(settings)
    resolved, spec = inherit(wanted, Given(), source)
    seed_everything(resolved.seed)
    preprocessing = _preparation(rows.x, settings, resolved, source, spec)
    caches = settings.cache and (settings.freeze or settings.auto_freeze)
    hints = Hints(cache_folder(settings.cache_dir), settings.cache_kind != "memory") if caches else None
    data = load_data(resolved.data, resolved, model=spec, seed=seed, preprocessing=preprocessing, hints=hints)
    data = data if rows.weights is None else _weighted(data, rows)
    recipe = _recipe(settings, resolved, data)
    started = reporter.start()
    return Task(resolved, source, recipe, data, None, hints, started, {"start": 0.0, "load": 0.0})


def _preparation(
    x: np.ndarray, settings: TransferSettings, resolved: FinetuneSettings, source: Source, spec: str
) -> Preprocessing:
    """Return how rows are prepared: as a source run did, as timm says, or not at all."""
    learned = None if source.manifest is None else source_preprocessing(resolved, source, spec)
    reads_steps = isinstance(settings.source, nn.Module) or is_recurrent(spec)
    return learned or timm_preparation(spec, x, settings.image_size) or as_they_are(x, reads_steps=reads_steps)


def _as_command(rows: LabelledRows, settings: TransferSettings, seed: int) -> FinetuneSettings:
    shared = settings_of(TransferSettings).keys() - {"source"}
    given = carried(settings, shared, FinetuneSettings)
    source = "module" if isinstance(settings.source, nn.Module) else settings.source
    return replace(
        given, source=source, data=(rows.x, rows.y), task=rows.task, test_fraction=0.0, seed=seed, compare=False
    )


def _source(settings: TransferSettings) -> Source:
    module = settings.source
    if not isinstance(module, nn.Module):
        return find_source(module)
    if settings.model is not None:
        raise UsageError(f"model is {settings.model!r}, and the source is a module: give one of the two")
    options = [name for name in settings_of(LayerOptions) if getattr(settings, name, None) is not None]
    if options:
        raise UsageError(f"{options[0]} is for layers that are built, and the source is a module: leave it out")
    return module_source(module)


def _recipe(settings: TransferSettings, resolved: FinetuneSettings, data: Dataset) -> ModelRecipe:
    if not isinstance(settings.source, nn.Module):
        return make_recipe(resolved, data)
    assert resolved.model is not None
    outputs = max(data.num_outputs, 1)
    return ModelRecipe(resolved.model, data.input_shape, outputs, LayerOptions(), module=settings.source)


def _weighted(data: Dataset, rows: LabelledRows) -> Dataset:
    """Return data whose rows count as they should, in the scale of numbers too."""
    assert rows.weights is not None
    weights = relative_weights(rows.weights, data.train.rows)
    splits = {name: getattr(data, name) for name in SPLITS}
    of_splits = {name: torch.from_numpy(weights[split.rows]) for name, split in splits.items()}
    data = replace(data, **{name: replace(split, weights=of_splits[name]) for name, split in splits.items()})
    if data.target_scale is None:
        return data
    scale = fitted_scale(rows.y, data.train.rows, weights)
    notes = [scale.note if note == data.target_scale.note else note for note in data.notes]
    return replace(data, target_scale=scale, notes=tuple(notes))


@contextmanager
def _folder(out: str | Path | None) -> Iterator[Path]:
    """Give the run folder: the one that is to be kept, else one in a temporary place."""
    if out is not None:
        yield Path(out)
        return
    with tempfile.TemporaryDirectory(prefix="reuse-") as folder:
        yield Path(folder) / "run"
