"""Finding out which blocks of a network have settled, so that they can freeze while the rest trains on (AutoFreeze).

Liu, Agarwal & Venkataraman 2021, https://arxiv.org/abs/2102.01386: gradients are added up over an interval; a block
changes by how much the norm of that sum differs from the one of the interval before, as a share of it:

    change = | ||G(T-1)|| - ||G(T)|| | / ||G(T-1)||

From the inputs on, blocks have settled as long as they change less than a percentile of the changes of all that still
train. Which norm it is the paper leaves open; its program takes the sum of absolute values, and so does this.
"""

import math
from collections.abc import Mapping
from itertools import takewhile
from typing import Any

import numpy as np
import torch
from torch import nn

from reuse.distributed import from_main
from reuse.errors import UsageError


class Settling:
    """Adds up the gradients of blocks and compares their norms from interval to interval.

    Args:
        blocks: the parameters of each by name, from the inputs on, the output layer not among them; they are where
            they train, and only those that train now count. A block none of whose parameters trains is left out.
        percentile: from 0, at which nothing ever settles, to 100.
        every: length of an interval in epochs.

    Attributes:
        settled: by how much the blocks that have settled in the interval that has just ended changed, by name; empty
            before the end of the second interval, within intervals, and where none has.

    Raises:
        UsageError: the percentile or the interval is out of range.
    """

    def __init__(
        self, blocks: Mapping[str, Mapping[str, nn.Parameter]], percentile: float = 50.0, every: int = 1
    ) -> None:
        check(percentile, every)
        self.percentile, self.every = percentile, every
        self.settled: dict[str, float] = {}
        live = {block: {n: p for n, p in held.items() if p.requires_grad} for block, held in blocks.items()}
        self._blocks = {block: held for block, held in live.items() if held}
        self._parameters = {name: p for held in self._blocks.values() for name, p in held.items()}
        self._sums = {name: torch.zeros_like(p, requires_grad=False) for name, p in self._parameters.items()}
        self._norms: dict[str, float] = {}
        self._epochs = 0

    @property
    def watches(self) -> bool:
        """Whether there is anything that may settle."""
        return bool(self._blocks)

    def add(self) -> None:
        """Take the gradients of a step, as they come from the backward pass."""
        held = [(own, p.grad) for own, p in zip(self._sums.values(), self._parameters.values(), strict=True)]
        pairs = [(own, gradient) for own, gradient in held if gradient is not None]
        if pairs:
            torch._foreach_add_([own for own, _ in pairs], [gradient for _, gradient in pairs])

    def end_epoch(self) -> None:
        """Take note that an epoch has ended; all processes that train together must call it."""
        self.settled = {}
        self._epochs += 1 if self._blocks else 0
        if self._epochs < self.every:
            return
        before, self._norms, self._epochs = self._norms, self._measure(), 0
        torch._foreach_zero_(list(self._sums.values()))
        if before:
            # The gradients are alike in all processes, but what they come to is to be decided once.
            self.settled = from_main(lambda: settled_blocks(changes(before, self._norms), self.percentile))

    def state_dict(self) -> dict[str, Any]:
        """Return what going on needs, on the CPU; sums only within an interval."""
        sums = {name: own.detach().to("cpu", copy=True) for name, own in self._sums.items()} if self._epochs else {}
        return {"settled": dict(self.settled), "norms": dict(self._norms), "epochs": self._epochs, "sums": sums}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` returned, of blocks that still train; nothing of an empty one."""
        self.settled = {name: change for name, change in state.get("settled", {}).items() if name in self._blocks}
        self._norms = {name: norm for name, norm in state.get("norms", {}).items() if name in self._blocks}
        self._epochs = state.get("epochs", 0) if self._blocks else 0
        for name, own in self._sums.items():
            known = state.get("sums", {}).get(name)
            own.copy_(torch.zeros_like(own) if known is None else known)

    def _measure(self) -> dict[str, float]:
        """Return the norm of each block's sum, with one wait for the device."""
        norms = torch.stack([norm.double() for norm in torch._foreach_norm(list(self._sums.values()), 1)]).tolist()
        by_name = dict(zip(self._sums, norms, strict=True))
        return {block: sum(by_name[name] for name in held) for block, held in self._blocks.items()}


def changes(before: Mapping[str, float], now: Mapping[str, float]) -> dict[str, float]:
    """Return the relative change of each norm; none where it was zero and is, infinite where only it was."""
    return {name: _change(before[name], norm) for name, norm in now.items()}


def settled_blocks(changed: Mapping[str, float], percentile: float) -> dict[str, float]:
    """Return the blocks that have settled, with their changes: the first ones, as long as they are below a percentile.

    The last one that trains never is.

    Args:
        changed: relative change of each block that trains, from the inputs on.
        percentile: of these changes, interpolated linearly, that must be stayed below.

    Example:
        >>> settled_blocks({"hidden1": 0.1, "hidden2": 0.2, "hidden3": 0.9, "hidden4": 0.1}, 60)
        {'hidden1': 0.1}
    """
    finite = [min(change, np.finfo(np.float64).max) for change in changed.values()]  # infinities have no mean
    bound = float(np.percentile(finite, percentile))
    return dict(takewhile(lambda entry: entry[1] < bound, changed.items()))


def check(percentile: float, every: int) -> None:
    """Raise a UsageError where a percentile or an interval cannot be taken."""
    if not 0 <= percentile <= 100:
        raise UsageError(f"auto_freeze is {percentile}: give a percentile from 0, which freezes nothing, to 100")
    if not isinstance(every, int) or every < 1:
        raise UsageError(f"auto_freeze_every is {every}: give a whole number of epochs, 1 or more")


def _change(before: float, now: float) -> float:
    if before == 0:
        return 0.0 if now == 0 else math.inf
    return abs(before - now) / before
