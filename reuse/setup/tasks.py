"""The task of a fine-tuning: settings filled in from the source, and the data; no model is built yet."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from reuse.augmenting.views import read_views
from reuse.caching.packing import choose_storage
from reuse.data.dataset import Dataset
from reuse.data.file_digests import FILE_DIGESTS
from reuse.data.preprocessing import Preprocessing
from reuse.errors import DataError, UsageError
from reuse.hints import Hints
from reuse.menus import lookup
from reuse.nn.recipe import ModelRecipe
from reuse.nn.word_vectors import WordVectors
from reuse.paths import cache_folder
from reuse.planning.plan import CACHE_KINDS
from reuse.reporting import Reporter
from reuse.runs.folder import RunFolder
from reuse.runs.manifest import Manifest
from reuse.seeding import seed_everything
from reuse.settings.calling import Given
from reuse.settings.commands import FinetuneSettings
from reuse.settings.setting import settings_of
from reuse.setup.data import check_same_data, load_data, preprocessing_for, tell_of
from reuse.setup.inheriting import describe_going_on, inherit, is_going_on
from reuse.setup.models import (
    make_recipe,
    read_embeddings,
)
from reuse.setup.modules import module_in, refuse_building, spec_of
from reuse.setup.seen_rows import note_seen_rows
from reuse.setup.siding import refuse_side, with_side
from reuse.setup.sources import Source, find_source, module_source
from reuse.setup.trainers import check_settings

# Where no data is named there is nothing to lose: few labels show best what reused layers are worth.
LABELS_WITHOUT_DATA = 30
"""With 50 the gain of layers that SimCLR has trained is within its interval for some seeds."""
EPOCHS_WITHOUT_DATA = 600
"""Of two batches each: a new head on frozen layers is far from done after the 200 of other trainings."""


@dataclass(frozen=True)
class Task:
    """The task of a fine-tuning: what is learned, from which layers and rows; no model is built yet.

    Attributes:
        settings: resolved: what the user left to the source is filled in.
        source: where layers come from; None where all weights come from the run itself.
        recipe: how the model is built.
        data: the rows.
        vectors: what the embedding layer is filled from at first; None for none.
        hints: what earlier runs found out, and this one does for later ones; None where nothing is cached.
        started: when the command began, in seconds of `time.perf_counter`.
        seconds: what was taken by the `start` of the command, its imports above all, and by the `load` of the data.
        compared: whether it is another training on the same rows, for comparison.
    """

    settings: FinetuneSettings
    source: Source | None
    recipe: ModelRecipe
    data: Dataset
    vectors: WordVectors | None
    hints: Hints | None
    started: float
    seconds: Mapping[str, float]
    compared: bool = False


def new_task(
    settings: FinetuneSettings,
    given: Given,
    reporter: Reporter,
    *,
    fresh_head: bool = False,
    caches: bool = True,
) -> Task:
    """Find the source, fill in the settings, and read the data.

    Args:
        settings: as given.
        given: names of what the caller gave.
        reporter: told of notes on the data.
        fresh_head: the output layer begins at random, also where the source has learned these very labels.
        caches: whether activations may be stored for it, so that a folder of the cache may be begun.

    Raises:
        UsageError, DataError, RunError: something given cannot be taken; the message says what to do.
    """
    started, called = reporter.start(), time.perf_counter()
    _check(settings)
    settings, source, module = _with_module(settings)
    refuse_side(source)
    resolved, model = inherit(with_side(settings), given, source)
    if not fresh_head and is_going_on(settings, source):
        resolved = replace(resolved, restore=("*",))
        reporter.line(describe_going_on(resolved, source))
    seed_everything(resolved.seed)
    preprocessing = source_preprocessing(resolved, source, module or model)
    begun, hints = time.perf_counter(), _hints(resolved, caches)
    if settings.data is None and not isinstance(source.settings, FinetuneSettings) and settings.labels is None:
        if "epochs" not in given:
            resolved = replace(resolved, epochs=EPOCHS_WITHOUT_DATA)
        resolved, data = _with_few_labels(resolved, model, preprocessing, hints, reporter)
    else:
        data = _load(resolved, model, preprocessing, resolved.labels, hints, reporter)
    data = replace(data, notes=(*data.notes, *note_seen_rows(resolved, source, data)))
    seconds = {"start": called - started, "load": time.perf_counter() - begun}
    config = _config(source.manifest if source.weights is not None else None, resolved)
    task = _task(resolved, source, data, hints, reporter, started, seconds, config)
    return replace(task, recipe=replace(task.recipe, module=module))


def resumed_task(settings: FinetuneSettings, run: RunFolder, reporter: Reporter) -> Task:
    """Read again what a run had been given; its weights are in its checkpoint.

    Args:
        settings: resolved, those of the run but for what is given now.
        run: to go on with.
        reporter: told of notes on the data.

    Raises:
        DataError: the data are not those that the run began with.
    """
    started, called = reporter.start(), time.perf_counter()
    _check(settings)
    model, giver = module_in(settings.model, "model"), module_in(settings.source, "source")
    settings = settings if model is None else replace(settings, model=spec_of(model))
    settings = settings if giver is None else replace(settings, source=spec_of(giver))
    seed_everything(settings.seed)
    assert settings.model is not None
    hints = _hints(settings)
    data = _load(settings, settings.model, run.manifest().preprocessing, settings.labels, hints, reporter)
    check_same_data(run, data)
    seconds = {"start": called - started, "load": time.perf_counter() - called}
    task = _task(settings, None, data, hints, reporter, started, seconds, _config(run.manifest(), settings))
    return replace(task, recipe=replace(task.recipe, module=model or giver))


def redrawn_task(task: Task, number: int) -> Task:
    """Return a task on the same source with another draw of labels: all is the same but for the seed, and what follows.

    Args:
        task: resolved.
        number: of the draw; that of the task is 0.
    """
    settings = replace(task.settings, seed=task.settings.seed + number, compare=False, draws=None)
    return new_task(settings, frozenset(settings_of(FinetuneSettings)), Reporter())


def task_with(task: Task, settings: FinetuneSettings) -> Task:
    """Return a task on the same source and rows with other settings, for comparison; the time begins anew."""
    anew = {**task.seconds, "start": 0.0}
    recipe = task.recipe if settings.side else task.recipe.bare
    return replace(task, settings=settings, recipe=recipe, started=time.perf_counter(), seconds=anew, compared=True)


def _with_module(settings: FinetuneSettings) -> tuple[FinetuneSettings, Source, nn.Module | None]:
    """Return settings without modules, the source, and the module that is the model, if Python gave one."""
    model, giver = module_in(settings.model, "model"), module_in(settings.source, "source")
    if giver is not None and (settings.draws or 1) > 1:
        raise UsageError("draws begin from the source anew, and a module was given, which has trained: leave draws out")
    source = find_source(settings.source) if giver is None else module_source(giver)
    settings = replace(settings, source=source.name)
    module = giver if model is None and settings.model is None else model
    if module is None:
        return settings, source, None
    refuse_building(settings)
    return replace(settings, model=spec_of(module), compare=False), source, module


def source_preprocessing(settings: FinetuneSettings, source: Source, model: str | nn.Module) -> Preprocessing | None:
    """Return the preprocessing of the source run, unless other pixels are asked for, else what the model brings."""
    own = preprocessing_for(model, settings.image_size, settings.channels)
    if source.manifest is None or source.manifest.preprocessing is None or source.settings is None:
        return own
    resized = settings.image_size != source.settings.image_size
    return own if resized or settings.channels != source.settings.channels else source.manifest.preprocessing


def _hints(settings: FinetuneSettings, begins: bool = True) -> Hints | None:
    caches = settings.cache and (settings.freeze or settings.auto_freeze)
    anew = frozenset({FILE_DIGESTS} if settings.rehash else ())
    begins = begins and settings.cache_kind != "memory"  # then nothing is written
    return Hints(cache_folder(settings.cache_dir), begins, anew) if caches else None


def _load(
    settings: FinetuneSettings,
    model: str,
    preprocessing: Preprocessing | None,
    labels: int | str | None,
    hints: Hints | None,
    reporter: Reporter,
) -> Dataset:
    return load_data(
        settings.data,
        settings,
        model=model,
        seed=settings.seed,
        labels=labels,
        preprocessing=preprocessing,
        hints=hints,
        decode_late=hints is not None,  # frozen layers take them one after the other, and later runs none
        reporter=reporter,
    )


def _with_few_labels(
    settings: FinetuneSettings,
    model: str,
    preprocessing: Preprocessing | None,
    hints: Hints | None,
    reporter: Reporter,
) -> tuple[FinetuneSettings, Dataset]:
    """Load the source's data with few labels, as none were named; with all of them where there are too few for that."""
    try:
        data = _load(settings, model, preprocessing, LABELS_WITHOUT_DATA, hints, reporter)
    except (DataError, UsageError):
        return settings, _load(settings, model, preprocessing, None, hints, reporter)
    sizes = f"{len(data.train)} train, {len(data.valid)} validation"
    reporter.line(
        f"No --data given: using {LABELS_WITHOUT_DATA} labels of {data.name} ({sizes}); --labels N draws others, "
        f"--data {data.name} takes all"
    )
    return replace(settings, labels=LABELS_WITHOUT_DATA), data


