"""From settings to what moves the weights: optimizers, schedule, clipping, penalties, constraints, averages."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from torch import Tensor, nn
from torch.nn import Parameter

from reuse.errors import UsageError
from reuse.layers.selecting import read_amounts
from reuse.nn.callables import can_be_imported, import_callable, names_code
from reuse.nn.outputs import output_layers
from reuse.optim.averaging import Average, ExponentialAverage, StochasticWeightAverage
from reuse.optim.clipping import Clip, clip_adaptive, clip_by_layer_norm, clip_by_norm, clip_by_value
from reuse.optim.constraints import Constraint, max_norm
from reuse.optim.groups import OptimizerSettings, layer_decay, of_weights
from reuse.optim.penalties import Penalty, l1, l2, l2_sp
from reuse.optim.schedules import SCHEDULES
from reuse.settings.training import OptimizingSettings


def make_optimizer_settings(
    settings: OptimizingSettings, model: nn.Module, since: Mapping[str, int], rise: float
) -> OptimizerSettings:
    """Return which optimizer moves the weights of a model first, and with what numbers.

    Args:
        settings: of a command.
        model: whose layers have rates of their own.
        since: number of the first epoch of parameters that begin to train later than the others, by name.
        rise: epochs over which the rate of these rises to its full height.

    Raises:
        UsageError: a number is out of its range, or a pattern matches nothing.
    """
    return OptimizerSettings(
        name=settings.optimizer,
        learning_rate=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        decay_all=settings.decay_all,
        rates=_rates(model, settings),
        since=since,
        rise=rise,
    )


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


def read_schedule(text: str) -> str | Callable[..., float]:
    """Return a schedule's name as it is, and the function that `package.module:function` names.

    Raises:
        UsageError: the module cannot be imported or holds no such function.
    """
    module = text.partition(":")[0]
    is_code = names_code(text, tuple(SCHEDULES)) and can_be_imported(module)
    return import_callable(text) if is_code else text


def make_clipping(settings: OptimizingSettings, model: nn.Module) -> list[Clip]:
    """Return what bounds the gradients, in the order in which it is applied.

    Adaptive clipping leaves the output layer out, as its paper does.
    """
    clips: list[Clip] = []
    if settings.clip_value is not None:
        clips.append(clip_by_value(settings.clip_value))
    if settings.clip_norm is not None:
        clips.append(clip_by_norm(settings.clip_norm))
    if settings.clip_layer_norm is not None:
        clips.append(clip_by_layer_norm(settings.clip_layer_norm))
    if settings.clip_adaptive is not None:
        clips.append(_below_output(model, clip_adaptive(settings.clip_adaptive)))
    return clips


def make_penalties(
    settings: OptimizingSettings, model: nn.Module, anchors: Mapping[str, Tensor] | None, pull: float | None
) -> list[Penalty]:
    """Return what is added to the loss.

    Args:
        settings: of a command.
        model: whose weights are penalised.
        anchors: weights towards which those of the model are pulled, by name; None where they are not known yet.
        pull: how strongly; None: they are not.
    """
    weights = {name: p for name, p in model.named_parameters() if p.requires_grad}
    penalties = []
    for name, amount, make in (("l1", settings.l1, l1), ("l2", settings.l2, l2)):
        amounts = of_weights(read_amounts(amount, model, name), model)
        if amounts:
            penalties.append(make(weights, amounts))
    if pull is not None and anchors is not None:
        matrices = {name: p for name, p in weights.items() if p.ndim > 1}
        known = {name: tensor for name, tensor in anchors.items() if name in matrices}
        # Nothing reused trains yet where a later phase unfreezes it: the rest is pulled towards zero as it will be.
        towards = l2_sp(matrices, known, pull, pull) if known else l2(matrices, dict.fromkeys(matrices, pull))
        penalties.append(towards)
    return penalties


def make_constraints(settings: OptimizingSettings, model: nn.Module) -> list[Constraint]:
    """Return what bounds the weights after each step."""
    if isinstance(settings.max_norm, int | float):
        return [max_norm(settings.max_norm)]
    limits = of_weights(read_amounts(settings.max_norm, model, "max_norm"), model)
    by_limit: dict[float, list[str]] = {}
    for name, limit in limits.items():
        layer = name.partition(".parametrizations.")[0] if ".parametrizations." in name else name.rpartition(".")[0]
        by_limit.setdefault(limit, []).append(layer)
    return [max_norm(limit, layers) for limit, layers in by_limit.items()]


def make_average(settings: OptimizingSettings, epochs: int) -> Average | None:
    """Return which average of the weights is validated and kept; None: the weights themselves.

    Raises:
        UsageError: two averages, or one that begins after the run.
    """
    if settings.ema is not None and settings.swa is not None:
        raise UsageError("ema and swa are two averages of the weights, and one can be kept: leave one of them out")
    if settings.ema is not None:
        return ExponentialAverage(settings.ema)
    if settings.swa is not None:
        if settings.swa > epochs:
            raise UsageError(f"swa averages from epoch {settings.swa} on, and the run has {epochs}: begin earlier")
        return StochasticWeightAverage(settings.swa)
    return None


def check_sharpness(radius: float) -> float:
    """Return the radius of sharpness-aware steps.

    Raises:
        UsageError: it is negative.
    """
    if not radius >= 0:
        raise UsageError(f"sharpness is {radius}: give 0 or more")
    return radius


def _rates(model: nn.Module, settings: OptimizingSettings) -> dict[str, float]:
    """Return multipliers of the rate by parameter: by layer, times those of the layer decay."""
    rates = {}
    if settings.layer_decay is not None:
        rates.update(layer_decay(model, settings.layer_decay))
    if settings.layer_rates is not None and "=" not in settings.layer_rates:
        raise UsageError(
            f"layer_rates is {settings.layer_rates!r}: give layers with multipliers, as in hidden1=0.1,conv*=0.5"
        )
    for name, rate in read_amounts(settings.layer_rates, model, "layer_rates").items():
        rates[name] = rates.get(name, 1.0) * rate
    return rates


def _below_output(model: nn.Module, clip: Clip) -> Clip:
    outputs = {id(p) for name in output_layers(model) for p in model.get_submodule(name).parameters()}

    def clipped(parameters: Sequence[Parameter]) -> None:
        clip([parameter for parameter in parameters if id(parameter) not in outputs])

    return clipped
