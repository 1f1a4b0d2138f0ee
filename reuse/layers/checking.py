"""Comparing a cut with its model before it is used, and leaving the model as it was while doing so."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from reuse.errors import CutError
from reuse.layers.constancy import same_values
from reuse.seeding import untouched_random_state


@contextmanager
def unchanged_state(model: nn.Module) -> Iterator[None]:
    """Put back the buffers, the modes and the random state that the block moves."""
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    with untouched_random_state():
        try:
            yield
        finally:
            with torch.no_grad():
                for buffer, value in buffers:
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


def check_cut(model: nn.Module, prefix: nn.Module, suffix: nn.Module, batches: tuple[tuple[Tensor, ...], ...]) -> None:
    """Compare `suffix(*prefix(x))` with `model(x)` in both modes on every batch, and on rows put in another order.

    What they do to the model's buffers counts too.

    Raises:
        CutError: they differ.
    """
    for mode in (True, False):
        model.train(mode)
        for batch in batches:
            expected = _run(model, model, batch)
            frontier, _ = _run(model, prefix, batch)
            _compare(expected, _run(model, suffix, frontier), f"{'training' if mode else 'evaluation'} mode")
    batch = batches[-1]
    order = torch.arange(len(batch[0]) - 1, -1, -1, device=batch[0].device)[: len(batch[0]) - 1]
    frontier = tuple(t[order] for t in _run(model, prefix, batch)[0])
    _compare(
        _run(model, model, tuple(t[order] for t in batch)), _run(model, suffix, frontier), "rows put together anew"
    )


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
