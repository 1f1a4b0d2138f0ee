"""Keras 3 on torch with cached features: three lines changed, the same losses, epoch by epoch.

`train` is the fit as it was, `train_cached` the same with the frozen base computed once. Keras takes its backend from
the environment: run it with `KERAS_BACKEND=torch`.
"""

import tempfile
from pathlib import Path
from typing import Any

import keras
from reuse.recipes.loop_digits import digits, largest_difference
from torch.utils.data import DataLoader, TensorDataset

import reuse
from reuse.loops.keras import joined


def compiled(model: Any) -> Any:
    """Return a model that is ready to be fitted."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss=loss)
    return model


def networks() -> tuple[Any, Any]:
    """Return a frozen base and a head."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    base = keras.Sequential(
        [keras.Input((1, 8, 8)), layers.Flatten(), layers.Dense(50, "relu"), layers.BatchNormalization()]
    )
    base.trainable = False
    return base, keras.Sequential([keras.Input((50,)), layers.Dense(10)])


def train(base: Any, head: Any, data: TensorDataset, cache: Path, epochs: int) -> list[float]:  # noqa: ARG001 - all loops take the same
    """Return the losses of all epochs."""
    model = compiled(keras.Sequential([base, head]))
    loader = DataLoader(data, batch_size=64)
    return list(model.fit(loader, epochs=epochs, verbose=0, shuffle=False).history["loss"])


def train_cached(base: Any, head: Any, data: TensorDataset, cache: Path, epochs: int) -> list[float]:
    """Return the losses of all epochs, the frozen base computed once."""
    model = compiled(head)
    loader = DataLoader(reuse.cached(joined(base, head), data, freeze="base", cache_dir=cache), batch_size=64)
    return list(model.fit(loader, epochs=epochs, verbose=0, shuffle=False).history["loss"])


def main(quick: bool = False) -> dict[str, Any]:
    """Train both ways and return how far apart any two losses are."""
    images, labels = digits(300 if quick else 1797).tensors
    data, epochs = TensorDataset(images.float(), labels), 2 if quick else 20
    with tempfile.TemporaryDirectory() as cache:
        both = [function(*networks(), data, Path(cache), epochs) for function in (train, train_cached)]
    return {"epochs": len(both[0]), "last_loss": both[1][-1], "largest_difference": largest_difference(*both)}
