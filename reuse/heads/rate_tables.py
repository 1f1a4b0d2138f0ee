"""Rates of many heads at every step of an epoch."""

from collections.abc import Sequence

import torch
from torch import Tensor

from reuse.errors import UsageError
from reuse.heads.head import Head
from reuse.optim.schedules import Schedule, choose_schedule


class RateTable:
    """Rates of many heads, whose schedules follow the steps of the stream of batches, whichever of them move a head.

    Args:
        heads: whose rates, schedules and warm-ups count.
        steps_per_epoch: of the stream.
        epochs: of the whole run.

    Raises:
        UsageError: a schedule is unknown, is longer than the run, or moves the momentum too.
    """

    def __init__(self, heads: Sequence[Head], steps_per_epoch: int, epochs: int) -> None:
        self.steps, self.total = steps_per_epoch, steps_per_epoch * epochs
        self.full = torch.tensor([head.optimizer.learning_rate for head in heads], dtype=torch.float64)
        shared: dict[tuple[str, float], Schedule | None] = {}
        self._schedules: list[Schedule | None] = []
        for head in heads:
            key = head.schedule, head.warmup
            if key not in shared or _remembers(shared[key]):  # what has a memory follows one head's loss alone
                shared[key] = _chosen(head, steps_per_epoch, epochs)
            self._schedules.append(shared[key])

    def of_epoch(self, number: int) -> Tensor:
        """Return the rates of epoch `number`, counted from 1: `(steps, heads)` float64."""
        first = (number - 1) * self.steps
        steps = range(first, first + self.steps)
        curves = {
            id(schedule): torch.tensor([schedule.multiplier(step, self.total) for step in steps], dtype=torch.float64)
            for schedule in self._schedules
            if schedule is not None
        }
        constant = torch.ones(self.steps, dtype=torch.float64)
        return torch.stack([curves.get(id(one), constant) for one in self._schedules], 1) * self.full

    def observe(self, losses: Sequence[float]) -> None:
        """Take notice of each head's validation loss after an epoch."""
        for schedule, loss in zip(self._schedules, losses, strict=True):
            if _remembers(schedule) and schedule is not None:
                schedule.observe(loss)


def _chosen(head: Head, steps: int, epochs: int) -> Schedule | None:
    schedule = choose_schedule(head.schedule, steps_per_epoch=steps, epochs=epochs, warmup_epochs=head.warmup)
    if schedule is not None and schedule.momentum(0, steps * epochs) is not None:
        raise UsageError(
            f"the schedule {head.schedule} moves the momentum, which heads that are trained together have in common: "
            "choose another, or train its heads one by one"
        )
    return schedule


def _remembers(schedule: Schedule | None) -> bool:
    return schedule is not None and bool(schedule.state_dict())
