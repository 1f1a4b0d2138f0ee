"""From settings to a trainer: what each setting stands for in a training step."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from reuse.augmenting.augmentation import parse_augmentation
from reuse.augmenting.mixing import augmented, mixing
from reuse.augmenting.noising import FeatureNoise
from reuse.data.dataset import Dataset
from reuse.distributed import world_size
from reuse.errors import UsageError
from reuse.features.feeding import Feed
from reuse.layers.amounts import of_weights, read_amounts
from reuse.nn.callables import can_be_imported, import_callable, names_code
from reuse.nn.outputs import output_layers
from reuse.objectives.objective import Objective
from reuse.optim.averaging import Average, ExponentialAverage, StochasticWeightAverage
from reuse.optim.clipping import Clip, clip_adaptive, clip_by_layer_norm, clip_by_norm, clip_by_value
from reuse.optim.constraints import max_norm
from reuse.optim.groups import layer_decay
from reuse.optim.optimization import Optimization
from reuse.optim.optimizers import build_optimizer
from reuse.optim.penalties import Penalty, l1, l2, l2_sp
from reuse.optim.schedules import SCHEDULES, choose_schedule
from reuse.optim.settings import OptimizerSettings
from reuse.setup.auto_freezing import make_settling
from reuse.training.compiling import Compiling
from reuse.training.evaluation import device_of
from reuse.training.precision import autocast, check_precision
from reuse.training.settings import LoopSettings
from reuse.training.step import StepParts, Transform
from reuse.training.trainer import Trainer
from reuse.training.turns import check_turns

LOOP_SETTINGS = ("alternate", "batch_size", "accumulate", "seed", "precision", "compile")

CLIPS: dict[str, Callable[[float], Clip]] = {
    "clip_value": clip_by_value,
    "clip_norm": clip_by_norm,
    "clip_layer_norm": clip_by_layer_norm,
}


def make_trainer(
    model: nn.Module,
    objective: Objective,
    feed: Feed,
    settings: Mapping[str, Any],
    data: Dataset,
    anchors: Mapping[str, Tensor] | None = None,
    since: Mapping[str, int] = MappingProxyType({}),
) -> Trainer:
    """Return the trainer that the settings describe.

    Args:
        model: with its frozen layers.
        objective: what is minimised.
        feed: what the trainer reads.
        settings: of a command.
        data: what it learns from.
        anchors: the weights that `l2_sp` pulls towards, by name.
        since: number of the first epoch of parameters that begin to train later than the others, by name.

    Raises:
        UsageError: a setting cannot be taken; the message says why.
    """
    if feed.viewed:
        settings = {**settings, "augment": None}
    if not feed.features:
        settings = {**settings, "feature_noise": 0.0}
    return Trainer(model, objective, network=feed.network, **equip(model, objective, settings, data, anchors, since))


def equip(
    model: nn.Module,
    objective: Objective,
    settings: Mapping[str, Any],
    data: Dataset,
    anchors: Mapping[str, Tensor] | None = None,
    since: Mapping[str, int] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return what the settings stand for as arguments of `Trainer`, checked: nothing is left to be refused hours later.

    Args:
        model: whose parameters penalties and the like are bound to.
        objective: what is minimised.
        settings: of a command.
        data: what the model learns from.
        anchors: the weights that `l2_sp` pulls towards, by name; None where they are not known yet.
        since: number of the first epoch of parameters that begin to train later than the others, by name.

    Raises:
        UsageError: a setting cannot be taken; the message says why.
    """
    check_precision(settings["precision"], model)
    autocast(settings["precision"], device_of(model, torch.device("cpu")))
    Compiling(settings["compile"])
    epochs, named = settings["epochs"], ("learning_rate", "momentum", "weight_decay", "decay_all")
    rise = settings.get("unfreeze_warmup", 0.0)
    numbers = {name: settings[name] for name in named}
    first = OptimizerSettings(settings["optimizer"], **numbers, rates=_rates(model, settings), since=since, rise=rise)
    switches = read_switches(settings["switch_optimizer"], first, epochs)
    parameters = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    optimizers = [build_optimizer(optimizer, parameters) for optimizer in (first, *switches.values())]
    divided = settings["parallel"] == "fsdp" and world_size() > 1
    check_turns(objective, optimizers, sharpness=settings["sharpness"], divided=divided)
    schedule = read_schedule(settings["schedule"])
    choose_schedule(schedule, steps_per_epoch=1, epochs=epochs, warmup_epochs=settings["warmup"])
    parts = StepParts(
        transforms=_transforms(settings, data),
        penalties=_penalties(model, settings, anchors),
        clipping=_clipping(model, settings),
        sharpness=_at_least("sharpness", settings["sharpness"], 0),
        constraints=_constraints(model, settings),
    )
    measures = settings["train_metrics"] or settings["max_gap"] is not None
    return {
        "optimization": Optimization(first, switches, schedule, settings["warmup"], _average(settings)),
        "parts": parts,
        "loop": LoopSettings(**{name: settings[name] for name in LOOP_SETTINGS}, train_metrics=measures),
        "settling": make_settling(model, settings),
    }


def read_schedule(text: str) -> str | Callable[..., float]:
    """Return a schedule's name as it is, and the function that `package.module:function` names.

    Raises:
        UsageError: the module cannot be imported or holds no such function.
    """
    module = text.partition(":")[0]
    is_code = names_code(text, tuple(SCHEDULES)) and can_be_imported(module)
    return import_callable(text) if is_code else text


