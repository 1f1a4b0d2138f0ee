"""The output layer by the names that heads go by: `!head` leaves out timm's `fc` or `classifier`, or our `output`."""

from collections.abc import Iterable

from torch import nn
from torch.nn.modules.conv import _ConvNd

HEADS = ("head", "output", "fc", "classifier")
OUTPUT = ("output", "output_norm")  # of our own networks


def with_heads(patterns: Iterable[str], model: nn.Module, names: Iterable[str]) -> list[str]:
    """Return patterns in which a name that heads go by stands for the output layer, unless a layer has that name.

    Args:
        patterns: single ones; `!` or `:` may stand before a name.
        model: whose output layer is meant.
        names: of all its layers and parameters.
    """
    known, told = set(names), list[str]()
    for pattern in patterns:
        name = pattern.lstrip("!:")
        heads = _heads(model) if name in HEADS and name not in known else [name]
        told += [pattern.removesuffix(name) + head for head in heads or [name]]
    return told


def _heads(model: nn.Module) -> list[str]:
    """Return the names of the output layers: what timm says, a child called `output`, or else the last with weights."""
    if callable(classifier := getattr(model, "get_classifier", None)):
        said = classifier()
        heads = said if isinstance(said, tuple | list) else [said]
        return [name for name, module in model.named_modules() if name and any(module is head for head in heads)]
    own = [name for name, _ in model.named_children() if name in OUTPUT]
    weighted = [name for name, module in model.named_modules() if name and isinstance(module, nn.Linear | _ConvNd)]
    return own or weighted[-1:]
