"""Eight optimizers at one rate: the same deep dense net on Fashion-MNIST.

Where torch's optimizer of a name begins otherwise than Keras', a second row sets torch's to what Keras means.
"""

from typing import Any

from reuse.recipes.experiments import Experiment, FigureColumn, last_held_out, run_experiment, train_network

import reuse

MODEL, EPOCHS, SEEDS = "mlp:300,100,50,50,50", 20, 5
ROWS: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": "sgd"},
    "momentum": {"optimizer": "momentum"},
    "nesterov": {"optimizer": "nesterov"},
    "adagrad": {"optimizer": "adagrad:initial_accumulator_value=0.1,eps=1e-7"},
    "adagrad as torch begins": {"optimizer": "adagrad"},
    "rmsprop": {"optimizer": "rmsprop:alpha=0.99"},
    "adam": {"optimizer": "adam"},
    "adamax": {"optimizer": "adamax"},
    "nadam": {"optimizer": "nadam"},
}
# Validation accuracy in per cent, one seed each.
PUBLISHED = {
    "sgd": "86.2",
    "momentum": "88.5",
    "nesterov": "88.9",
    "adagrad": "85.8",
    "rmsprop": "84.6",
    "adam": "89.7",
    "adamax": "88.8",
    "nadam": "89.3",
}
COLUMNS = (
    FigureColumn("valid_accuracy", "validation accuracy, %", 100),
    FigureColumn("train_accuracy", "training accuracy, %", 100),
    FigureColumn("seconds", "seconds", digits=0),
)
EXPERIMENT = Experiment(
    "fashion_mnist_optimizers",
    "Fashion-MNIST: optimizers",
    "784-300-100-50-50-50-10, He normal, ReLU, inputs / 255, rate 1e-3, batch 32, 20 epochs, the last tenth of the "
    "training rows held out; the figures are those after the last epoch. Momentum is 0.9, RMSprop's decay 0.99. "
    "Keras' Adagrad begins with 0.1 in its accumulator, torch's with nothing, so that torch's first steps are far "
    "longer: both stand here, and the published figure beside the one that it was measured with. Keras adds an "
    "epsilon of 1e-7 where torch adds 1e-8, and its Nadam raises its momentum faster.",
    ROWS,
    COLUMNS,
    {row: {"valid_accuracy": accuracy} for row, accuracy in PUBLISHED.items()},
)


def main(quick: bool = False) -> dict[str, Any]:
    """Train all rows with five seeds; quick: the digits of scikit-learn, two epochs, one seed."""
    data = reuse.load(last_held_out("digits" if quick else "fashion-mnist"))

    def measure(seed: int, optimizer: str) -> dict[str, float]:
        network = {"init": "he_normal", "activation": "relu"}
        training = {"optimizer": optimizer, "learning_rate": 1e-3, "batch_size": 32}
        scores: dict[str, float] = train_network(
            data, model=MODEL, epochs=2 if quick else EPOCHS, seed=seed, **network, **training
        )
        return scores

    record = run_experiment(EXPERIMENT, measure, seeds=1 if quick else SEEDS, quick=quick)
    return {"run": str(record.path), "validation accuracy": record.means("valid_accuracy")}