def read_switches(text: str | None, first: OptimizerSettings, epochs: int) -> dict[int, OptimizerSettings]:
    """Return the optimizers that follow the first one, by the number of the first epoch that they train.

    Args:
        text: `epochs:optimizer:rate`, several separated by `;`: `10:sgd:0.01` trains 10 epochs with the first one.
        first: whose decay and multipliers of the rate they take over.
        epochs: of the whole run.

    Raises:
        UsageError: the text is none of this, or a switch comes after the run.
    """
    switches: dict[int, OptimizerSettings] = {}
    for entry in (text or "").split(";"):
        if not entry.strip():
            continue
        before, _, rest = entry.strip().partition(":")
        name, _, rate = rest.rpartition(":")
        try:
            after, number = int(before), float(rate)
        except ValueError:
            after, number = 0, 0.0
        if after < 1 or not name:
            raise UsageError(
                f"switch_optimizer holds {entry!r}: give epochs:optimizer:rate, as in 10:sgd:0.01, which trains 10 "
                "epochs with the first optimizer and then with sgd; several are separated by ;"
            )
        if after >= epochs:
            raise UsageError(f"switch_optimizer holds {entry!r}, and the run ends after epoch {epochs}: switch earlier")
        if after + 1 in switches:
            raise UsageError(f"switch_optimizer is {text!r}: it switches twice after epoch {after}; leave one out")
        switches[after + 1] = replace(first, name=name, learning_rate=number, momentum=None)
    return switches


def _rates(model: nn.Module, settings: Mapping[str, Any]) -> dict[str, float]:
    """Return multipliers of the rate by parameter: by layer, times those of the layer decay."""
    rates = {}
    if settings["layer_decay"] is not None:
        rates.update(layer_decay(model, settings["layer_decay"]))
    if settings["layer_rates"] is not None and "=" not in str(settings["layer_rates"]):
        raise UsageError(
            f"layer_rates is {settings['layer_rates']!r}: give layers with multipliers, as in hidden1=0.1,conv*=0.5"
        )
    for name, rate in read_amounts(settings["layer_rates"], model, "layer_rates").items():
        rates[name] = rates.get(name, 1.0) * rate
    return rates


def _clipping(model: nn.Module, settings: Mapping[str, Any]) -> list[Clip]:
    clips = [clip(settings[name]) for name, clip in CLIPS.items() if settings[name] is not None]
    if settings["clip_adaptive"] is not None:
        clips.append(_below_output(model, clip_adaptive(settings["clip_adaptive"])))
    return clips


def _below_output(model: nn.Module, clip: Clip) -> Clip:
    """Leave the output layer out, as the paper of adaptive clipping does."""
    outputs = {id(p) for name in output_layers(model) for p in model.get_submodule(name).parameters()}
    return lambda parameters: clip([parameter for parameter in parameters if id(parameter) not in outputs])


def _penalties(model: nn.Module, settings: Mapping[str, Any], anchors: Mapping[str, Tensor] | None) -> list[Penalty]:
    weights = {name: p for name, p in model.named_parameters() if p.requires_grad}
    penalties = []
    for name, make in (("l1", l1), ("l2", l2)):
        amounts = of_weights(read_amounts(settings[name], model, name), model)
        if amounts:
            penalties.append(make(weights, amounts))
    if settings.get("l2_sp") is not None and anchors is not None:
        matrices = {name: p for name, p in weights.items() if p.ndim > 1}
        known = {name: tensor for name, tensor in anchors.items() if name in matrices}
        amount = settings["l2_sp"]
        # Nothing reused trains yet where a later phase unfreezes it: the rest is pulled towards zero as it will be.
        pull = l2_sp(matrices, known, amount, amount) if known else l2(matrices, dict.fromkeys(matrices, amount))
        penalties.append(pull)
    return penalties


def _constraints(model: nn.Module, settings: Mapping[str, Any]) -> list[Callable[[nn.Module], object]]:
    if isinstance(settings["max_norm"], int | float):
        return [max_norm(settings["max_norm"])]
    limits = of_weights(read_amounts(settings["max_norm"], model, "max_norm"), model)
    by_limit: dict[float, list[str]] = {}
    for name, limit in limits.items():
        layer = name.partition(".parametrizations.")[0] if ".parametrizations." in name else name.rpartition(".")[0]
        by_limit.setdefault(limit, []).append(layer)
    return [max_norm(limit, layers) for limit, layers in by_limit.items()]


def _transforms(settings: Mapping[str, Any], data: Dataset) -> list[Transform]:
    transforms: list[Transform] = []
    if settings["augment"]:
        if data.num_tokens is not None:
            raise UsageError("augment changes numbers, and the inputs are tokens: leave it out")
        augmentation = parse_augmentation(settings["augment"], data.input_shape, data.preprocessing)
        transforms.append(augmented(augmentation))
    if settings.get("feature_noise"):
        transforms.append(FeatureNoise(settings["feature_noise"]))
    if settings["cutmix"] and len(data.input_shape) != 3:  # channels, height, width
        raise UsageError(f"cutmix is for images, and the rows of {data.name} are {data.input_shape}: take mixup")
    mixed = mixing(settings["mixup"], settings["cutmix"], data.num_outputs if data.task == "classification" else None)
    return transforms if mixed is None else [*transforms, mixed]


def _average(settings: Mapping[str, Any]) -> Average | None:
    if settings["ema"] is not None and settings["swa"] is not None:
        raise UsageError("ema and swa are two averages of the weights, and one can be kept: leave one of them out")
    if settings["ema"] is not None:
        return ExponentialAverage(settings["ema"])
    if settings["swa"] is not None:
        if settings["swa"] > settings["epochs"]:
            raise UsageError(
                f"swa averages from epoch {settings['swa']} on, and the run has {settings['epochs']}: begin earlier"
            )
        return StochasticWeightAverage(settings["swa"])
    return None


def _at_least(name: str, value: float, least: float) -> float:
    if not value >= least:
        raise UsageError(f"{name} is {value}: give {least} or more")
    return value
