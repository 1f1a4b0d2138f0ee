"""One network with many sets of weights, computed for all of them at once.

A chain of linear layers and what works on each number alone is computed by matrix products over all heads; the lowest
layer, whose inputs the heads share, is one product of `(heads · units, features)` with `(features, rows)`. Every other
network is left to `torch.func.vmap`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call, vmap

from reuse.errors import UsageError
from reuse.layers.splicing import Suffix
from reuse.layers.tracing import has_hooks

Weights = Mapping[str, Tensor]
"""Parameters and buffers by name, each stacked over heads: `(heads, *shape)`."""

ELEMENTWISE = (
    nn.Identity,
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.ELU,
    nn.CELU,
    nn.SELU,
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.Tanh,
    nn.Sigmoid,
    nn.LogSigmoid,
    nn.Softplus,
    nn.Softsign,
    nn.Hardtanh,
    nn.Hardsigmoid,
    nn.Hardswish,
)
"""Layers without weights that work on each number alone, so that it does not matter how numbers lie."""

DROPPING = (nn.Dropout,)
"""Layers that drop each number at random by itself."""


class StackedNetwork(Protocol):
    """A network that takes its weights as an argument, many sets of them."""

    def outputs(self, weights: Weights, inputs: tuple[Tensor, ...]) -> Tensor:
        """Return the outputs `(heads, outputs, rows)` of rows `(rows, ...)` that all heads see."""
        ...

    def gradients(
        self, weights: Weights, names: Sequence[str], inputs: tuple[Tensor, ...], back: Callable[[Tensor], Tensor]
    ) -> dict[str, Tensor]:
        """Return the gradients of the weights `names`, `back` giving the outputs' gradient from the outputs."""
        ...


def stacked_network(network: nn.Module) -> StackedNetwork:
    """Return `network` for many sets of weights, by the fastest way there is for it."""
    layers = chain_of(network)
    if layers is None:
        return _Mapped(network)
    names = [name for name, layer in layers if isinstance(layer, nn.Linear)]
    if len(names) == 1 and layers[-1][0] == names[0] and all(not isinstance(layer, DROPPING) for _, layer in layers):
        return _OneProduct(layers)
    return _Chain(layers)


def chain_of(network: nn.Module) -> list[tuple[str, nn.Module]] | None:
    """Return a network's layers with their names, one feeding the next, or None where it is no such chain.

    A chain holds linear layers that train, at least one, and layers of `ELEMENTWISE` and `DROPPING`.
    """
    layers = _of_suffix(network) if isinstance(network, Suffix) else _flattened("", network)
    if layers is None or not any(isinstance(layer, nn.Linear) for _, layer in layers):
        return None
    linear = [layer for _, layer in layers if isinstance(layer, nn.Linear)]
    trains = all(parameter.requires_grad for layer in linear for parameter in layer.parameters())
    return layers if trains and len({id(layer) for layer in linear}) == len(linear) else None


def _of_suffix(suffix: Suffix) -> list[tuple[str, nn.Module]] | None:
    """Return the layers of a suffix whose two graphs call the same modules one after the other."""
    calls = [_called_in_turn(graph.graph) for graph in suffix.graphs]
    if calls[0] is None or calls[0] != calls[1]:
        return None
    parts = [_flattened(name, suffix.get_submodule(name)) for name in calls[0]]
    return None if None in parts else [layer for part in parts if part is not None for layer in part]


def _called_in_turn(graph: fx.Graph) -> list[str] | None:
    names, before = [], None
    for node in graph.nodes:
        if before is not None and (node.all_input_nodes != [before] or node.kwargs or len(node.args) != 1):
            return None
        if node.op == "call_module":
            names.append(str(node.target))
        elif node.op not in ("placeholder", "output") or (node.op == "placeholder") != (before is None):
            return None
        before = node
    return names


def _flattened(name: str, module: nn.Module) -> list[tuple[str, nn.Module]] | None:
    if has_hooks(module):
        return None
    if type(module) is nn.Sequential:
        parts = [_flattened(f"{name}.{child}" if name else child, layer) for child, layer in module.named_children()]
        return None if None in parts else [layer for part in parts if part is not None for layer in part]
    return [(name, module)] if type(module) in (nn.Linear, *ELEMENTWISE, *DROPPING) else None


