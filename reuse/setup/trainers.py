"""From settings to a trainer: what each setting stands for in a training step."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from reuse.augmenting.augmentation import parse_augmentation
from reuse.augmenting.mixing import FeatureNoise, Transform, augmented, mixing
from reuse.data.dataset import Dataset
from reuse.devices import Compute, choose_device
from reuse.distributed import world_size
from reuse.errors import UsageError
from reuse.menus import lookup
from reuse.objectives.objective import Objective
from reuse.optim.building import (
    check_sharpness,
    make_average,
    make_clipping,
    make_constraints,
    make_optimizer_settings,
    make_penalties,
    read_schedule,
    read_switches,
)
from reuse.optim.optimization import Optimization
from reuse.optim.optimizers import build_optimizer
from reuse.optim.schedules import choose_schedule
from reuse.precision import autocast, check_precision
from reuse.runs.snapshots import kept_epochs
from reuse.runs.tensorboard import check_tensorboard
from reuse.settings.commands import TrainedSettings
from reuse.settings.training import ComputingSettings, TrainingSettings
from reuse.training.compiling import Compiling
from reuse.training.dropout import drops
from reuse.training.evaluation import device_of
from reuse.training.feeds import Feed
from reuse.training.parallel import KINDS
from reuse.training.settings import LoopSettings
from reuse.training.settling import Settling
from reuse.training.step import StepParts
from reuse.training.stopping import EarlyStopping
from reuse.training.trainer import Trainer
from reuse.training.turns import check_turns


@dataclass(frozen=True)
class TuningParts:
    """Parts of a training that only a fine-tuning has.

    Attributes:
        anchors: the reused weights as they began, by name; None where they are not known yet.
        pull: how strongly weights are pulled towards these; None: they are not.
        since: number of the first epoch of parameters that begin to train later than the others, by name.
        rise: epochs over which the rate of these rises to its full height.
        feature_noise: noise on what frozen layers compute, in parts of each feature's deviation; 0: none.
        settling: watches which layers settle; None: nobody does.
    """

    anchors: Mapping[str, Tensor] | None = None
    pull: float | None = None
    since: Mapping[str, int] = field(default_factory=dict)
    rise: float = 0.0
    feature_noise: float = 0.0
    settling: Settling | None = None


@dataclass(frozen=True)
class TrainerArguments:
    """The arguments of `Trainer` that settings stand for; see there."""

    optimization: Optimization
    parts: StepParts
    loop: LoopSettings
    settling: Settling | None


def make_trainer(
    model: nn.Module,
    objective: Objective,
    feed: Feed,
    settings: TrainedSettings,
    data: Dataset,
    tuning: TuningParts | None = None,
) -> Trainer:
    """Return the trainer that the settings describe.

    Args:
        model: with its frozen layers.
        objective: what is minimised.
        feed: what the trainer reads.
        settings: of a command.
        data: what it learns from.
        tuning: what a fine-tuning has beside; None: nothing.

    Raises:
        UsageError: a setting cannot be taken; the message says why.
    """
    tuning = tuning or TuningParts()
    if feed.viewed:
        settings = replace(settings, augment=None)
    if not feed.features:
        tuning = replace(tuning, feature_noise=0.0)
    told = trainer_arguments(model, objective, settings, data, tuning)
    return Trainer(
        model,
        objective,
        network=feed.network,
        optimization=told.optimization,
        parts=told.parts,
        loop=told.loop,
        settling=told.settling,
    )


def trainer_arguments(
    model: nn.Module,
    objective: Objective,
    settings: TrainedSettings,
    data: Dataset,
    tuning: TuningParts | None = None,
) -> TrainerArguments:
    """Return what the settings stand for as arguments of `Trainer`, checked: nothing is left to be refused hours later.

    Args:
        model: whose parameters penalties and the like are bound to.
        objective: what is minimised.
        settings: of a command.
        data: what the model learns from.
        tuning: what a fine-tuning has beside.

    Raises:
        UsageError: a setting cannot be taken; the message says why.
    """
    tuning = tuning or TuningParts()
    check_precision(settings.precision, model)
    autocast(settings.precision, device_of(model, torch.device("cpu")))
    Compiling(settings.compile)
    first = make_optimizer_settings(settings, model, tuning.since, tuning.rise)
    switches = read_switches(settings.switch_optimizer, first, settings.epochs)
    parameters = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    optimizers = [build_optimizer(optimizer, parameters) for optimizer in (first, *switches.values())]
    divided = settings.parallel == "fsdp" and world_size() > 1
    if settings.channels_last and world_size() > 1:
        raise UsageError("channels_last trains in one process: several share gradients that lie as the weights did")
    check_turns(objective, optimizers, sharpness=settings.sharpness, divided=divided)
    schedule = read_schedule(settings.schedule)
    choose_schedule(schedule, steps_per_epoch=1, epochs=settings.epochs, warmup_epochs=settings.warmup)
    average = make_average(settings, settings.epochs)
    parts = StepParts(
        transforms=make_transforms(settings, data, tuning.feature_noise),
        penalties=make_penalties(settings, model, tuning.anchors, tuning.pull),
        clipping=make_clipping(settings, model),
        sharpness=check_sharpness(settings.sharpness),
        constraints=make_constraints(settings, model),
    )
    return TrainerArguments(
        Optimization(first, switches, schedule, settings.warmup, average),
        parts,
        LoopSettings(
            batch_size=settings.batch_size,
            accumulate=settings.accumulate,
            seed=settings.seed,
            precision=settings.precision,
            compile=settings.compile,
            channels_last=settings.channels_last,
            alternate=settings.alternate,
            train_metrics=settings.train_metrics or settings.max_gap is not None,
        ),
        tuning.settling,
    )


def check_alternating(arguments: TrainerArguments, model: nn.Module, *, pull: float | None = None) -> None:
    """Raise where epochs are to alternate, and all would be alike.

    Args:
        arguments: of a new run's trainer.
        model: that it trains.
        pull: of `l2_sp`, which may have nothing to pull yet.

    Raises:
        UsageError: there is nothing that every other epoch could do without.
    """
    parts = arguments.parts
    left_out = parts.transforms or parts.penalties or parts.sharpness or pull or drops(model)
    if arguments.loop.alternate and not left_out:
        raise UsageError(
            "alternate trains every other epoch without dropout, penalties, augmentation, mixing and sharpness, and "
            "there is none of them: leave it out, or give one, such as dropout=0.2"
        )


def make_transforms(settings: TrainedSettings, data: Dataset, feature_noise: float) -> list[Transform]:
    """Return the changes to a batch before the network sees it, in their order.

    Args:
        settings: of a command.
        data: whose rows these are.
        feature_noise: on what frozen layers compute.

    Raises:
        UsageError: a change that such data cannot take.
    """
    transforms: list[Transform] = []
    layout = data.train.inputs.layout
    for name in ("augment", "cutmix"):
        if getattr(settings, name) and len(layout) > 1:
            raise UsageError(f"{name} changes one input, and a row has {', '.join(map(str, layout))}: leave it out")
    if settings.augment:
        if data.num_tokens is not None:
            raise UsageError("augment changes numbers, and the inputs are tokens: leave it out")
        transforms.append(augmented(parse_augmentation(settings.augment, data.input_shape, data.preprocessing)))
    if feature_noise:
        transforms.append(FeatureNoise(feature_noise))
    if settings.cutmix and len(data.input_shape) != 3:  # channels, height, width
        raise UsageError(f"cutmix is for images, and the rows of {data.name} are {data.input_shape}: take mixup")
    num_classes = data.num_outputs if data.task == "classification" else None
    mixed = mixing(settings.mixup, settings.cutmix, num_classes, weighted=data.train.weights is not None)
    return transforms if mixed is None else [*transforms, mixed]


def make_stopping(objective: Objective, settings: TrainingSettings, monitor: str | None = None) -> EarlyStopping:
    """Return what decides when to stop and keeps the best weights.

    Args:
        objective: what is minimised.
        settings: of the command.
        monitor: the metric that is watched; None: the objective's.
    """
    patience = settings.patience if settings.early_stopping else None
    return EarlyStopping(patience, monitor or objective.monitor, settings.max_gap)


def choose_compute(settings: ComputingSettings) -> Compute:
    """Return where and in which types to compute."""
    return Compute(choose_device(settings.device), settings.precision)


def check_settings(settings: TrainedSettings) -> None:
    """Raise where a setting cannot be taken that no other part looks at before hours are spent.

    Args:
        settings: of a command.

    Raises:
        UsageError: the message says what can be taken.
    """
    EarlyStopping(None, max_gap=settings.max_gap)
    lookup(KINDS, settings.parallel, "parallel")
    kept_epochs(settings.snapshots, settings.epochs, schedule=settings.schedule)
    if settings.tensorboard:
        check_tensorboard()
