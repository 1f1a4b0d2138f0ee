"""Train the experiments' networks in Keras 3 with several seeds and record what comes out; what is recorded is skipped.

    REUSE_DATA=… python tests/benchmarks/keras_reference/run.py fashion_mnist_initializers --seeds 5

It needs Keras with TensorFlow in an environment of its own (see README.md beside it) and nothing of `reuse`.
"""

import argparse
import gc
import json
import os
import platform
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import tensorflow as tf
from configurations import EXPERIMENTS, Configuration

from data import Rows, load

RESULTS = Path(__file__).resolve().parents[3] / "recipes" / "results"
EVALUATION_BATCH = 6000
STEPS_PER_CALL = (
    50  # one call of the compiled function trains so many batches: the same numbers, less waiting on Python
)


def build(configuration: Configuration, num_features: int) -> keras.Model:
    """Return the compiled network."""
    is_classifier = configuration.data != "california-housing"
    layers: list[keras.layers.Layer] = [keras.Input((num_features,))]
    for width in configuration.widths:
        layers += _hidden(configuration, width)
    layers += _output(configuration, 10 if is_classifier else 1)
    model = keras.Sequential(layers)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True) if is_classifier else "mse"
    optimizer = getattr(keras.optimizers, configuration.optimizer)(**configuration.optimizer_settings)
    metrics = ["accuracy"] if is_classifier else []
    model.compile(optimizer=optimizer, loss=loss, metrics=metrics, steps_per_execution=STEPS_PER_CALL)
    return model


def _hidden(configuration: Configuration, width: int) -> list[keras.layers.Layer]:
    before_activations = configuration.norm == "before_activations"
    kernel = keras.initializers.get(configuration.initializer)
    if isinstance(configuration.initializer, str):
        kernel = keras.initializers.deserialize({"class_name": configuration.initializer, "config": {}})
    dense = keras.layers.Dense(width, kernel_initializer=kernel, use_bias=not before_activations)
    if configuration.activation == "prelu":
        activation = keras.layers.PReLU()
    elif configuration.activation == "leaky_relu":
        activation = keras.layers.LeakyReLU(negative_slope=0.01)
    else:
        activation = keras.layers.Activation(configuration.activation)
    if before_activations:
        return [dense, _norm(configuration), activation]
    return [*([_norm(configuration)] if configuration.norm else []), dense, activation]


def _output(configuration: Configuration, width: int) -> list[keras.layers.Layer]:
    if configuration.norm == "before_activations":
        return [keras.layers.Dense(width, use_bias=False), _norm(configuration)]
    return [*([_norm(configuration)] if configuration.norm else []), keras.layers.Dense(width)]


def _norm(configuration: Configuration) -> keras.layers.Layer:
    return keras.layers.BatchNormalization(momentum=configuration.norm_momentum)


def train(configuration: Configuration, rows: Rows, seed: int) -> dict[str, float]:
    """Return the figures of one training: of the last epoch, and the lowest validation loss of all."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    model = build(configuration, rows.train[0].shape[1])
    started = time.perf_counter()
    history = model.fit(
        *rows.train,
        batch_size=configuration.batch_size,
        epochs=configuration.epochs,
        validation_data=rows.valid,
        validation_batch_size=EVALUATION_BATCH,
        verbose=0,
    ).history
    seconds = time.perf_counter() - started
    figures = {"seconds": seconds, "epochs": configuration.epochs}
    if "accuracy" in history:
        figures["train_accuracy_running"] = history["accuracy"][-1]
    for split in ("train", "valid", "test"):
        measured = model.evaluate(*getattr(rows, split), batch_size=EVALUATION_BATCH, verbose=0, return_dict=True)
        figures |= {f"{split}_{'mse' if len(measured) == 1 else name}": value for name, value in measured.items()}
    if "valid_mse" in figures:
        figures["best_valid_mse"] = min(history["val_loss"])
    return {name: float(np.round(value, 6)) for name, value in figures.items()}


def record(path: Path, experiment: str) -> dict[str, Any]:
    """Return what has been recorded so far, or a new record."""
    if path.exists():
        return json.loads(path.read_text())
    return {
        "experiment": experiment,
        "by": f"keras {keras.__version__}",
        "command": f"python tests/benchmarks/keras_reference/run.py {experiment}",
        "machines": [machine()],
        "runs": [],
    }


def machine() -> dict[str, Any]:
    """Return what the seconds depend on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "threads": 1,
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
    }


def run(experiment: str, seeds: int, results: Path) -> None:
    """Train every row of an experiment with each seed, seeds outside, so that whole columns are complete early."""
    path = results / f"{experiment}.keras.json"
    found = record(path, experiment)
    done = {(entry["row"], entry["seed"]) for entry in found["runs"]}
    for seed in range(seeds):
        for name, configuration in EXPERIMENTS[experiment].items():
            if (name, seed) in done:
                continue
            figures = train(configuration, load(configuration.data, configuration.standardised), seed)
            date = datetime.now(UTC).date().isoformat()
            found["runs"].append({"row": name, "seed": seed, "date": date, **figures})
            path.write_text(json.dumps(found, indent=1) + "\n")
            print(experiment, name, seed, figures, file=sys.stderr, flush=True)
            gc.collect()


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment", choices=EXPERIMENTS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of the records")
    arguments = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    arguments.results.mkdir(parents=True, exist_ok=True)
    run(arguments.experiment, arguments.seeds, arguments.results)


if __name__ == "__main__":
    main()
