"""Watching the layers of a network as it trains: gradients, weights, how far these moved, how units answer; and advice.

Advice is for what vanishes, explodes, saturates or dies: where that is, and what to try.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reuse.data.rows import Rows
from reuse.distributed import whole
from reuse.precision import autocast
from reuse.training.activity import DEAD, SATURATED, Activity, measure_activity
from reuse.training.batches import batch_sizes, batches
from reuse.training.evaluation import eval_mode
from reuse.training.trainer import Trainer
from reuse.units import format_count

ROWS = 2000
"""Training rows that the activations are looked at on, at most."""

PARTS = ("linear", "conv", "recurrent", "norm", "activation")
"""Names of the modules within a layer of ours; what they show is said of the layer."""

Figures = dict[str, dict[str, float]]

# Where figures of healthy networks end, with room: a ReLU net loses a tenth of its units without harm.
MOST_DEAD, MOST_SATURATED = 0.25, 0.5
VANISHING = 1e-5  # of the largest gradient norm of all layers
EXPLODING, TIMES_WEIGHTS = 100.0, 10.0  # a gradient norm that is above both, the second as a multiple of the weights'

_SHOWN = 2  # names of layers in one line


@dataclass(frozen=True)
class Advice:
    """One line of advice.

    Attributes:
        layers: what it is about.
        kind: `dead`, `saturated`, `vanishing` or `exploding`.
        text: the line.
    """

    layers: tuple[str, ...]
    kind: str
    text: str


@dataclass(frozen=True)
class Watched:
    """Figures of the layers after an epoch.

    Attributes:
        layers: figures by layer, from the first to the last: `gradient` and `weight`, Euclidean norms of all that
            trains in it, the gradient being that of the last step; `change`, by what share of its norm it moved since
            it was looked at before; `dead` or `saturated`, the share of units that are (see `Activity`).
        advice: where something is wrong and has not been said before.
    """

    layers: Figures
    advice: tuple[Advice, ...]


def watch(
    trainer: Trainer,
    source: Rows,
    *,
    before: Mapping[str, Tensor] | None = None,
    said: Collection[tuple[str, str]] = (),
) -> Watched:
    """Look at the layers between two epochs; nothing of the training is changed.

    Args:
        trainer: after an epoch: the gradients of its last step are still there, as they were clipped.
        source: the training rows.
        before: the weights that `change` is counted from, by name (see `reuse.training.state.copied`); None: leave it
            out.
        said: layer and kind of advice that is not to be given again.
    """
    rows = min(len(source), ROWS)
    layers = _parameter_figures(trainer, before)
    for name, activity in _activities(trainer, source, rows).items():
        entry = layers.setdefault(layer_of(name), {})
        entry[activity.kind] = max(entry.get(activity.kind, 0.0), activity.share)
    matrices = {_layer_of_parameter(name) for name, parameter in trainer.parameters if parameter.ndim > 1}
    return Watched(layers, advise(layers, matrices, rows, rows == len(source), said))


def layer_of(name: str) -> str:
    """Return the layer that a module is of: `hidden1` for `hidden1.linear` and `hidden1.activation`."""
    outer, _, last = name.rpartition(".")
    return outer if outer and last in PARTS else name


def _parameter_figures(trainer: Trainer, before: Mapping[str, Tensor] | None) -> Figures:
    """Return the norms of each layer's gradients and weights, and their change, with one wait for the device."""
    named = [(name, parameter) for name, parameter in trainer.parameters if parameter.grad is not None]
    weights = [whole(parameter.detach()) for _, parameter in named]
    gradients = [whole(parameter.grad) for _, parameter in named if parameter.grad is not None]
    norms = {"gradient": _norms(gradients), "weight": _norms(weights)}
    if before is not None:
        moved = [
            weight - before[name] if name in before else weight
            for (name, _), weight in zip(named, weights, strict=True)
        ]
        norms["change"] = _norms(moved)
    layers: Figures = {}
    for number, (name, _) in enumerate(named):
        entry = layers.setdefault(_layer_of_parameter(name), dict.fromkeys(norms, 0.0))
        for kind, values in norms.items():
            entry[kind] = math.hypot(entry[kind], values[number])
    for entry in layers.values():
        entry["gradient"] /= trainer.gradient_scale
        if "change" in entry:
            entry["change"] = entry["change"] / entry["weight"] if entry["weight"] else 0.0
    return layers


