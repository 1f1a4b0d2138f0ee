"""The tightest loop one writes in torch: rows gathered from resident tensors, fused SGD, no metrics but the loss."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD, Adam, Optimizer

from peers.rows import BATCH, RATE, Ended, Rows, build_network

STEPS = 4  # in one graph, where steps are compiled
Step = Callable[[Tensor, Tensor], Tensor]


def eager(rows: Rows, ended: Ended) -> None:
    """Train with SGD."""
    network = build_network()
    _train(rows, ended, network, _step(network, SGD(network.parameters(), RATE, fused=True)), 1)


def eager_adam(rows: Rows, ended: Ended) -> None:
    """Train with Adam."""
    network = build_network()
    _train(rows, ended, network, _step(network, Adam(network.parameters(), RATE, fused=True)), 1)


def compiled(rows: Rows, ended: Ended) -> None:
    """Train with SGD, forward, backward and update of several steps compiled together."""
    network = build_network()
    parameters = list(network.parameters())

    def take(inputs: Tensor, labels: Tensor) -> Tensor:
        losses = []
        for some, classes in zip(inputs.chunk(STEPS), labels.chunk(STEPS), strict=True):
            loss = functional.cross_entropy(network(some), classes)
            gradients = torch.autograd.grad(loss, parameters)
            with torch.no_grad():
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter.sub_(gradient, alpha=RATE)
            losses.append(loss.detach())
        return torch.stack(losses).sum()

    graph = torch.compile(take, fullgraph=True, dynamic=False)

    def step(inputs: Tensor, labels: Tensor) -> Tensor:
        with torch._dynamo.config.patch(trace_autograd_ops=True):
            return graph(inputs, labels) if len(inputs) == STEPS * BATCH else take_eagerly(inputs, labels)

    take_eagerly = _step(network, SGD(parameters, RATE, fused=True))
    _train(rows, ended, network, step, STEPS)


def _step(network: nn.Module, optimizer: Optimizer) -> Step:
    def take(inputs: Tensor, labels: Tensor) -> Tensor:
        loss = functional.cross_entropy(network(inputs), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return take


def _train(rows: Rows, ended: Ended, network: nn.Module, step: Step, steps: int) -> None:
    while True:
        network.train()
        order, total = torch.randperm(len(rows.inputs)), torch.zeros(())
        for some, labels in zip(order.split(BATCH * steps), rows.labels[order].split(BATCH * steps), strict=True):
            total += step(rows.inputs.index_select(0, some), labels)
        total.item()
        validate(network, rows)
        ended()


@torch.no_grad()
def validate(network: nn.Module, rows: Rows) -> tuple[float, float]:
    """Return mean loss and accuracy on the validation rows."""
    network.eval()
    loss, right = torch.zeros(()), torch.zeros((), dtype=torch.int64)
    for inputs, labels in zip(rows.valid_inputs.split(BATCH), rows.valid_labels.split(BATCH), strict=True):
        outputs = network(inputs)
        loss += functional.cross_entropy(outputs, labels, reduction="sum")
        right += (outputs.argmax(1) == labels).sum()
    return loss.item() / len(rows.valid_labels), right.item() / len(rows.valid_labels)
