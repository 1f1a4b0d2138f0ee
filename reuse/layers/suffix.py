"""The suffix of a cut: what a model computes from its frontier, as a module that trains the model."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import fx, nn

from reuse.layers.frontier_tensor import FrontierTensor
from reuse.layers.guarding import refuse_shapes
from reuse.layers.own_forward import OwnForward

RENAMED = "renamed"  # under which a graph module notes what of the model it holds under other names


class Suffix(nn.Module):
    """The rest of a model after its frontier: takes the frontier tensors and returns what the model returns.

    It holds a training and an evaluation graph and follows the mode of the model; `train()` and `eval()` set that of
    the model. Its parameters are the model's own, under the model's names.
    """

    graphs: tuple[fx.GraphModule, fx.GraphModule]
    model: nn.Module
    shapes: tuple[tuple[int, ...], ...]

    def __init__(
        self,
        model: nn.Module,
        training_graph: fx.GraphModule,
        evaluation_graph: fx.GraphModule,
        frontier: Sequence[FrontierTensor],
    ):
        super().__init__()
        # Held outside the module tree: the graphs share modules, which would appear twice in `named_parameters`, and
        # a model may have a layer of any name.
        object.__setattr__(self, "graphs", (training_graph, evaluation_graph))
        object.__setattr__(self, "model", model)
        object.__setattr__(self, "shapes", tuple(tensor.shape for tensor in frontier))
        for graph in self.graphs:
            _adopt(self, graph)
        own_forwards = [module for graph in self.graphs for module in graph.modules() if isinstance(module, OwnForward)]
        for behind in own_forwards:
            behind.keep_numbers(own_forwards[0])

    def forward(self, *frontier: Any) -> Any:
        """Compute what the model returns from the frontier tensors, or a tuple of them, each `(batch, *shape)`."""
        if len(frontier) == 1 and isinstance(frontier[0], tuple):
            frontier = frontier[0]
        if tuple(tensor.shape[1:] for tensor in frontier) != self.shapes:
            refuse_shapes(frontier, self.shapes)
        training, evaluation = self.graphs
        with torch.set_grad_enabled(torch.is_grad_enabled()):  # a graph that stops half-way may have switched them off
            # Not called as a module: nobody else has these, so there are no hooks, which take longer than a small head.
            return (training if self.model.training else evaluation).forward(*frontier)

    def train(self, mode: bool = True) -> "Suffix":
        """Set the mode of the whole model; frozen layers stay in evaluation mode."""
        self.training = mode
        self.model.train(mode)
        return self


def model_name(target: str, graph: fx.GraphModule) -> str:
    """Return the name in the model of what a node of a graph calls or reads."""
    renamed: dict[str, str] = graph.meta.get(RENAMED, {})
    return renamed.get(target, target)


def called_and_read(graph: fx.GraphModule) -> dict[str, Any]:
    """Return the modules that a graph calls and the tensors that it reads, by their names in the model."""
    found: dict[str, Any] = {}
    for node in graph.graph.nodes:
        if node.op in ("call_module", "get_attr"):
            value = _attribute(graph, str(node.target))
            found |= value.parts() if isinstance(value, OwnForward) else {model_name(str(node.target), graph): value}
    return found


def _adopt(suffix: Suffix, graph: fx.GraphModule) -> None:
    """Give a suffix what a graph calls and reads, under the names that it has in the model."""
    # In the order of the graph, which is the same in every process: optimizers and replicas go by that of parameters.
    own = called_and_read(graph)
    for name in sorted(own, key=lambda name: name.count(".")):  # a layer before what lies in it
        owner: nn.Module = suffix
        *path, last = name.split(".")
        for atom in path:
            if atom not in owner._modules:
                owner._modules[atom] = nn.Module()
            owner = owner._modules[atom]  # type: ignore[assignment]
        value = own[name]
        kind = "_modules" if isinstance(value, nn.Module) else "_parameters"
        table: dict[str, Any] = getattr(owner, kind if isinstance(value, nn.Module | nn.Parameter) else "_buffers")
        table.setdefault(last, value)


def _attribute(module: nn.Module, target: str) -> Any:
    """Return what stands under a dotted name in a module."""
    value: Any = module
    for part in target.split("."):
        value = getattr(value, part)
    return value
