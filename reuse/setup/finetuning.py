"""From the settings of a fine-tuning to its task, source and data, and from the task to a model that is ready to train.

Tuning, its plan, the search for its rate and sweeps all begin here, so that they refuse the same things; nothing is
written.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from reuse.augmenting.views import read_views
from reuse.data.dataset import Dataset
from reuse.data.preprocessing import Preprocessing
from reuse.devices import Compute
from reuse.errors import DataError, UsageError
from reuse.layers.freezing import Freezing
from reuse.layers.selecting import select
from reuse.nn.recipe import ModelRecipe
from reuse.nn.specs import add_layers, drop_layers
from reuse.nn.word_vectors import WordVectors
from reuse.objectives.menu import from_labels
from reuse.objectives.objective import Objective
from reuse.reporting import Reporter
from reuse.runs.checkpoints import kept_anchors
from reuse.runs.folder import RunFolder
from reuse.runs.manifest import Manifest
from reuse.seeding import seed_everything
from reuse.settings.commands import FinetuneSettings
from reuse.settings.files import ARRAYS
from reuse.setup.auto_freezing import check_auto_freeze, describe_auto_freeze, make_settling
from reuse.setup.data import check_same_data, data_digests, load_data, preprocessing_for
from reuse.setup.models import (
    Origins,
    describe_model,
    freeze_layers,
    make_recipe,
    origins_of_timm,
    read_embeddings,
    restore,
    reused_weights,
    uppermost_layers,
    with_model_options,
)
from reuse.setup.sources import Source, find_source
from reuse.setup.trainers import (
    TuningParts,
    check_settings,
    choose_compute,
    trainer_arguments,
)
from reuse.training.phases import Phase, read_phases

# Where no data is named there is nothing to lose: few labels show best what reused layers are worth.
LABELS_WITHOUT_DATA = 100


@dataclass(frozen=True)
class Task:
    """The task of a fine-tuning: what is learned, from which layers and rows; no model is built yet.

    Attributes:
        settings: resolved: what the user left to the source is filled in.
        source: where layers come from; None where all weights come from the run itself.
        recipe: how the model is built.
        data: the rows.
        vectors: what the embedding layer is filled from at first; None for none.
        started: when the command began, in seconds of `time.perf_counter`.
        load_seconds: what reading took.
    """

    settings: FinetuneSettings
    source: Source | None
    recipe: ModelRecipe
    data: Dataset
    vectors: WordVectors | None
    started: float
    load_seconds: float


@dataclass(frozen=True)
class FinetuneSetup:
    """A fine-tuning that is ready to train.

    Attributes:
        task: what it works on.
        model: on its device and in its type, with the source's weights, frozen as in the first phase.
        origins: which of its layers hold the source's weights.
        freezing: what is frozen in the first phase.
        phases: which layers train from which epoch on.
        objective: what is minimised.
        compute: where and in which types.
        anchors: what `l2_sp` pulls towards, by name; empty without it.
    """

    task: Task
    model: nn.Module
    origins: Origins
    freezing: Freezing
    phases: list[Phase]
    objective: Objective
    compute: Compute
    anchors: Mapping[str, Tensor]

    def tuning_parts(self, since: Mapping[str, int], feature_noise: float) -> TuningParts:
        """Return what a fine-tuning adds to a trainer.

        Args:
            since: number of the first epoch of parameters that began to train later than the others, by name.
            feature_noise: on what frozen layers compute.
        """
        settings = self.task.settings
        watched = make_settling(self.model, settings)
        return TuningParts(self.anchors, settings.l2_sp, since, settings.unfreeze_warmup, feature_noise, watched)


def new_task(settings: FinetuneSettings, reporter: Reporter) -> Task:
    """Find the source, fill in the settings, and read the data.

    Args:
        settings: as given.
        reporter: told of notes on the data.

    Raises:
        UsageError, DataError, RunError: something given cannot be taken; the message says what to do.
    """
    started = time.perf_counter()
    _check(settings)
    source = find_source(settings.source)
    resolved, model = inherit(settings, source)
    seed_everything(resolved.seed)
    preprocessing = _preprocessing(resolved, source, model)
    begun = time.perf_counter()
    if settings.data is None and settings.labels is None:
        resolved, data = _with_few_labels(resolved, model, preprocessing, reporter)
    else:
        data = _load(resolved, model, preprocessing, resolved.labels)
    return _task(resolved, source, data, reporter, started, time.perf_counter() - begun)


def resumed_task(settings: FinetuneSettings, run: RunFolder, reporter: Reporter) -> Task:
    """Read again what a run had been given; its weights are in its checkpoint.

    Args:
        settings: resolved, those of the run but for what is given now.
        run: to go on with.
        reporter: told of notes on the data.

    Raises:
        DataError: the data are not those that the run began with.
    """
    started = time.perf_counter()
    _check(settings)
    seed_everything(settings.seed)
    assert settings.model is not None
    data = _load(settings, settings.model, run.manifest().preprocessing, settings.labels)
    check_same_data(run, data)
    return _task(settings, None, data, reporter, started, time.perf_counter() - started)


def with_settings(task: Task, settings: FinetuneSettings) -> Task:
    """Return a task on the same source and rows with other settings; the time begins anew."""
    return replace(task, settings=settings, started=time.perf_counter())


def set_up(task: Task, reporter: Reporter, run: RunFolder | None = None) -> FinetuneSetup:
    """Build, restore and freeze the model of a fine-tuning, and check its settings.

    Args:
        task: what to work on.
        reporter: told what is restored and frozen.
        run: that is resumed, which brings all weights itself; None: a new one.

    Raises:
        UsageError: a setting cannot be taken; the message says why.
    """
    settings = task.settings
    phases = read_phases(settings.unfreeze, settings.epochs)
    objective = from_labels(task.data, settings)
    model, origins, compute = build_model(task, reporter, resumed=run is not None)
    freezing = freeze_layers(model, settings, () if run else origins.fresh, reporter)
    _check_phases(phases, model, freezing)
    _check_feature_noise(settings, freezing)
    check_auto_freeze(model, settings, resumed=run is not None)
    for line in describe_auto_freeze(settings):
        reporter.line(line)
    anchors = _anchors(model, settings, phases, origins, run)
    setup = FinetuneSetup(task, model, origins, freezing, phases, objective, compute, anchors)
    # What cannot be taken is refused here, before anything is written.
    trainer_arguments(model, objective, settings, task.data, setup.tuning_parts({}, settings.feature_noise))
    return setup


def build_model(task: Task, reporter: Reporter, *, resumed: bool = False) -> tuple[nn.Module, Origins, Compute]:
    """Return the model with the source's weights, where they come from, and where it is.

    Args:
        task: its recipe and source.
        reporter: told what is restored.
        resumed: whether a run brings all weights itself.
    """
    settings, source = task.settings, task.source
    pretrained = source is not None and source.weights is None and not settings.random_weights
    pretrained = pretrained and task.recipe.spec.startswith("timm:")
    named_by_user = source is None or source.manifest is None or settings.model != source.spec
    trust = settings.trust or (named_by_user and not resumed)
    model = task.recipe.build(pretrained=pretrained, embeddings=None if resumed else task.vectors, trust=trust)
    for line in describe_model(model, task.recipe, task.data):
        reporter.line(line)
    compute = choose_compute(settings)
    model.to(compute.dtype)  # first, so that a source in float64 loses no digits
    if pretrained:
        reporter.line(f"restored timm's pretrained weights of {task.recipe.spec}")
        origins = origins_of_timm(model)
    elif source is None or source.weights is None or settings.random_weights:
        origins = Origins((), uppermost_layers(model))
    else:
        origins = restore(model, source.weights, settings, source.name, reporter)
    model.to(compute.device)
    return model, origins, compute


def begin_manifest(task: Task, origins: Origins, data: Dataset) -> Manifest:
    """Return what the manifest of a fine-tuning says when it begins.

    Args:
        task: its model and source.
        origins: which of its layers were restored.
        data: its rows, those of the task or others of them.
    """
    return Manifest(
        kind="finetune",
        objective="supervised",
        task=data.task,
        classes=tuple(data.classes),
        model=task.recipe,
        data=data.name,
        preprocessing=data.preprocessing,
        source=task.source.name if task.source else None,
        restored=origins.restored,
        fresh=origins.fresh,
        rows=data_digests(data),
    )


def inherit(settings: FinetuneSettings, source: Source) -> tuple[FinetuneSettings, str]:
    """Return settings in which what the user left to the source run is filled in, and the spec of the model.

    Raises:
        UsageError: something is left to the source that it does not say.
    """
    theirs, without_data = source.settings, settings.data is None
    if without_data and theirs is None:
        raise UsageError(f"{source.name} is not a run, so it names no data: give --data")
    if without_data and theirs is not None and theirs.data == ARRAYS:
        raise UsageError(f"{source.name} was trained on arrays, which a run does not keep: give them as data")
    spec = settings.model or source.spec
    if spec is None:
        raise UsageError(f"{source.name} holds weights and does not say of which model: give --model")
    if settings.drop_layers:
        spec = drop_layers(spec, settings.drop_layers)
    if settings.add_layers:
        spec = add_layers(spec, settings.add_layers)
    filled = replace(
        settings,
        source=source.name,
        drop_layers=None,
        add_layers=None,
        compare=without_data if settings.compare is None else settings.compare,
        split_seed=_split_seed(settings, source),
    )
    if theirs is not None:
        filled = replace(
            filled,
            image_size=theirs.image_size if settings.image_size is None else settings.image_size,
            channels=theirs.channels if settings.channels is None else settings.channels,
        )
    if theirs is not None and without_data:
        filled = replace(
            filled,
            data=theirs.data,
            target=settings.target or theirs.target,
            group_by=settings.group_by or theirs.group_by,
            text=settings.text or theirs.text,
        )
    recipe = source.manifest.model if source.manifest and source.weights else None
    return with_model_options(filled, spec, recipe.options if recipe else {}), spec


def _split_seed(settings: FinetuneSettings, source: Source) -> int:
    """Return the seed of the splits: the source's where the data are the same, so that it has seen no test row."""
    theirs = source.settings
    if settings.split_seed is not None:
        return settings.split_seed
    same = theirs is not None and (settings.data is None or _is_same(theirs.data, settings.data))
    if not same or theirs is None:
        return settings.seed
    return theirs.seed if theirs.split_seed is None else theirs.split_seed


