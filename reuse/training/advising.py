"""From figures about layers to advice: what vanishes, explodes, saturates or dies, and what to try."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from reuse.training.activity import DEAD, SATURATED

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


def advise(
    layers: Mapping[str, Mapping[str, float]],
    matrices: Collection[str],
    rows: int,
    all_rows: bool,
    said: Collection[tuple[str, str]] = (),
) -> tuple[Advice, ...]:
    """Return what there is to say about the figures that `reuse.training.watching.watch` takes.

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
    return ", ".join(names[:_SHOWN]) + (f" and {more} more layers" if more > 0 else "")
