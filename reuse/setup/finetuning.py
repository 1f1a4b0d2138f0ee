"""From the task of a fine-tuning to a model that is ready to train.

Tuning, its plan, the search for its rate and sweeps all begin here, so that they refuse the same things; nothing is
written.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor, nn

from reuse.data.dataset import Dataset
from reuse.devices import Compute
from reuse.errors import UsageError
from reuse.layers.freezing import Freezing, frozen
from reuse.layers.selecting import select
from reuse.nn.hf_specs import has_weights, is_hf
from reuse.nn.outputs import output_layers
from reuse.objectives.labelled import from_labels
from reuse.objectives.objective import Objective
from reuse.precision import describe_precision
from reuse.reporting import Reporter, Transcript
from reuse.runs.checkpoints import kept_anchors
from reuse.runs.folder import RunFolder
from reuse.runs.manifest import Manifest
from reuse.settings.commands import FinetuneSettings
from reuse.setup.auto_freezing import check_auto_freeze, describe_auto_freeze, make_settling
from reuse.setup.data import data_digests
from reuse.setup.models import (
    Origins,
    describe_model,
    freeze_layers,
    origins_of_hf,
    origins_of_timm,
    restore,
    reused_weights,
    uppermost_layers,
)
from reuse.setup.siding import measured, stood_beside
from reuse.setup.tasks import Task
from reuse.setup.trainers import (
    TuningParts,
    check_alternating,
    choose_compute,
    trainer_arguments,
)
from reuse.setup.trying import check_single_rows, settle_outputs
from reuse.training.phases import Phase, read_phases


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
        notes: lines that were said of what is restored and frozen.
    """

    task: Task
    model: nn.Module
    origins: Origins
    freezing: Freezing
    phases: list[Phase]
    objective: Objective
    compute: Compute
    anchors: Mapping[str, Tensor]
    notes: tuple[str, ...]

    def tuning_parts(self, since: Mapping[str, int], feature_noise: float) -> TuningParts:
        """Return what a fine-tuning adds to a trainer.

        Args:
            since: number of the first epoch of parameters that began to train later than the others, by name.
            feature_noise: on what frozen layers compute.
        """
        settings = self.task.settings
        watched = make_settling(self.model, settings)
        return TuningParts(
            anchors=self.anchors,
            pull=settings.l2_sp,
            since=since,
            rise=settings.unfreeze_warmup,
            feature_noise=feature_noise,
            settling=watched,
        )


def set_up(task: Task, reporter: Reporter, run: RunFolder | None = None) -> FinetuneSetup:
    """Build, restore and freeze the model of a fine-tuning, and check its settings.

    Args:
        task: what to work on.
        reporter: told what is restored and frozen.
        run: that is resumed, which brings all weights itself; None: a new one.

    Raises:
        UsageError: a setting cannot be taken; the message says why.
    """
    settings, said = task.settings, Transcript(reporter)
    phases = read_phases(settings.unfreeze, settings.epochs)
    if settings.unfreeze and settings.unfreeze_warmup > settings.epochs:
        raise UsageError(
            f"unfreeze_warmup is {settings.unfreeze_warmup:g} epochs long, and the run ends after {settings.epochs}: "
            "give fewer, or train longer"
        )
    from_labels(task.data, settings)  # refuses what cannot be minimised before a model is built
    task = _as_it_was_measured(task, run)
    model, origins, compute = build_model(task, said, resumed=run is not None)
    task = replace(task, recipe=measured(task.recipe, model))
    task = _with_learned_scale(task, model, origins, run)
    objective = from_labels(task.data, settings)
    freeze_layers(model, settings, () if run else origins.fresh, said)
    for line in settle_outputs(model, task.recipe, task.data, settings.batch_size, task.data.num_outputs):
        said.line(line)
    freezing = frozen(model)
    _check_phases(phases, model, freezing)
    _check_feature_noise(settings, freezing)
    check_auto_freeze(model, settings, resumed=run is not None)
    for line in (*describe_auto_freeze(settings), *describe_precision(settings.precision, compute.device)):
        said.line(line)
    check_single_rows(model, task.data, settings.batch_size)
    anchors = _anchors(model, settings, phases, origins, run)
    setup = FinetuneSetup(task, model, origins, freezing, phases, objective, compute, anchors, tuple(said.lines))
    # What cannot be taken is refused here, before anything is written.
    parts = setup.tuning_parts({}, settings.feature_noise)
    arguments = trainer_arguments(model, objective, settings, task.data, parts)
    if run is None and not task.compared:
        check_alternating(arguments, model, pull=settings.l2_sp)
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
    family = task.recipe.spec.partition(":")[0]
    pretrained = pretrained and (family == "timm" or (is_hf(task.recipe.spec) and has_weights(task.recipe.spec)))
    named_by_user = source is None or source.manifest is None or settings.model != source.spec
    trust = settings.trust or (named_by_user and not resumed)
    bare, vectors = task.recipe.bare, None if resumed else task.vectors
    model = bare.build(pretrained=pretrained, embeddings=vectors, trust=trust)
    for line in describe_model(model, task.recipe, task.data):
        reporter.line(line)
    compute = choose_compute(settings)
    model.to(compute.dtype)  # first, so that a source in float64 loses no digits
    if pretrained:
        origins = origins_of_timm(model) if family == "timm" else origins_of_hf(model)
        whose, fresh = ("timm's", "") if family == "timm" else ("the", f"; fresh: {', '.join(origins.fresh)}")
        reporter.line(f"restored {whose} pretrained weights of {task.recipe.spec}{fresh}")
    elif source is None or source.weights is None or settings.random_weights:
        origins = Origins((), uppermost_layers(model))
    else:
        origins = restore(model, source, settings, reporter)
    model, origins = stood_beside(model, origins, task.recipe, reporter)
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
        target_scale=data.target_scale,
        source=task.source.name if task.source else None,
        restored=origins.restored,
        fresh=origins.fresh,
        rows=data_digests(data),
    )


def _as_it_was_measured(task: Task, run: RunFolder | None) -> Task:
    """Return the task with what a run that is resumed has measured of the layers beside which it trains."""
    known = run.manifest().model if run is not None else None
    return task if known is None else replace(task, recipe=replace(task.recipe, side_repeats=known.side_repeats))


def _with_learned_scale(task: Task, model: nn.Module, origins: Origins, run: RunFolder | None) -> Task:
    """Return the task with the scale of numbers that the output layer has learned, where its weights are not fresh."""
    learned = run.manifest() if run else task.source.manifest if task.source else None
    if learned is None or task.data.task != "regression" or learned.task != "regression":
        return task
    if run is None and set(output_layers(model)) & set(origins.fresh):
        return task
    return replace(task, data=replace(task.data, target_scale=learned.target_scale))


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
