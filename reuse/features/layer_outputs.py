"""Outputs of chosen layers of any model, pooled and side by side, in one pass that ends at the last of them."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from reuse.errors import UsageError
from reuse.menus import lookup
from reuse.nn.main_output import main_output
from reuse.nn.outputs import output_layer
from reuse.nn.tapped import find_layers

HEAD_INPUT = "features"
"""Name of what the output layer takes, among names of layers."""


def _mean(values: Tensor) -> Tensor:
    return values.mean(tuple(range(1, values.ndim - 1))) if values.ndim > 2 else values


def _max(values: Tensor) -> Tensor:
    return values.amax(tuple(range(1, values.ndim - 1))) if values.ndim > 2 else values


def _last(values: Tensor) -> Tensor:
    return values.flatten(1, -2)[:, -1] if values.ndim > 2 else values


POOLS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": _mean,
    "max": _max,
    "last": _last,
    "flatten": lambda values: values.flatten(1),
}
"""What becomes of an output `(rows, …, channels)`, by name."""


class LayerOutputs(nn.Module):
    """The outputs of some layers of a model: `(rows, columns)`, those of each layer beside those of the one before.

    The model is run up to the last of them only.

    Args:
        model: any module that takes one tensor, rows first.
        layers: names of its layers, or patterns of them such as `layer?` or `re:blocks.[0-9]+`; none: what the output
            layer takes.
        pool: a name of `POOLS`: what becomes of places in a picture, or of steps and tokens in a sequence.

    Attributes:
        names: of the layers, in their order; `features` stands for what the output layer takes.
        widths: columns of each layer; they are known once it was called.
    """

    def __init__(self, model: nn.Module, layers: str | Sequence[str] | None = None, pool: str = "mean") -> None:
        super().__init__()
        lookup(POOLS, pool, "pooling")
        self.model, self.pool = model, pool
        self.names = (HEAD_INPUT,) if layers is None else find_layers(model, layers)
        self._at = {HEAD_INPUT: output_layer(model)} if layers is None else {name: name for name in self.names}
        self._before = layers is None
        self._channels_last = getattr(model, "output_fmt", None) == "NHWC"  # what timm says of its maps
        self._calls = 0  # of these layers in a pass; 0: not known, and the pass goes on to the end

    @torch.no_grad()
    def measure(self, example: Tensor) -> tuple[int, ...]:
        """Return how many columns each layer gives, and note where a pass may end.

        Args:
            example: a few rows.

        Raises:
            UsageError: a layer is not called, or gives no tensor with one entry a row.
        """
        self._calls = 0
        calls: list[str] = []
        found = self._run(example, calls.append)
        missed = [name for name in self.names if name not in found]
        if missed:
            raise UsageError(f"layer {missed[0]!r} is not called when the model runs: choose another")
        for name, value in found.items():
            if value.ndim < 2 or len(value) != len(example):
                raise UsageError(
                    f"layer {name!r} gives a tensor of shape {tuple(value.shape)} for {len(example)} rows: choose a "
                    "layer that gives one entry a row"
                )
        self._calls = len(calls)
        return tuple([self._pooled(found[name]).shape[1] for name in self.names])

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs for some rows."""
        found = self._run(inputs)
        return torch.cat([found[name] for name in self.names], dim=1)

    def _run(self, inputs: Tensor, called: Callable[[str], object] | None = None) -> dict[str, Tensor]:
        """Return what each layer gives, the last time where it is called several times; pooled, but for who counts."""
        found: dict[str, Tensor] = {}
        left = [self._calls]

        def note(name: str, value: Any) -> None:
            found[name] = self._pooled(main_output(value)).clone() if called is None else main_output(value)
            if called is not None:
                called(name)
            left[0] -= 1
            if not left[0]:
                raise _Done

        hooks = [self._hook(name, note) for name in self.names]
        try:
            self.model(inputs)
        except _Done:
            pass
        finally:
            for hook in hooks:
                hook.remove()
        return found

    def _hook(self, name: str, note: Callable[[str, Any], None]) -> Any:
        module = self.model.get_submodule(self._at[name])
        if self._before:
            return module.register_forward_pre_hook(lambda _, given: note(name, given))
        return module.register_forward_hook(lambda _, __, given: note(name, given))

    def _pooled(self, values: Tensor) -> Tensor:
        if values.ndim == 4 and not self._channels_last:
            values = values.movedim(1, -1)
        return POOLS[self.pool](values)


class LayersTogether(nn.Module):
    """What several `LayerOutputs` of one model give, of one pass that ends once the last of them has been called.

    Args:
        layers: of one and the same model, each measured.
    """

    def __init__(self, layers: Sequence[LayerOutputs]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs for some rows side by side, `(rows, columns)`."""
        return torch.cat(self.each(inputs), dim=1)

    def each(self, inputs: Tensor) -> list[Tensor]:
        """Return the outputs of each for some rows, `(rows, columns)`."""
        layers = [layer for layer in self.layers if isinstance(layer, LayerOutputs)]
        found: list[dict[str, Tensor]] = [{} for _ in layers]
        left = [sum(layer._calls for layer in layers)]

        def note(layer: LayerOutputs, own: dict[str, Tensor], name: str, value: Any) -> None:
            own[name] = layer._pooled(main_output(value)).clone()  # now: a layer above may change it in place
            left[0] -= 1
            if not left[0]:
                raise _Done

        pairs = list(zip(layers, found, strict=True))
        hooks = [layer._hook(name, partial(note, layer, own)) for layer, own in pairs for name in layer.names]
        try:
            layers[0].model(inputs)
        except _Done:
            pass
        finally:
            for hook in hooks:
                hook.remove()
        return [torch.cat([own[name] for name in layer.names], dim=1) for layer, own in pairs]


class _Done(Exception):  # noqa: N818 - no error: all layers have been called
    """All that is wanted has been computed."""
