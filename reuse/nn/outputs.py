"""The output layer of any model: its name, and a fresh one in its place."""

from collections.abc import Mapping

from torch import nn
from torch.nn.modules.conv import _ConvNd

from reuse.errors import UsageError
from reuse.nn.convnet import ConvNet
from reuse.nn.hidden import initialize, output_linear
from reuse.nn.mlp import MLP
from reuse.nn.recurrent import RecurrentNet


def output_layers(model: nn.Module) -> list[str]:
    """Return the qualified names of the layers that give the outputs: one, but for models with a second head.

    `output` of an mlp, convnet, highway or recurrent net, with `output_norm` where it has one; what timm says is the
    classifier; of any other module the linear or convolutional layer that was registered last.

    Raises:
        UsageError: there is none.
    """
    if isinstance(model, MLP | ConvNet | RecurrentNet):
        return [name for name, _ in model.named_children() if name in ("output", "output_norm")]
    if is_timm(model):
        return _timm_classifiers(model)
    weighted = [name for name, module in model.named_modules() if name and isinstance(module, nn.Linear | _ConvNd)]
    if not weighted:
        kind = type(model).__name__
        raise UsageError(
            f"{kind} has no linear or convolutional layer inside it, so none can be its output layer; one that stands "
            "alone goes into nn.Sequential"
        )
    return weighted[-1:]


def output_layer(model: nn.Module) -> str:
    """Return the qualified name of the output layer; the first of several (see `output_layers`).

    Raises:
        UsageError: the model has none.

    Example:
        >>> output_layer(reuse.build("mlp:20,10", (4,), 3))
        'output'
    """
    return output_layers(model)[0]


def replace_output(model: nn.Module, num_outputs: int) -> list[str]:
    """Put a fresh, trainable output layer of `num_outputs` units in place of the model's own.

    The new weights are Glorot's uniform ones and the biases zero; timm models reset their classifier as timm does.

    Returns:
        The names of the layers that were replaced.

    Raises:
        UsageError: the model has no output layer, or it has been taken away.
    """
    if num_outputs < 1:
        raise UsageError(f"an output layer needs at least one output; {num_outputs} was given")
    names = output_layers(model)
    if is_timm(model):
        model.reset_classifier(num_outputs)  # type: ignore[operator]
        return names
    fresh: Mapping[str, nn.Module]
    if isinstance(model, MLP | ConvNet | RecurrentNet) and isinstance(model.output, nn.Linear):
        fresh = output_linear(model.output.in_features, num_outputs, model.style)
    else:
        fresh = {name: _fresh(model.get_submodule(name), num_outputs, name) for name in names}
    for name, layer in fresh.items():
        model.set_submodule(name, _as(layer, model.get_submodule(name)))
    return names


def is_timm(model: nn.Module) -> bool:
    """Return whether `model` has what every classification model of timm has."""
    return callable(getattr(model, "get_classifier", None)) and callable(getattr(model, "reset_classifier", None))


def _timm_classifiers(model: nn.Module) -> list[str]:
    classifiers = model.get_classifier()  # type: ignore[operator]
    heads = classifiers if isinstance(classifiers, tuple | list) else [classifiers]
    names = {id(module): name for name, module in model.named_modules() if name}
    found = [names[id(head)] for head in heads if id(head) in names]
    if not found:
        raise UsageError(f"{type(model).__name__} of timm does not say which layer is its classifier")
    return found


def _fresh(old: nn.Module, num_outputs: int, name: str) -> nn.Module:
    """Return a new layer like `old` with other outputs."""
    if isinstance(old, nn.Linear):
        fresh: nn.Linear | _ConvNd = nn.Linear(old.in_features, num_outputs, bias=old.bias is not None)
    elif isinstance(old, _ConvNd):
        fresh = _fresh_conv(old, num_outputs)
    else:
        raise UsageError(f"layer {name!r} is a {type(old).__name__}: the output layer has been taken away already")
    initialize(fresh)
    return fresh


def _as(layer: nn.Module, old: nn.Module) -> nn.Module:
    """Return the layer on the device of the old one and in its type."""
    like = next(old.parameters())
    return layer.to(like.device, like.dtype)


def _fresh_conv(old: _ConvNd, num_outputs: int) -> _ConvNd:
    settings = {key: getattr(old, key) for key in ("kernel_size", "stride", "padding", "dilation", "padding_mode")}
    groups = old.groups if num_outputs % old.groups == 0 else 1
    return type(old)(old.in_channels, num_outputs, groups=groups, bias=old.bias is not None, **settings)