def _task(
    settings: FinetuneSettings,
    source: Source | None,
    data: Dataset,
    hints: Hints | None,
    reporter: Reporter,
    started: float,
    seconds: Mapping[str, float],
    config: Mapping[str, Any] | None,
) -> Task:
    tell_of(data, reporter)
    if data.task == "unlabelled":
        raise UsageError(f"{data.name} has no labels to fine-tune on: name them, for a table with --target NAME")
    settings, vectors = read_embeddings(settings, data)
    if vectors is not None:
        reporter.line(vectors.note)
    recipe = replace(make_recipe(settings, data, config), side=settings.side, side_layers=tuple(settings.side_layers))
    return Task(settings, source, recipe, data, vectors, hints, started, seconds)


def _config(manifest: Manifest | None, settings: FinetuneSettings) -> Mapping[str, Any] | None:
    """Return the configuration that a run keeps of a model of transformers, where the model is the run's."""
    recipe = manifest.model if manifest is not None else None
    return recipe.config if recipe is not None and recipe.spec == settings.model else None


def _check(settings: FinetuneSettings) -> None:
    check_settings(settings)
    if settings.cache_dtype is not None:
        choose_storage(settings.cache_dtype)
    lookup(CACHE_KINDS, settings.cache_kind, "cache kind")
    read_views(settings.augment, settings, alternate=settings.alternate)