class _OneProduct:
    """One linear layer above layers without weights: forward and backward are one matrix product each."""

    def __init__(self, layers: Sequence[tuple[str, nn.Module]]) -> None:
        self.before = [layer for _, layer in layers[:-1]]
        name = f"{layers[-1][0]}." if layers[-1][0] else ""
        self.weight, self.bias = f"{name}weight", f"{name}bias"
        self._gradient: Tensor | None = None  # memory that is asked for anew in each step costs as much as the product

    def outputs(self, weights: Weights, inputs: tuple[Tensor, ...]) -> Tensor:
        return self._product(weights, self._features(inputs))

    def gradients(
        self, weights: Weights, names: Sequence[str], inputs: tuple[Tensor, ...], back: Callable[[Tensor], Tensor]
    ) -> dict[str, Tensor]:
        features = self._features(inputs)
        gradient = back(self._product(weights, features))
        if self._gradient is None:
            self._gradient = torch.empty_like(weights[self.weight])
        torch.mm(gradient.flatten(0, 1), features, out=self._gradient.flatten(0, 1))
        found = {self.weight: self._gradient}
        return found | {self.bias: gradient.sum(2)} if self.bias in names else found

    def _features(self, inputs: tuple[Tensor, ...]) -> Tensor:
        (features,) = inputs
        for layer in self.before:
            features = layer(features)
        return features

    def _product(self, weights: Weights, features: Tensor) -> Tensor:
        return _shared_product(weights[self.weight], weights.get(self.bias), features.t())


class _Chain:
    """Linear layers and what lies between them; gradients are autograd's."""

    def __init__(self, layers: Sequence[tuple[str, nn.Module]]) -> None:
        self.layers = [(f"{name}." if name else "", layer) for name, layer in layers]

    def outputs(self, weights: Weights, inputs: tuple[Tensor, ...]) -> Tensor:
        (features,) = inputs
        flow = features.t()  # (units, rows), and (heads, units, rows) from the first layer on in which heads differ
        for name, layer in self.layers:
            if isinstance(layer, nn.Linear):
                weight, bias = weights[f"{name}weight"], weights.get(f"{name}bias")
                flow = _shared_product(weight, bias, flow) if flow.ndim == 2 else _own_product(weight, bias, flow)
            else:
                if isinstance(layer, DROPPING) and layer.training and flow.ndim == 2:
                    flow = flow.expand(len(next(iter(weights.values()))), *flow.shape)
                flow = layer(flow)
        return flow

    def gradients(
        self, weights: Weights, names: Sequence[str], inputs: tuple[Tensor, ...], back: Callable[[Tensor], Tensor]
    ) -> dict[str, Tensor]:
        return _by_autograd(self, weights, names, inputs, back)


class _Mapped:
    """Any module, by `torch.func.vmap` over its parameters and buffers; each head draws its own random numbers."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def outputs(self, weights: Weights, inputs: tuple[Tensor, ...]) -> Tensor:
        def one(own: dict[str, Tensor], *rows: Tensor) -> Tensor:
            outputs: Tensor = functional_call(self.network, own, rows)
            return outputs

        shared = [None] * len(inputs)
        try:
            found = vmap(one, in_dims=(0, *shared), randomness="different")(dict(weights), *inputs)
        except RuntimeError as error:
            reason = str(error).strip().partition("\n")[0]
            raise UsageError(
                f"this network cannot be computed for many heads at once ({reason}): train them one by one"
            ) from error
        return found.transpose(1, 2)

    def gradients(
        self, weights: Weights, names: Sequence[str], inputs: tuple[Tensor, ...], back: Callable[[Tensor], Tensor]
    ) -> dict[str, Tensor]:
        return _by_autograd(self, weights, names, inputs, back)


def _by_autograd(
    network: StackedNetwork,
    weights: Weights,
    names: Sequence[str],
    inputs: tuple[Tensor, ...],
    back: Callable[[Tensor], Tensor],
) -> dict[str, Tensor]:
    followed = {name: weights[name].detach().requires_grad_() for name in names}
    with torch.enable_grad():
        outputs = network.outputs({**weights, **followed}, inputs)
    gradients = torch.autograd.grad(outputs, list(followed.values()), back(outputs.detach()))
    return {name: gradient.contiguous() for name, gradient in zip(names, gradients, strict=True)}


def _shared_product(weight: Tensor, bias: Tensor | None, flow: Tensor) -> Tensor:
    """Return `(heads, units, rows)` from features `(features, rows)` that all heads see, in one matrix product."""
    flat = weight.flatten(0, 1)
    product = flat @ flow if bias is None else torch.addmm(bias.reshape(-1, 1), flat, flow)
    return product.view(*weight.shape[:2], -1)


def _own_product(weight: Tensor, bias: Tensor | None, flow: Tensor) -> Tensor:
    """Return `(heads, units, rows)` from each head's own features `(heads, features, rows)`."""
    return weight @ flow if bias is None else torch.baddbmm(bias.unsqueeze(2), weight, flow)
