"""What is wrong with a training, told by its outcome: that nothing was learned, or that other rows lie far off."""

import math
from collections.abc import Mapping

from torch import Tensor

from reuse.objectives.objective import Objective

ADVICE = "try more epochs, a lower rate than {rate:g}, or clip_norm=1"
FAR = 1e6  # so many times the loss of the training rows, and at least so much, is no want of generality


def judge(
    objective: Objective,
    sums: Mapping[str, dict[str, Tensor]],
    metrics: Mapping[str, Mapping[str, float]],
    learning_rate: float,
) -> str:
    """Return what is wrong with the outcome of a training; empty where nothing is.

    Args:
        objective: what was minimised.
        sums: of each split that was measured, by the objective's `tally`.
        metrics: of each split.
        learning_rate: the full rate, for advice.
    """
    failure = objective.failure(sums["train"]) if "train" in sums else ""
    if failure:
        return f"nothing was learned: {failure}; {ADVICE.format(rate=learning_rate)}"
    learned = metrics.get("train", {}).get("loss", math.nan)
    losses = {name: found["loss"] for name, found in metrics.items() if name != "train" and "loss" in found}
    far = [f"{name} {loss:.3g}" for name, loss in losses.items() if not loss <= FAR * max(1.0, learned)]
    if not far or not math.isfinite(learned):
        return ""
    return (
        f"the loss of other rows is that of values far from the training rows ({', '.join(far)}; train {learned:.3g}): "
        "look for other units, scales or huge values in them"
    )
