"""A deep belief net on MNIST, 784-1000-1000-1000: restricted Boltzmann machines stacked, then tuned on labels.

Each machine is trained on what the layers below have given, which is computed once and cached. The same net from
scratch stands beside it.
"""

from typing import Any

from reuse.recipes.experiments import Experiment
from reuse.recipes.experiments.layerwise import COLUMNS, SCRATCH, Layerwise, run_layerwise

from reuse.objectives.dbn import BeliefNet

PUBLISHED = "deep belief net"
MODEL: dict[str, Any] = {
    "data": "mnist",
    "model": "mlp:1000,1000,1000",
    "activation": "sigmoid",
    "valid_fraction": 1 / 6,
    "batch_size": 100,
}
PRETRAINING: dict[str, Any] = {"epochs": 30, "optimizer": "sgd", "momentum": 0.9, "learning_rate": 0.01}
TUNING: dict[str, Any] = {
    "epochs": 30,
    "learning_rate": 1e-3,
    "schedule": "cosine",
    "dropout": 0.4,
    "input_dropout": 0.2,
    "early_stopping": False,
}
ROWS: dict[str, dict[str, Any]] = {PUBLISHED: {"layer_epochs": 10}, SCRATCH: {}}
EXPERIMENT = Experiment(
    "deep_belief_net",
    "MNIST: a deep belief net",
    "784-1000-1000-1000-10 with sigmoids. Three machines of binary units, one step of contrastive divergence, SGD 0.01 "
    "with momentum 0.9, batch 100, 10 epochs each on the inputs of 50,000 training rows; then all trained on the "
    "labels, Adam 1e-3 down a cosine, dropout 0.4 and 0.2 of the inputs, 30 epochs, the weights of the best of them on "
    "10,000 validation rows, which chose both shares and the epochs. Published: 615 minutes of pretraining and 101 of "
    "fine-tuning on four cores of their day.",
    ROWS,
    COLUMNS,
    {PUBLISHED: {"test_error": "1.34", "pretraining_minutes": "615", "tuning_minutes": "101"}},
)


def main(quick: bool = False) -> dict[str, Any]:
    """Train both; quick: the digits of scikit-learn, narrow layers, an epoch a layer."""
    outcome: dict[str, Any] = run_layerwise(
        EXPERIMENT, Layerwise(BeliefNet, MODEL, PRETRAINING, TUNING, "1.34 % in 60 minutes"), quick
    )
    return outcome
