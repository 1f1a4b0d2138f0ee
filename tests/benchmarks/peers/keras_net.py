"""Keras 3 on TensorFlow and on torch: arrays in, many steps in one call of the compiled function."""

import importlib
import os
from typing import Any

from peers.rows import BATCH, CLASSES, FEATURES, RATE, WIDTHS, Ended, Rows

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
STEPS_A_CALL = 50


def on_tensorflow(rows: Rows, ended: Ended) -> None:
    """Train with SGD on TensorFlow."""
    _fit(rows, ended, "tensorflow", steps_per_execution=STEPS_A_CALL)


def on_tensorflow_by_step(rows: Rows, ended: Ended) -> None:
    """Train with SGD on TensorFlow, a step a call, as Keras does when nothing is said."""
    _fit(rows, ended, "tensorflow")


def on_torch(rows: Rows, ended: Ended) -> None:
    """Train with SGD on torch, which knows no more than one step a call."""
    _fit(rows, ended, "torch")


def _fit(rows: Rows, ended: Ended, backend: str, **settings: Any) -> None:
    os.environ["KERAS_BACKEND"] = backend
    if backend == "tensorflow":
        tensorflow = importlib.import_module("tensorflow")
        tensorflow.config.threading.set_intra_op_parallelism_threads(int(os.environ["OMP_NUM_THREADS"]))
        tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    keras: Any = importlib.import_module("keras")
    hidden = [keras.layers.Dense(width, activation="relu", kernel_initializer="he_normal") for width in WIDTHS]
    network = keras.Sequential([keras.Input((FEATURES,)), *hidden, keras.layers.Dense(CLASSES)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.SGD(RATE), loss, metrics=["accuracy"], **settings)
    turns = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: ended())
    train, valid = (
        (inputs.numpy(), labels.numpy())
        for inputs, labels in ((rows.inputs, rows.labels), (rows.valid_inputs, rows.valid_labels))
    )
    network.fit(*train, BATCH, epochs=1_000_000, verbose=0, validation_data=valid, callbacks=[turns])
