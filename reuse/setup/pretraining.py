"""From the settings of a pretraining to its data, the module that is trained, and what is minimised."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import nn

from reuse.caching.packing import choose_storage
from reuse.data.dataset import Dataset
from reuse.devices import Compute
from reuse.distributed import world_size
from reuse.errors import UsageError
from reuse.layout import is_several
from reuse.menus import lookup
from reuse.nn.recipe import ModelRecipe
from reuse.nn.timm_names import whole_spec
from reuse.objectives.objective import Objective, TrainingStage
from reuse.planning.plan import CACHE_KINDS
from reuse.precision import describe_precision
from reuse.reporting import Reporter
from reuse.runs.folder import WEIGHTS, RunFolder
from reuse.seeding import seed_everything
from reuse.settings.commands import PretrainSettings
from reuse.settings.files import OBJECT, objective_name
from reuse.setup.data import load_data, preprocessing_for, tell_of
from reuse.setup.models import describe_model, make_recipe, read_embeddings, with_model_options
from reuse.setup.modules import module_in, refuse_building, spec_of
from reuse.setup.objectives import check_objective, choose_objective
from reuse.setup.teachers import with_teachers
from reuse.setup.trainers import check_alternating, check_settings, choose_compute, trainer_arguments
from reuse.setup.trying import check_single_rows, settle_outputs
from reuse.training.phases import lay_out


@dataclass(frozen=True)
class PretrainSetup:
    """A pretraining that is ready to train.

    Attributes:
        settings: resolved.
        data: the rows.
        recipe: how the model is built.
        encoder: the module whose layers are reused.
        trained: the module that is trained: the encoder itself, or it with more around it.
        objective: what is minimised.
        compute: where and in which types; `trained` is there.
        started: when the command began, in seconds of `time.perf_counter`.
        seconds: what was taken by the `start` of the command, its imports above all, and by the `load` of the data.
        notes: lines that were said of the model.
    """

    settings: PretrainSettings
    data: Dataset
    recipe: ModelRecipe
    encoder: nn.Module
    trained: nn.Module
    objective: Objective
    compute: Compute
    started: float
    seconds: Mapping[str, float]
    notes: tuple[str, ...] = ()


def set_up(settings: PretrainSettings, reporter: Reporter, run: RunFolder | None = None) -> PretrainSetup:
    """Read the data, fill in the settings, and build what is trained; what cannot be taken is refused.

    Args:
        settings: as given; those of the run, where one is resumed.
        reporter: told of notes on the data and the model.
        run: that is resumed: its preprocessing is taken, and its weights come later; None: a new one.

    Raises:
        UsageError, DataError, RunError: something given cannot be taken; the message says what to do.
    """
    started, called = reporter.start(), time.perf_counter()
    module = module_in(settings.model, "model")
    if module is not None:
        refuse_building(settings)
    settings = replace(settings, model=whole_spec(settings.model) if module is None else spec_of(module))
    check_settings(settings)
    if settings.stop_on not in (None, "probe"):
        raise UsageError(
            f"stop_on is {settings.stop_on!r}: give probe, or leave it out to go by the objective's own loss"
        )
    needs_labels = check_objective(settings.objective)
    _refuse_unused(settings, needs_labels)
    compute = choose_compute(settings)
    seed_everything(settings.seed)
    data = _load(settings, run, needs_labels, module, reporter)
    seconds = {"start": called - started, "load": time.perf_counter() - called}
    tell_of(data, reporter)
    settings, vectors = read_embeddings(with_model_options(settings, settings.model), data)
    recipe = replace(make_recipe(settings, data), module=module)
    vectors = None if run else vectors
    objective = with_teachers(choose_objective(settings, data), data, trust=settings.trust)
    _refuse_unfit(settings, objective, data)
    _refuse_unprobed(settings, data)
    trained = objective.build(recipe.build(embeddings=vectors, trust=settings.trust or not run), data)
    encoder = objective.encoder(trained)
    _refuse_empty(encoder, recipe)
    _refuse_unsavable(objective, trained, encoder)
    _check_stages(settings, objective.stages(trained, settings.epochs), caches=objective.has_teacher)
    needed = data.num_outputs if objective_name(settings.objective) == "supervised" else None
    notes = (
        *([vectors.note] if vectors else []),
        *describe_model(encoder, recipe, data),
        *settle_outputs(encoder, recipe, data, settings.batch_size, needed),
        *objective.notes(),
        *describe_precision(settings.precision, compute.device),
    )
    for line in notes:
        reporter.line(line)
    trained.to(compute.device, compute.dtype)
    check_single_rows(trained, data, settings.batch_size)
    arguments = trainer_arguments(trained, objective, settings, data)  # refused before anything is written
    if run is None:
        check_alternating(arguments, trained)
    return PretrainSetup(settings, data, recipe, encoder, trained, objective, compute, started, seconds, notes)


def _load(
    settings: PretrainSettings, run: RunFolder | None, needs_labels: bool, module: nn.Module | None, reporter: Reporter
) -> Dataset:
    own = preprocessing_for(module or settings.model, settings.image_size, settings.channels)
    data = load_data(
        settings.data,
        settings,
        model=settings.model,
        seed=settings.seed,
        labels=settings.labels,
        preprocessing=own if run is None else run.manifest().preprocessing,
        transductive=settings.transductive,
        supervised=needs_labels,
        reporter=reporter,
    )
    if run is not None and data.task == "regression" and run.manifest().task is not None:
        data = replace(data, target_scale=run.manifest().target_scale)  # None in runs that learned numbers as they were
    if needs_labels and data.task == "unlabelled":
        raise UsageError(f"objective {objective_name(settings.objective)} needs labels, and {data.name} has none")
    return data


def _refuse_empty(encoder: nn.Module, recipe: ModelRecipe) -> None:
    """Raise where nothing is left of a model without its output layer."""
    if next(encoder.parameters(), None) is None:
        raise UsageError(
            f"{recipe.spec} has one layer with weights, which is taken for its output layer, and what comes before it "
            "would be pretrained: give it an output layer too, such as another nn.Linear at its end"
        )


def _refuse_unsavable(objective: Objective, trained: nn.Module, encoder: nn.Module) -> None:
    """Raise where a file beside the encoder's weights would have their name."""
    if encoder is not trained and WEIGHTS.removesuffix(".safetensors") in trained._modules:
        kind = type(objective).__name__
        raise UsageError(f"{kind} builds a child `weights`, whose file would be the encoder's: call it otherwise")


