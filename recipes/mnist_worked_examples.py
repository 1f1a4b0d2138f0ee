"""The three worked examples: leaky ReLU, SELU on standardised inputs, ELU with batch norm, each on MNIST."""

from typing import Any

from reuse.recipes.experiments import Experiment, FigureColumn, last_held_out, run_experiment, train_network

import reuse

MODEL, SEEDS = "mlp:300,100", 5
ROWS: dict[str, dict[str, Any]] = {
    "leaky relu": {"init": "he_normal", "activation": "leaky_relu:0.01", "batch_size": 50, "epochs": 40},
    "selu, standardised": {
        "init": "lecun_normal",
        "activation": "selu",
        "batch_size": 50,
        "epochs": 40,
        "standardised": True,
    },
    "elu, batch norm": {
        "init": "he_normal",
        "activation": "elu",
        "norm": "batch:output",
        "batch_size": 200,
        "epochs": 20,
    },
}
COLUMNS = (
    FigureColumn("test_accuracy", "test accuracy, %", 100),
    FigureColumn("valid_accuracy", "validation accuracy, %", 100),
    FigureColumn("train_accuracy", "training accuracy, %", 100),
    FigureColumn("seconds", "seconds", digits=0),
)
EXPERIMENT = Experiment(
    "mnist_worked_examples",
    "MNIST: the worked examples",
    "784-300-100-10, SGD 0.01, the last tenth of the training rows held out; the figures are those after the last "
    "epoch: leaky ReLU 0.01 and SELU on inputs standardised pixel by pixel (batch 50, 40 epochs), ELU with batch norm"
    " in front of each activation and on the logits (batch 200, 20 epochs; its moving averages keep 0.9 of the past a"
    " step, in torch's words a momentum of 0.1). The documents give no figures.",
    ROWS,
    COLUMNS,
)


def main(quick: bool = False) -> dict[str, Any]:
    """Train all rows with five seeds; quick: the digits of scikit-learn, two epochs, one seed."""
    name = "digits" if quick else "mnist"
    images, standardised_pixels = (reuse.load(last_held_out(name, flat=flat)) for flat in (False, True))

    def measure(seed: int, epochs: int, standardised: bool = False, **settings: Any) -> dict[str, float]:
        data, training = standardised_pixels if standardised else images, {"optimizer": "sgd", "learning_rate": 0.01}
        scores: dict[str, float] = train_network(
            data, model=MODEL, epochs=2 if quick else epochs, seed=seed, **training, **settings
        )
        return scores

    record = run_experiment(EXPERIMENT, measure, seeds=1 if quick else SEEDS, quick=quick)
    return {"run": str(record.path), "test accuracy": record.means("test_accuracy")}