def _norms(tensors: Sequence[Tensor]) -> list[float]:
    """Return Euclidean norms in float32 at least, computed together."""
    if not tensors:
        return []
    wide = [tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor for tensor in tensors]
    return [float(norm) for norm in torch.stack([norm.double() for norm in torch._foreach_norm(wide)]).tolist()]


def _layer_of_parameter(name: str) -> str:
    owner = name.partition(".parametrizations.")[0] if ".parametrizations." in name else name.rpartition(".")[0]
    return layer_of(owner) if owner else name


def _activities(trainer: Trainer, source: Rows, rows: int) -> dict[str, Activity]:
    """Measure on rows evenly spread over all of them."""
    order = torch.linspace(0, len(source) - 1, rows, dtype=torch.float64).round().long().to(source.device)
    some = batches(source, None, order, batch_sizes(rows, trainer.loop.batch_size), trainer.device)
    with eval_mode(trainer.model), autocast(trainer.loop.precision, trainer.device):
        return measure_activity(trainer.model, trainer.network, some)


def advise(
    layers: Mapping[str, Mapping[str, float]],
    matrices: Collection[str],
    rows: int,
    all_rows: bool,
    said: Collection[tuple[str, str]] = (),
) -> tuple[Advice, ...]:
    """Return what there is to say about the figures that `watch` takes.

    Args:
        layers: figures by layer.
        matrices: the layers that have more than biases and scales: of these, gradients are judged.
        rows: how many rows the units were looked at on.
        all_rows: whether these are all.
        said: layer and kind of what is not to be said again.
    """
    every = "every training sample" if all_rows else f"each of {rows} training samples"
    advice = []
    for name, figures in layers.items():
        if figures.get(DEAD, 0.0) > MOST_DEAD and (name, DEAD) not in said:
            text = f"{name}: {figures[DEAD]:.0%} of units are zero for {every}; try leaky ReLU or a smaller rate"
            advice.append(Advice((name,), DEAD, text.replace("%", " %")))
        if figures.get(SATURATED, 0.0) > MOST_SATURATED and (name, SATURATED) not in said:
            text = f"{name}: {figures[SATURATED]:.0%} of units are saturated for most training samples; try smaller"
            advice.append(Advice((name,), SATURATED, text.replace("%", " %") + " initial weights, batch norm or ReLU"))
    gradients = {name: figures for name, figures in layers.items() if name in matrices and "gradient" in figures}
    if any(figures.get(DEAD) == 1.0 for figures in layers.values()):  # nothing passes it, which has been said
        gradients = {name: figures for name, figures in gradients.items() if figures["gradient"]}
    return (*advice, *_vanishing(gradients, said), *_exploding(gradients, said))


def _vanishing(layers: Mapping[str, Mapping[str, float]], said: Collection[tuple[str, str]]) -> list[Advice]:
    largest = max(layers, key=lambda name: layers[name]["gradient"], default="")
    bound = VANISHING * layers[largest]["gradient"] if largest else 0.0
    found = [n for n, figures in layers.items() if figures["gradient"] < bound and (n, "vanishing") not in said]
    if not found:
        return []
    text = (
        f"{_listed(found)}: gradients vanish, below {VANISHING:g} of that of {largest}; try ReLU or ELU with He's "
        "initial weights, batch norm, or fewer layers"
    )
    return [Advice(tuple(found), "vanishing", text)]


def _exploding(layers: Mapping[str, Mapping[str, float]], said: Collection[tuple[str, str]]) -> list[Advice]:
    found = [
        name
        for name, figures in layers.items()
        if not figures["gradient"] <= max(EXPLODING, TIMES_WEIGHTS * figures["weight"])  # so that NaN is found too
        and (name, "exploding") not in said
    ]
    if not found:
        return []
    worst = max(found, key=lambda name: layers[name]["gradient"])
    text = (
        f"{_listed(found)}: gradients explode, up to a norm of {layers[worst]['gradient']:.2g} where the weights have "
        f"{layers[worst]['weight']:.2g}; try clip_norm, a smaller rate, smaller initial weights or batch norm"
    )
    return [Advice(tuple(found), "exploding", text)]


def _listed(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {format_count(more, 'more layer')}" if more > 0 else "")