def _is_same(theirs: Any, ours: Any) -> bool:
    return bool(theirs == (ours if isinstance(ours, str) else ARRAYS))


def _preprocessing(settings: FinetuneSettings, source: Source, model: str) -> Preprocessing | None:
    """Return the preprocessing of the source run, unless other pixels are asked for, else what the model brings."""
    own = preprocessing_for(model, settings.image_size, settings.channels)
    if source.manifest is None or source.manifest.preprocessing is None or source.settings is None:
        return own
    resized = settings.image_size != source.settings.image_size
    return own if resized or settings.channels != source.settings.channels else source.manifest.preprocessing


def _load(
    settings: FinetuneSettings, model: str, preprocessing: Preprocessing | None, labels: int | str | None
) -> Dataset:
    return load_data(
        settings.data, settings, model=model, seed=settings.seed, labels=labels, preprocessing=preprocessing
    )


def _with_few_labels(
    settings: FinetuneSettings, model: str, preprocessing: Preprocessing | None, reporter: Reporter
) -> tuple[FinetuneSettings, Dataset]:
    """Load the source's data with few labels, as none were named; with all of them where there are too few for that."""
    try:
        data = _load(settings, model, preprocessing, LABELS_WITHOUT_DATA)
    except (DataError, UsageError):
        return settings, _load(settings, model, preprocessing, None)
    reporter.line(f"{LABELS_WITHOUT_DATA} labels are drawn, as no data was named: --labels draws others, --data all")
    return replace(settings, labels=LABELS_WITHOUT_DATA), data


