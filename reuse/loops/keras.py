"""Keras 3 on torch: a frozen Keras model and the head behind it, as layers of one module that `reuse.cached` takes."""

from collections import OrderedDict
from typing import Any

from torch import nn

from reuse.errors import UsageError
from reuse.loops.keras_parts import parts_of


class KerasLayer(nn.Module):
    """A Keras model or layer as a layer of torch, which calls it as it is called for prediction.

    Args:
        layer: built, on Keras's torch backend.

    Raises:
        UsageError: it is none of that backend.
    """

    def __init__(self, layer: Any) -> None:
        super().__init__()
        if not isinstance(layer, nn.Module):
            raise UsageError(
                f"the Keras layer is of type {type(layer).__name__}, which is no module of torch: set "
                "KERAS_BACKEND=torch in the environment before keras is imported"
            )
        self.layer = layer

    def forward(self, x: Any) -> Any:
        """Return what the layer computes in prediction."""
        return self.layer(x, training=False)

    def reuse_parts(self) -> dict[str, object]:
        """Return what stands for the layer in the key of a cache: Keras's own records are others each time."""
        return parts_of(self.layer)


def joined(base: Any, head: Any) -> nn.Module:
    """Return two Keras models, one behind the other, as the layers `base` and `head` of a module.

    After `features = reuse.cached(joined(base, head), dataset, freeze="base")`, `head.fit(DataLoader(features, 32))`
    trains the head.

    Args:
        base: frozen, from inputs to features.
        head: from features to outputs.
    """
    return nn.Sequential(OrderedDict(base=KerasLayer(base), head=KerasLayer(head)))
