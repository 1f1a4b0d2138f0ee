"""Averages of weights over the course of training: exponential and stochastic.

Tensors are kept by name, so that an average outlives freezing and resuming, where torch's `AveragedModel` copies a
whole module with what is frozen in it. Its averaging functions are the same kernel as here, made anew for each decay.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor

from reuse.distributed import divided_like, is_divided, whole
from reuse.errors import ReuseError, UsageError

WIDER = {torch.float16: torch.float32, torch.bfloat16: torch.float32}
"""Types too coarse to hold an average: a thousandth of the way is lost in their rounding."""


class Average(Protocol):
    """An average of weights, as the trainer keeps one."""

    average: dict[str, Tensor]
    every_step: bool
    needs_statistics: bool

    def update(self, tensors: Mapping[str, Tensor], number: int, /) -> None:
        """Take the weights after the step, or epoch, of this number, from 1."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return what going on needs."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        ...


class ExponentialAverage:
    """A moving average that forgets: each update keeps `decay` of it and takes the rest from the weights.

    timm's ModelEmaV3: with a warm-up the decay at step n is `1 - n ** (-2 / 3)` where that is less. Buffers are
    averaged along, so that a batch norm has the statistics that belong to the averaged weights.

    Args:
        decay: from 0 up to, not with, 1.
        warmup: forget faster at first.

    Attributes:
        average: the averaged tensors by name; empty before the first update.
        every_step: that it is updated after each step.
        needs_statistics: whether batch norms' statistics must be computed anew before the average is used.

    Raises:
        UsageError: the decay is out of range.
    """

    every_step = True
    needs_statistics = False

    def __init__(self, decay: float, warmup: bool = False) -> None:
        if not 0 <= decay < 1:
            raise UsageError(f"the decay of the moving average is {decay}: give a number from 0 up to, not with, 1")
        self.decay, self.warmup = decay, warmup
        self.average: dict[str, Tensor] = {}

    @torch.no_grad()
    def update(self, tensors: Mapping[str, Tensor], step: int) -> None:
        """Move the average towards `tensors`.

        Args:
            tensors: parameters and buffers by name. A name that is new, as after unfreezing, starts with its value; one
                that is not given any more is forgotten; what is no floating-point number is copied.
            step: how many steps have been taken, 1 after the first.
        """
        self.average = _begun(self.average, tensors)
        _lerp(self.average, tensors, 1.0 - self._decay_at(step))

    def state_dict(self) -> dict[str, Any]:
        """Return the average, copied to the CPU."""
        return {"average": _copied(self.average)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` returned; it stays on the CPU until the next update."""
        self.average = dict(state["average"])

    def _decay_at(self, step: int) -> float:
        if step <= 1:
            return 0.0
        return min(self.decay, 1 - step ** (-2 / 3)) if self.warmup else self.decay


class StochasticWeightAverage:
    """The plain mean of the weights after each epoch from `start` on (Izmailov et al. 2018, arXiv:1803.05407).

    The statistics of batch norms belong to none of the averaged weights: compute them anew before using the average.

    Args:
        start: number of the first epoch that counts; epochs count from 1.

    Attributes:
        average: the averaged tensors by name; empty before the first epoch that counts.
        every_step: that it is not updated after each step, but after each epoch.
        needs_statistics: whether batch norms' statistics must be computed anew before the average is used.

    Raises:
        UsageError: the start is below 1.
    """

    every_step = False
    needs_statistics = True

    def __init__(self, start: int) -> None:
        if start < 1:
            raise UsageError(f"the average of weights is to start at epoch {start}: epochs count from 1")
        self.start, self.count = start, 0
        self.average: dict[str, Tensor] = {}

    @torch.no_grad()
    def update(self, tensors: Mapping[str, Tensor], epoch: int) -> None:
        """Take the weights after `epoch` into the mean, if it counts.

        Args:
            tensors: parameters and buffers by name. Where the names are others than before, as after unfreezing, the
                mean starts again; what is no floating-point number is copied.
            epoch: the number of the epoch that has ended, from 1.
        """
        if epoch < self.start:
            return
        if self.average.keys() != tensors.keys():
            self.count = 0
        self.average = _begun(self.average, tensors)
        _lerp(self.average, tensors, 1.0 / (self.count + 1))
        self.count += 1

    def state_dict(self) -> dict[str, Any]:
        """Return the average, copied to the CPU, and of how many epochs it is."""
        return {"average": _copied(self.average), "count": self.count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` returned; it stays on the CPU until the next update."""
        self.average, self.count = dict(state["average"]), int(state["count"])


@contextmanager
def swapped(tensors: Mapping[str, Tensor], average: Mapping[str, Tensor]) -> Iterator[None]:
    """Put an average into a model's own tensors, and their exact values back afterwards, also after an error.

    Args:
        tensors: parameters and buffers by name, as given to `update`.
        average: of some or all of them.

    Raises:
        ReuseError: the average has a name that the model has not, or there is no average yet.
    """
    if not average:
        raise ReuseError("there is no average yet: update it at least once")
    unknown = [name for name in average if name not in tensors]
    if unknown:
        raise ReuseError(f"the average holds {unknown[0]!r}, which does not train now: update it first")
    live = [tensors[name] for name in average]
    with torch.no_grad():
        kept = [tensor.clone() for tensor in live]
        for own, mean in zip(live, average.values(), strict=True):
            own.copy_(mean)
    try:
        yield
    finally:
        with torch.no_grad():
            for own, value in zip(live, kept, strict=True):
                own.copy_(value)


def _begun(average: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the average in the order of `tensors`, on their devices, with the values of those that are new."""
    return {
        name: divided_like(tensor, average[name].to(tensor.device))
        if name in average
        else tensor.detach().to(WIDER.get(tensor.dtype, tensor.dtype), copy=True)
        for name, tensor in tensors.items()
    }


def _lerp(average: Mapping[str, Tensor], tensors: Mapping[str, Tensor], weight: float) -> None:
    """Go `weight` of the way from each average to its tensor, one kernel for each type and device."""
    groups: dict[tuple[torch.dtype, torch.device, bool], tuple[list[Tensor], list[Tensor]]] = {}
    for name, tensor in tensors.items():
        own = average[name]
        if own.is_floating_point():
            held = groups.setdefault((own.dtype, own.device, is_divided(own)), ([], []))
            held[0].append(own)
            held[1].append(tensor.detach().to(own.dtype))
        else:
            own.copy_(tensor)
    for own_list, new_list in groups.values():
        torch._foreach_lerp_(own_list, new_list, weight)


def _copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: whole(tensor.detach()).to("cpu", copy=True) for name, tensor in tensors.items()}
