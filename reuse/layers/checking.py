"""Comparing a cut with its model before it is used: on which rows, how, and leaving the model as it was."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from reuse.errors import CutError
from reuse.layers.constancy import same_values
from reuse.seeding import untouched_random_state

LOUD_ROW = 2  # the first row that only the larger batches of a check hold: what mixes rows must move with it


@contextmanager
def unchanged_state(model: nn.Module) -> Iterator[None]:
    """Put back the buffers, the modes and the random state that the block moves."""
    modes = [(module, module.training) for module in model.modules()]
    buffers = [
        (module, name, buffer, buffer.detach().clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    with untouched_random_state():
        try:
            yield
        finally:
            with torch.no_grad():
                for module, name, buffer, value in buffers:
                    module._buffers[name] = buffer  # a forward may have put another tensor there
                    buffer.copy_(value)
            for module, mode in modes:
                module.training = mode


@contextmanager
def living_branches(model: nn.Module) -> Iterator[None]:
    """Fill trainable parameters that are all zero with small numbers inside the block.

    A fresh residual branch often ends in a scale of zero, behind which any error would hide until training opens it.
    """
    zeros = [p for p in model.parameters() if p.requires_grad and not p.detach().any()]
    with torch.no_grad(), untouched_random_state():
        for parameter in zeros:
            parameter.normal_(0.0, 0.1)
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter in zeros:
                parameter.zero_()


def distinct_rows(tensor: Tensor, rows: int) -> Tensor:
    """Return `rows` rows, no two the same, made of those given where they are too few, and one of them loud.

    With equal rows, or rows of one size, a mean or a maximum over the batch would not show.
    """
    repeats = (rows + len(tensor) - 1) // len(tensor)
    copies = tensor.repeat(repeats, *[1] * (tensor.dim() - 1))[:rows].clone()
    for row in range(1, rows):
        if any(torch.equal(copies[row], copies[other]) for other in range(row)):
            copies[row] = _altered(copies[row], row)
    if copies.is_floating_point():
        copies[LOUD_ROW] *= 3
    return copies


def check_cut(model: nn.Module, prefix: nn.Module, suffix: nn.Module, batches: tuple[tuple[Tensor, ...], ...]) -> None:
    """Compare `suffix(*prefix(x))` with `model(x)` in both modes on every batch, and on rows in other company.

    What they do to the model's buffers counts too.

    Args:
        model: the model.
        prefix: its frozen part.
        suffix: the rest.
        batches: inputs of growing size; the activations of each half of the last one are used without
            the other, as a cache does, whose rows were computed in one company and are used in another.

    Raises:
        CutError: they differ.
    """
    for mode in (True, False):
        model.train(mode)
        for batch in batches:
            expected = _run(model, model, batch)
            frontier, _ = _run(model, prefix, batch)
            _compare(expected, _run(model, suffix, frontier), f"{'training' if mode else 'evaluation'} mode")
    batch, together = batches[-1], frontier  # of the last batch, in evaluation mode
    for first in (0, 1):  # an extreme of the whole batch lies in one half, so the other half would miss it
        chosen = torch.arange(first, len(batch[0]), 2, device=batch[0].device).flip(0)
        some, alone = (tuple(t[chosen] for t in tensors) for tensors in (together, batch))
        _compare(_run(model, model, alone), _run(model, suffix, some), "rows of the batch depend on each other")


def _altered(row: Tensor, number: int) -> Tensor:
    if row.is_floating_point():
        steps = torch.arange(row.numel(), device=row.device, dtype=row.dtype).reshape(row.shape)
        return row + (row.abs().mean() + 0.1) * torch.sin((steps + 1) * number)
    return torch.roll(row, number, dims=-1) if row.dim() else row


def _run(model: nn.Module, module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Any, list[Tensor]]:
    """Run a module from the same buffers and random state each time; return its value and the model's buffers then."""
    with unchanged_state(model), torch.no_grad():
        torch.manual_seed(0)
        value = module(*(t.clone() for t in inputs))
        return value, [buffer.clone() for buffer in model.buffers()]


def _compare(expected: tuple[Any, list[Tensor]], got: tuple[Any, list[Tensor]], where: str) -> None:
    ours, theirs = tree_leaves(got), tree_leaves(expected)
    same = isinstance(got[0], Tensor) == isinstance(expected[0], Tensor) and len(ours) == len(theirs)
    same = same and all(_same(a, b) for a, b in zip(theirs, ours, strict=True))
    if not same:
        raise CutError(f"its two parts do not compute what it computes ({where})")


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and same_values(a, b)
    return bool(a == b)
