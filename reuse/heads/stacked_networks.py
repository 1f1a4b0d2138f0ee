"""One network with many sets of weights, computed for all of them at once.

A chain of linear layers and what works on each number alone is computed by matrix products over all heads; the lowest
layer, whose inputs the heads share, is one product of `(heads · units, features)` with `(features, rows)`. Every other
network is left to `torch.func.vmap`; a step of linear heads takes twice as long that way.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import is_dataclass
from itertools import pairwise

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call, vmap

from reuse.errors import UsageError
from reuse.layers.own_forward import MODEL
from reuse.layers.suffix import Suffix, model_name
from reuse.layers.trainability import has_hooks
from reuse.nn.main_output import main_output

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


class StackedNetwork:
    """A network that takes its weights as an argument, many sets of them.

    Args:
        network: whose layers are used; its own weights are not.

    Attributes:
        names: of the parameters that train.
        layers: of a chain, each with the beginning of its parameters' names; none for any other network.
        is_one_product: whether a linear layer at the end is all in which heads differ.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.names = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
        self.layers = [(f"{name}." if name else "", layer) for name, layer in chain_of(network)]
        differing = [isinstance(layer, (nn.Linear, *DROPPING)) for _, layer in self.layers]
        self.is_one_product = sum(differing) == 1 and differing[-1]
        self._gradient: Tensor | None = None  # memory that is asked for anew in each step costs as much as the product

    def outputs(self, weights: Weights, inputs: tuple[Tensor, ...]) -> Tensor:
        """Return the outputs `(heads, outputs, rows)` of rows `(rows, ...)` that all heads see."""
        return self._by_products(weights, *inputs) if self.layers else self._by_vmap(weights, inputs)

    def gradients(
        self, weights: Weights, inputs: tuple[Tensor, ...], back: Callable[[Tensor], Tensor]
    ) -> dict[str, Tensor]:
        """Return the gradients of the weights that train, `back` giving the outputs' gradient from the outputs."""
        if self.is_one_product:
            return self._of_one_product(weights, inputs, back)
        followed = {name: weights[name].detach().requires_grad_() for name in self.names}
        with torch.enable_grad():
            outputs = self.outputs({**weights, **followed}, inputs)
        gradients = torch.autograd.grad(outputs, list(followed.values()), back(outputs.detach()))
        # torch's fused optimizers misread a gradient that lies otherwise than its weights.
        return {name: gradient.contiguous() for name, gradient in zip(self.names, gradients, strict=True)}

    def _of_one_product(
        self, weights: Weights, inputs: tuple[Tensor, ...], back: Callable[[Tensor], Tensor]
    ) -> dict[str, Tensor]:
        """Return the gradients of the one linear layer: forward and backward are one matrix product each."""
        (features,) = inputs
        for _, layer in self.layers[:-1]:
            features = layer(features)
        name = self.layers[-1][0]
        weight, bias = weights[f"{name}weight"], weights.get(f"{name}bias")
        gradient = back(_product(weight, bias, features.t()))
        if self._gradient is None:
            self._gradient = torch.empty_like(weight)
        torch.mm(gradient.flatten(0, 1), features, out=self._gradient.flatten(0, 1))
        found = {f"{name}weight": self._gradient}
        return found if bias is None else found | {f"{name}bias": gradient.sum(2)}

    def _by_products(self, weights: Weights, features: Tensor) -> Tensor:
        flow = features.t()  # (units, rows), and (heads, units, rows) from the first layer on in which heads differ
        for name, layer in self.layers:
            if isinstance(layer, nn.Linear):
                flow = _product(weights[f"{name}weight"], weights.get(f"{name}bias"), flow)
            else:
                if isinstance(layer, DROPPING) and layer.training and flow.ndim == 2:
                    flow = flow.expand(len(next(iter(weights.values()))), *flow.shape)
                flow = layer(flow)
        return flow

    def _by_vmap(self, weights: Weights, inputs: tuple[Tensor, ...]) -> Tensor:
        """Return the outputs of any module; each head draws its own random numbers."""

        def one(own: dict[str, Tensor], *rows: Tensor) -> Tensor:
            return main_output(functional_call(self.network, own, rows))

        shared = [None] * len(inputs)
        try:
            found = vmap(one, in_dims=(0, *shared), randomness="different")(dict(weights), *inputs)
        except RuntimeError as error:
            reason = str(error).strip().partition("\n")[0]
            raise UsageError(
                f"this network cannot be computed for many heads at once ({reason}): train them one by one"
            ) from error
        return found.transpose(1, 2)


def chain_of(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return a network's layers with their names, one feeding the next, or none where it is no such chain.

    A chain holds linear layers that train, at least one, and layers of `ELEMENTWISE` and `DROPPING`.
    """
    called = _called_in_turn(network) if isinstance(network, Suffix) else [""]
    owner = network.model if isinstance(network, Suffix) else network
    layers = [layer for name in called for layer in _leaves(name, owner.get_submodule(name))]
    known = all(type(layer) in (nn.Linear, *ELEMENTWISE, *DROPPING) and not has_hooks(layer) for _, layer in layers)
    linear = [layer for _, layer in layers if isinstance(layer, nn.Linear)]
    trains = all(parameter.requires_grad for layer in linear for parameter in layer.parameters())
    return layers if known and linear and trains and len(set(linear)) == len(linear) else []


def _called_in_turn(suffix: Suffix) -> list[str]:
    """Return the names of the modules that both graphs of a suffix call, one feeding the next; none if they do else."""
    training, evaluation = map(_calls, suffix.graphs)
    return training if training == evaluation else []


def _calls(module: fx.GraphModule) -> list[str]:
    *nodes, last = module.graph.nodes
    if last.all_input_nodes != nodes[-1:]:
        return []
    first, *between = nodes[:-1] if len(nodes) > 1 and _holds_last(nodes[-1], nodes[-2]) else nodes
    nodes = [first, *between]
    chained = all(n.all_input_nodes == [b] and len(n.args) == 1 and not n.kwargs for b, n in pairwise(nodes))
    modules = first.op == "placeholder" and all(n.op == "call_module" for n in between)
    names = [model_name(str(node.target), module) for node in between]
    return names if chained and modules and MODEL not in names else []


def _holds_last(node: fx.Node, before: fx.Node) -> bool:
    """Return whether a node puts the outputs of the layer before it, and nothing else, into a dataclass."""
    return node.op == "call_function" and is_dataclass(node.target) and node.all_input_nodes == [before]


def _leaves(name: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    if type(module) is nn.Sequential and not has_hooks(module):
        for child, layer in module.named_children():
            yield from _leaves(f"{name}.{child}" if name else child, layer)
    else:
        yield name, module


def _product(weight: Tensor, bias: Tensor | None, flow: Tensor) -> Tensor:
    """Return `(heads, units, rows)` from features `(features, rows)` that all heads see, or from each head's own."""
    if flow.ndim == 3:
        return weight @ flow if bias is None else torch.baddbmm(bias.unsqueeze(2), weight, flow)
    flat = weight.flatten(0, 1)
    product = flat @ flow if bias is None else torch.addmm(bias.reshape(-1, 1), flat, flow)
    return product.view(*weight.shape[:2], -1)
