"""A model without its output layer: what pretraining trains and fine-tuning reuses."""

import math

import torch
from torch import Tensor, nn

from reuse.errors import UsageError
from reuse.nn.outputs import is_timm, output_layer, output_layers


def encoder_of(model: nn.Module, *, pooled: bool = True) -> nn.Module:
    """Take the output layer away from `model` and return it: its outputs are now the coding.

    The coding of an mlp or convnet is the output of its last hidden layer, `(batch, features)`; of a timm model what
    its classifier would get; of any other module what it gives when its output layer lets everything through.

    Every other layer keeps its name, so the encoder's state dict goes into the whole model by name
    (`hidden1.linear.weight`, …).

    Args:
        model: a model with its output layer; it is changed in place.
        pooled: False leaves out timm's pooling too, for a coding that knows positions: `(batch, channels, h, w)` of
            convolutional models, `(batch, tokens, features)` of transformers.

    Raises:
        UsageError: the model has no output layer, or `pooled=False` and the model is not one of timm's.

    Example:
        >>> encoder_of(reuse.build("mlp:20,10", (4,), 3))(torch.zeros(2, 4)).shape
        torch.Size([2, 10])
    """
    names = output_layers(model)
    if is_timm(model):
        _take_timm_classifier(model, names, pooled)
        return model
    if not pooled:
        raise UsageError(
            f"pooled=False is for models of timm; {type(model).__name__} has no pooling that could be left out"
        )
    for name in names:
        model.set_submodule(name, nn.Identity())
    return model


def features(model: nn.Module, x: Tensor) -> Tensor:
    """Return the coding of `x`: what the output layer of `model` gets, while the model stays whole.

    Args:
        model: any model with an output layer.
        x: `(batch, *input_shape)`.

    Raises:
        UsageError: the model has no output layer, or did not use it on `x`.
    """
    name = output_layer(model)
    caught: list[Tensor] = []

    def catch(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        caught.append(inputs[0])

    handle = model.get_submodule(name).register_forward_pre_hook(catch)
    try:
        model(x)
    finally:
        handle.remove()
    if not caught:
        raise UsageError(f"the output layer {name!r} of {type(model).__name__} was not used on these inputs")
    return caught[-1]


def tokens_to_map_shape(model: nn.Module, num_tokens: int) -> tuple[int, int, int] | None:
    """Return how a transformer's tokens lie in the image: leading tokens without a place, rows, columns.

    None where the rest is no square, or no more than one token.
    """
    leading = int(getattr(model, "num_prefix_tokens", 0))
    side = math.isqrt(max(num_tokens - leading, 0))
    return (leading, side, side) if side > 1 and side * side == num_tokens - leading else None


@torch.no_grad()
def _take_timm_classifier(model: nn.Module, names: list[str], pooled: bool) -> None:
    """Reset the classifier to none; a model that refuses to go without pooling says so."""
    try:
        model.reset_classifier(0, *([] if pooled else [""]))  # type: ignore[operator]
    except (AssertionError, TypeError, ValueError) as error:
        kind = type(model).__name__
        raise UsageError(
            f"timm's {kind} keeps its {', '.join(names)} or its pooling: {error or 'no reason given'}"
        ) from error
