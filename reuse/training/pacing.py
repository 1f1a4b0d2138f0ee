"""The rate and momentum of each step."""

from collections.abc import Sequence

from torch.optim import Optimizer

from reuse.optim.one_cycle import set_momentum
from reuse.optim.schedules import Schedule


class Pace:
    """Sets the learning rates, and the momentum where the schedule moves it, before each step.

    Args:
        optimizer: whose groups these are.
        rates: the full rate of each group; a schedule is a multiplier of each group's own.
        schedule: None where the rates never change.
        total: steps of the whole training.
        steps: of an epoch.
        rise: epochs over which the rate of a group that begins to train later rises to its full height.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        rates: Sequence[float],
        schedule: Schedule | None,
        total: int,
        *,
        steps: int = 1,
        rise: float = 0.0,
    ) -> None:
        self.optimizer, self.full, self.schedule, self.total = optimizer, rates, schedule, total
        self.rise = rise * steps
        self.begins = [(group.get("since", 1) - 1) * steps for group in optimizer.param_groups]
        self._is_constant = schedule is None and not any(self.begins)
        self._is_set = False

    @property
    def moves_momentum(self) -> bool:
        """Whether the schedule changes the momentum too."""
        return self.schedule is not None and self.schedule.momentum(0, self.total) is not None

    def rates(self, step: int) -> list[float]:
        """Return the rate of each group at a step, counted from 0."""
        multiplier = 1.0 if self.schedule is None else self.schedule.multiplier(step, self.total)
        risen = [1.0 if begin == 0 else self._risen(step - begin) for begin in self.begins]
        return [rate * multiplier * own for rate, own in zip(self.full, risen, strict=True)]

    def _risen(self, steps: int) -> float:
        """Return how high a rate has risen that many steps after its group began to train."""
        return 1.0 if steps + 1 >= self.rise else (steps + 1) / self.rise

    def set(self, step: int) -> None:
        """Set rates and momentum for a step, counted from 0."""
        if self._is_constant and self._is_set:
            return
        self._is_set = True
        for group, rate in zip(self.optimizer.param_groups, self.rates(step), strict=True):
            group["lr"] = rate
        momentum = None if self.schedule is None else self.schedule.momentum(step, self.total)
        if momentum is not None:
            set_momentum(self.optimizer, momentum)
