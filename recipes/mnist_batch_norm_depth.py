"""Batch norm against depth: how many steps until 90 % of MNIST's test images are right, with one to seven layers.

Without it the steps grow with every layer, with it they do not. A step with it takes longer.
"""

from typing import Any

import numpy as np
from reuse.recipes.experiments import Experiment, FigureColumn, Record, run_experiment, train_until

import reuse

SEEDS, MAX_STEPS, EVERY, ACCURACY = 3, 1000, 2, 0.9
WIDTHS = (500, 400, 300, 200, 100, 50, 25)
DEPTHS = range(1, len(WIDTHS) + 1)
NORMS: dict[str, str | None] = {"no norm": None, "batch norm": "batch:output"}
TRAINING: dict[str, Any] = {"optimizer": "adam", "init": "glorot_uniform", "batch_size": 500}
CASES: dict[str, dict[str, Any]] = {
    f"{activation}, {norm}, Adam {rate:g}": {"activation": activation, "norm": NORMS[norm], "learning_rate": rate}
    for activation, rate in (("relu", 0.01), ("sigmoid", 0.01), ("relu", 0.001))
    for norm in NORMS
}
ROWS: dict[str, dict[str, Any]] = {
    f"{case}, {depth} hidden": {**settings, "model": "mlp:" + ",".join(map(str, WIDTHS[:depth]))}
    for case, settings in CASES.items()
    for depth in DEPTHS
}
COLUMNS = (
    FigureColumn("steps", "steps to 90 %", digits=0),
    FigureColumn("reached", "reached, share of seeds", digits=1),
    FigureColumn("milliseconds", "milliseconds a step", digits=1),
)
EXPERIMENT = Experiment(
    "mnist_batch_norm_depth",
    "MNIST: batch norm against depth",
    "Hidden layers of 500, then 500-400, up to 500-400-300-200-100-50-25 units; Glorot uniform, batch 500, Adam, at "
    "most 1,000 steps; test accuracy measured every 2 steps. Batch norm stands in front of each activation and on the"
    " logits. The source gives neither rate nor initial weights: 0.01 is what it calls safe; ReLU at 0.001 stands "
    "beside it, because there the nets without batch norm hardly suffer.",
    ROWS,
    COLUMNS,
)


def main(quick: bool = False) -> dict[str, Any]:
    """Train all with three seeds; quick: the digits of scikit-learn, four steps, one seed."""
    data = reuse.load("digits" if quick else "mnist", valid_fraction=0)

    def measure(seed: int, **settings: Any) -> dict[str, float]:
        max_steps = 4 if quick else MAX_STEPS
        scores: dict[str, float] = train_until(
            data, ACCURACY, seed=seed, max_steps=max_steps, every=EVERY, **TRAINING, **settings
        )
        return scores

    record = run_experiment(EXPERIMENT, measure, seeds=1 if quick else SEEDS, quick=quick, conclude=conclude)
    return {"run": str(record.path), "conclusions": record.conclusions}


def conclude(record: Record) -> list[str]:
    """Say how many steps each further layer costs."""
    steps, lines = record.means("steps"), []
    for case in CASES:
        by_depth = [steps[f"{case}, {depth} hidden"] for depth in DEPTHS]
        slope = float(np.polyfit(list(DEPTHS), by_depth, 1)[0])
        lines.append(f"{case}: {slope:+.1f} steps for each further layer, {by_depth[0]:.0f} to {by_depth[-1]:.0f}")
    return lines
