"""Layers that are trained one after the other: which encoders have them, and how many epochs each is given."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from reuse.errors import UsageError
from reuse.menus import is_number
from reuse.nn.decoders import encoder_of
from reuse.nn.mlp import MLP
from reuse.units import format_count

Epochs = int | tuple[int, ...] | None


def layered_encoder(model: nn.Module, method: str) -> MLP:
    """Return a model without its output layer, whose hidden layers can be trained one by one.

    Args:
        model: with its output layer.
        method: that is to train it, for the message.

    Raises:
        UsageError: its layers cannot be told apart, or gone through in reverse.
    """
    encoder = encoder_of(model)
    if not (isinstance(encoder, MLP) and encoder.has_mirror):
        kind = type(encoder).__name__
        raise UsageError(
            f"{method} trains dense layers one by one, and this is a {kind}: give a model such as mlp:100,50"
        )
    if "embedding" in encoder._modules:
        raise UsageError(f"{method} gives numbers back, and these inputs are tokens: pretrain on labels (supervised)")
    return encoder


def hidden_names(encoder: MLP) -> list[str]:
    """Return the names of the hidden layers, the lowest first."""
    return [f"hidden{number}" for number in range(1, len(encoder.widths) + 1)]


def below(encoder: MLP, number: int) -> nn.Sequential | None:
    """Return all that lies below the hidden layer of a number, from 1, with its names; None below the first.

    What stands in front of the first hidden layer, such as dropout of the inputs, belongs to it.
    """
    names = list(encoder._modules)
    lower = names[: names.index(f"hidden{number}")] if number > 1 else []
    return nn.Sequential(OrderedDict((name, encoder.get_submodule(name)) for name in lower)) if lower else None


def layer_with_front(encoder: MLP, number: int) -> nn.Module:
    """Return the hidden layer of a number, the first one with what stands in front of it."""
    layer = encoder.get_submodule(f"hidden{number}")
    names = list(encoder._modules)
    front = names[: names.index("hidden1")] if number == 1 else []
    return nn.Sequential(*(encoder.get_submodule(name) for name in front), layer) if front else layer


def epochs_of_layers(given: Epochs, layers: int, epochs: int, stages: int) -> Sequence[int]:
    """Return how many epochs each layer is trained for.

    Args:
        given: for all layers alike, or for each; None: an even share of the run's epochs, at least one.
        layers: how many there are.
        epochs: of the whole run.
        stages: among which an even share is divided.

    Raises:
        UsageError: they are not as many as layers.
    """
    if isinstance(given, tuple):
        if len(given) != layers:
            raise UsageError(
                f"layer_epochs has {format_count(len(given), 'number')} for {format_count(layers, 'layer')}: "
                "give one a layer, or one for all"
            )
        return given
    return [max(1, epochs // stages) if given is None else given] * layers


def check_layer_epochs(given: Epochs) -> None:
    """Raise a UsageError unless all numbers of epochs are whole and above 0."""
    for one in given if isinstance(given, tuple) else (given,):
        whole = is_number(one) and one == int(one) and one >= 1
        if one is not None and not whole:
            raise UsageError(f"layer_epochs is {given!r}: give whole numbers above 0, such as 10 or 20/10")
