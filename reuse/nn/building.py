"""From a spec string to a module."""

from typing import Any

from torch import nn

from reuse.errors import UnknownNameError, UsageError
from reuse.lookup import suggest
from reuse.nn.callables import build_from_callable, can_be_imported
from reuse.nn.convnet import ConvNet
from reuse.nn.hidden import HiddenStyle, check_probability
from reuse.nn.mlp import MLP
from reuse.nn.outputs import output_layer, replace_output
from reuse.nn.preprocessing import preprocessing_of
from reuse.nn.probing import check_outputs
from reuse.nn.specs import LAYER_NAMES, parse_layered

__all__ = ["build", "output_layer", "preprocessing_of", "replace_output"]

FORMS = "mlp:300,100 · convnet:32,64 · timm:resnet18 · package.module:callable"
DEFAULT_SETTINGS = {"activation": "relu", "norm": None, "init": None, "dropout": 0.0, "input_dropout": 0.0}


def build(
    spec: str,
    input_shape: tuple[int, ...],
    num_outputs: int,
    *,
    activation: str = "relu",
    norm: str | None = None,
    init: str | None = None,
    dropout: float = 0.0,
    input_dropout: float = 0.0,
    pretrained: bool = False,
) -> nn.Module:
    """Return the model that `spec` describes.

    Args:
        spec: `mlp:300,100` (layers `hidden1`, `hidden2`, `output`), `convnet:32,64` (`conv1`, `conv2`, `output`),
            `timm:NAME`, or `package.module:callable`, which is called with what its signature names.
        input_shape: shape of one sample, `(features,)` or `(channels, height, width)`.
        num_outputs: units of the output layer, which has no activation.
        activation: of the hidden layers, a name of `activations.ACTIVATIONS`.
        norm: between the linear part of a hidden layer and its activation: batch, layer, group, rms, instance; with
            places behind a colon also after the activation, on the inputs, on the outputs: `batch:after,input,output`.
        init: initial weights of the hidden layers; None follows the activation. The output layer has Glorot's.
        dropout: probability of dropping an output of a hidden layer; for timm its `drop_rate`.
        input_dropout: probability of dropping an input.
        pretrained: load timm's pretrained weights.

    Returns:
        A module from `(batch, *input_shape)` to `(batch, num_outputs)`; timm's and the user's have been tried on two
        samples.

    Raises:
        UsageError: a spec, shape or setting that cannot be taken; `UnknownNameError` names the nearest.
        RunError: pretrained weights that cannot be had.

    Example:
        >>> build("mlp:100,50", (64,), 10)(torch.zeros(1, 64)).shape
        torch.Size([1, 10])
    """
    _check_shapes(input_shape, num_outputs)
    settings: dict[str, Any] = {
        "activation": activation,
        "norm": norm,
        "init": init,
        "dropout": dropout,
        "input_dropout": input_dropout,
    }
    check_probability("dropout", dropout)
    check_probability("input_dropout", input_dropout)
    family, _, name = spec.partition(":")
    if family in LAYER_NAMES:
        return _build_layered(spec, tuple(input_shape), num_outputs, settings, pretrained)
    if family == "timm" and name:
        return _build_timm(name, tuple(input_shape), num_outputs, settings, pretrained)
    return _build_users(spec, tuple(input_shape), num_outputs, settings, pretrained)


def _build_layered(
    spec: str, shape: tuple[int, ...], num_outputs: int, settings: dict[str, Any], pretrained: bool
) -> nn.Module:
    if pretrained:
        raise UsageError(f"{spec} has no pretrained weights: give a run or a file of weights to restore from")
    parsed = parse_layered(spec)
    input_dropout = settings.pop("input_dropout")
    style = HiddenStyle(**settings)
    if parsed.family == "mlp":
        return MLP(shape, parsed.widths, num_outputs, style, input_dropout)
    if len(shape) != 3:
        raise UsageError(f"{spec} takes images (channels, height, width); one input here is {shape}")
    return ConvNet((shape[0], shape[1], shape[2]), parsed.widths, num_outputs, style, input_dropout)


def _build_timm(
    name: str, shape: tuple[int, ...], num_outputs: int, settings: dict[str, Any], pretrained: bool
) -> nn.Module:
    from reuse.nn.timm_models import build_timm, takes  # timm takes seconds to import

    spec = f"timm:{name}"
    _refuse_unused(spec, settings, {"dropout"})
    model = build_timm(name, shape, num_outputs, pretrained=pretrained, dropout=settings["dropout"])
    check_outputs(model, shape, num_outputs, spec, takes(name))
    return model


def _build_users(
    spec: str, shape: tuple[int, ...], num_outputs: int, settings: dict[str, Any], pretrained: bool
) -> nn.Module:
    path, _, attribute = spec.partition(":")
    if not attribute or not can_be_imported(path):
        raise _unknown_form(spec, path)
    offered = settings | {"pretrained": pretrained}
    model, given = build_from_callable(spec, shape, num_outputs, offered)
    _refuse_unused(spec, settings, given)
    check_outputs(model, shape, num_outputs, spec, "make it take input_shape (or in_features) and num_outputs")
    return model


def _unknown_form(spec: str, family: str) -> UsageError:
    families = [*LAYER_NAMES, "timm"]
    if family in families:
        return UsageError(f"model {spec!r} is a family without anything after it: write one of {FORMS}")
    return UnknownNameError(
        f"unknown model {spec!r}: {family!r} is no family and no module that can be imported; "
        f"{suggest(family, families)} Forms: {FORMS}"
    )


def _refuse_unused(spec: str, settings: dict[str, Any], used: set[str]) -> None:
    unused = [name for name, value in settings.items() if name not in used and value != DEFAULT_SETTINGS[name]]
    if unused:
        raise UsageError(f"{spec} builds its own layers and takes no {', '.join(unused)}: leave it out")


def _check_shapes(input_shape: tuple[int, ...], num_outputs: int) -> None:
    if not input_shape or any(not isinstance(size, int) or size < 1 for size in input_shape):
        raise UsageError(f"an input shape is one or more positive whole numbers, without the batch; not {input_shape}")
    if num_outputs < 1:
        raise UsageError(f"a model needs at least one output; {num_outputs} was given")