def _task(
    settings: FinetuneSettings,
    source: Source | None,
    data: Dataset,
    reporter: Reporter,
    started: float,
    seconds: float,
) -> Task:
    for note in data.notes:
        reporter.line(note)
    if data.task == "unlabelled":
        raise UsageError(f"{data.name} has no labels to fine-tune on: name them, for a table with --target")
    settings, vectors = read_embeddings(settings, data)
    if vectors is not None:
        reporter.line(vectors.note)
    return Task(settings, source, make_recipe(settings, data), data, vectors, started, seconds)


def _check(settings: FinetuneSettings) -> None:
    check_settings(settings, settings.cache_dtype)
    read_views(settings.augment, settings, alternate=settings.alternate)


def _check_feature_noise(settings: FinetuneSettings, freezing: Freezing) -> None:
    if settings.feature_noise and not freezing.parameters:
        raise UsageError("feature_noise changes what frozen layers compute, and none are: name layers with freeze")
    if settings.feature_noise and settings.augment and settings.views is None:
        raise UsageError("feature_noise changes what is computed once, and augment gives other rows: say views=5 too")


def _check_phases(phases: list[Phase], model: nn.Module, freezing: Freezing) -> None:
    """Raise where a pattern to unfreeze matches nothing, before hours are spent."""
    for phase in phases[1:]:
        matched = set(select(model, phase.unfrozen).parameters)
        if not matched & set(freezing.parameters):
            raise UsageError(
                f"unfreeze names {', '.join(phase.unfrozen)}, which is not frozen: name layers that --freeze freezes"
            )


def _anchors(
    model: nn.Module, settings: FinetuneSettings, phases: list[Phase], origins: Origins, run: RunFolder | None
) -> Mapping[str, Tensor]:
    """Return the restored weights as they began, where something pulls towards them; a resumed run reads them again."""
    if settings.l2_sp is None:
        return {}
    later = [pattern for phase in phases for pattern in phase.unfrozen]
    return kept_anchors(run) if run else reused_weights(model, origins.restored, later)