def _check_stages(settings: PretrainSettings, stages: Sequence[TrainingStage], *, caches: bool) -> None:
    """Raise where stages do not fit the settings, or settings are for a cache and there is none."""
    name = objective_name(settings.objective)
    stored = ("cache_dir", "cache_dtype", "cache_budget")
    if settings.rehash:
        raise UsageError("a pretraining reads and digests all files anew: leave rehash out")
    if len(stages) == 1:
        unused = next((setting for setting in stored if getattr(settings, setting)), None)
        unused = None if caches else unused
        unused = "cache_kind" if settings.cache_kind != "auto" else unused
        if unused:
            raise UsageError(f"{name} trains all layers at once and caches nothing: leave {unused} out")
        return
    lookup(CACHE_KINDS, settings.cache_kind, "cache kind")
    if settings.cache_dtype is not None:
        choose_storage(settings.cache_dtype)
    if settings.augment:
        raise UsageError(
            f"{name} stores what its lower layers give of each row, and augment changes rows: leave it out"
        )
    if settings.parallel == "fsdp" and world_size() > 1:
        raise UsageError(f"{name} trains one layer after the other, and fsdp divides them once: choose parallel=ddp")
    lay_out({stage.name: stage.epochs for stage in stages}, settings.epochs)


def _refuse_unfit(settings: PretrainSettings, objective: Objective, data: Dataset) -> None:
    """Raise where an objective takes one input, batches are too small for it, or its labels would be changed."""
    layout = data.train.inputs.layout
    if is_several(layout) and (objective.whole_labels or not objective.needs_labels):
        listed = ", ".join(map(str, layout))
        raise UsageError(f"{objective_name(settings.objective)} takes one input a row, and there are {listed}")
    name, rows = objective_name(settings.objective), min(settings.batch_size, len(data.train))
    if rows < objective.least_rows:
        raise UsageError(
            f"{name} compares the rows of a batch, and batches hold {rows}: give a batch_size of "
            f"{objective.least_rows} or more, and as many rows"
        )
    if objective.whole_batches and world_size() > 1:
        raise UsageError(
            f"{name} compares the rows of a whole batch, of which each of {world_size()} processes has a part: train "
            "in one process, or by byol"
        )
    changing = ("label_smoothing", "class_weights", "sample_weight", "mixup", "cutmix")
    given = [setting for setting in changing if getattr(settings, setting)]
    if objective.whole_labels and given:
        raise UsageError(f"{name} takes labels as they are, and {given[0]} changes or weighs them: leave it out")


def _refuse_unprobed(settings: PretrainSettings, data: Dataset) -> None:
    """Raise where features are to be scored on rows that there are not, or of an encoder that is divided."""
    if settings.probe_every is None:
        return
    if not len(data.valid):
        raise UsageError(f"probe_every scores features of validation rows, and {data.name} has none: leave it out")
    if settings.stop_on and data.valid.targets is None:
        raise UsageError(f"stop_on probe needs validation rows with labels, and {data.name} has none: leave it out")
    if settings.parallel != "ddp" and world_size() > 1:
        raise UsageError("probe_every reads the encoder as a whole, and parallel divides it: choose parallel=ddp")


def _refuse_unused(settings: PretrainSettings, needs_labels: bool) -> None:
    """Raise where a setting would be taken and not used."""
    name = objective_name(settings.objective)
    if needs_labels and name.startswith(OBJECT) and (settings.label_smoothing or settings.class_weights):
        unused = "label_smoothing" if settings.label_smoothing else "class_weights"
        raise UsageError(f"{name} brings its own settings: leave {unused} out, and tell the object")
    if needs_labels and settings.transductive:
        raise UsageError(f"{name} learns from labels, and transductive trains on test rows without any: leave it out")
    if needs_labels:
        return
    if settings.labels is not None:
        raise UsageError(f"{name} uses no labels, so labels would change nothing but the rows: leave it out")
    if settings.sample_weight is not None:
        raise UsageError(f"{name} counts all rows alike: leave sample_weight out, and its column with ignore")
    if settings.label_smoothing:
        raise UsageError(f"{name} uses no labels, so there are none to smooth: leave label_smoothing out")
    if settings.class_weights is not None:
        raise UsageError(f"{name} uses no labels, so there are no classes to weigh: leave class_weights out")
    for mix, alpha in (("mixup", settings.mixup), ("cutmix", settings.cutmix)):
        if alpha:
            raise UsageError(f"{name} uses no labels, and {mix} mixes labels: leave it out")
