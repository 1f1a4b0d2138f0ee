"""What Keras trains: one entry for each row of each experiment, in Keras' own words and with Keras' own defaults."""

from dataclasses import dataclass, field
from typing import Any

HE_RELU: dict[str, Any] = {"initializer": "he_normal", "activation": "relu"}
SELU: dict[str, Any] = {"initializer": "lecun_normal", "activation": "selu"}
HALVING_VARIANCE: dict[str, Any] = {
    "class_name": "VarianceScaling",
    "config": {"scale": 2.0, "mode": "fan_avg", "distribution": "uniform"},
}


@dataclass(frozen=True)
class Configuration:
    """One training.

    Attributes:
        data: fashion-mnist, mnist or california-housing.
        widths: units of the hidden layers.
        epochs: how many.
        initializer: of the hidden layers; the output layer keeps Keras' Glorot uniform.
        activation: of the hidden layers; prelu has a slope for each unit, from 0.
        norm: None, `before_layers` (in front of every layer, hidden and output) or `before_activations` (between each
            layer, the output's too, and its activation).
        norm_momentum: Keras' own is 0.99.
        standardised: whether inputs are standardised by the training rows; images are only divided by 255 otherwise.
        optimizer: a class of `keras.optimizers`.
        optimizer_settings: its arguments.
        batch_size: rows a step.
    """

    data: str
    widths: tuple[int, ...]
    epochs: int
    initializer: Any = "glorot_uniform"
    activation: str = "relu"
    norm: str | None = None
    norm_momentum: float = 0.99
    standardised: bool = False
    optimizer: str = "SGD"
    optimizer_settings: dict[str, Any] = field(default_factory=lambda: {"learning_rate": 1e-3})
    batch_size: int = 32


def _fashion(**settings: Any) -> Configuration:
    return Configuration("fashion-mnist", (300, 100, 50, 50, 50), 20, **settings)


def _housing(epochs: int = 20, **settings: Any) -> Configuration:
    return Configuration("california-housing", (100, 50, 10, 10, 10), epochs, **{"standardised": True} | settings)


def _mnist(epochs: int, **settings: Any) -> Configuration:
    return Configuration("mnist", (300, 100), epochs, optimizer_settings={"learning_rate": 0.01}, **settings)


def _optimizers(rmsprop_decay: float) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return class and arguments of each optimizer; those of RMSprop's decay differ between the experiments."""
    rate = {"learning_rate": 1e-3}
    return {
        "momentum": ("SGD", rate | {"momentum": 0.9}),
        "nesterov": ("SGD", rate | {"momentum": 0.9, "nesterov": True}),
        "adagrad": ("Adagrad", rate),
        "rmsprop": ("RMSprop", rate | {"rho": rmsprop_decay}),
        "adam": ("Adam", rate),
        "adamax": ("Adamax", rate),
        "nadam": ("Nadam", rate),
    }


EXPERIMENTS: dict[str, dict[str, Configuration]] = {
    "housing_regression": {
        "glorot relu": _housing(),
        "variance scaling relu": _housing(initializer=HALVING_VARIANCE),
        "he relu": _housing(**HE_RELU),
        "lecun selu": _housing(**SELU),
        "lecun selu, batch norm, raw inputs": _housing(**SELU, norm="before_layers", standardised=False),
    }
    | {
        name: _housing(40, **HE_RELU, optimizer=kind, optimizer_settings=settings)
        for name, (kind, settings) in _optimizers(0.9).items()
    },
    "fashion_mnist_initializers": {
        "glorot none": _fashion(activation="linear"),
        "glorot relu": _fashion(),
        "he relu": _fashion(**HE_RELU),
        "variance scaling relu": _fashion(initializer=HALVING_VARIANCE),
        "he leaky relu": _fashion(initializer="he_normal", activation="leaky_relu"),
        "he prelu": _fashion(initializer="he_normal", activation="prelu"),
        "lecun selu": _fashion(**SELU),
        "he relu, batch norm": _fashion(**HE_RELU, norm="before_layers"),
        "zeros relu": _fashion(initializer="zeros"),
        "ones relu": _fashion(initializer="ones"),
    },
    "fashion_mnist_optimizers": {
        "sgd": _fashion(**HE_RELU),
    }
    | {
        name: _fashion(**HE_RELU, optimizer=kind, optimizer_settings=settings)
        for name, (kind, settings) in _optimizers(0.99).items()
    },
    "mnist_worked_examples": {
        "leaky relu": _mnist(40, initializer="he_normal", activation="leaky_relu", batch_size=50),
        "selu, standardised": _mnist(40, **SELU, standardised=True, batch_size=50),
        "elu, batch norm": _mnist(
            20,
            initializer="he_normal",
            activation="elu",
            norm="before_activations",
            norm_momentum=0.9,
            batch_size=200,
        ),
    },
}
