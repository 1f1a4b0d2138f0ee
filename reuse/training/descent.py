"""Descent down the loss from epoch to epoch: the optimizer that moves the parameters, and its rates."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch.nn import Parameter
from torch.optim import Optimizer

from reuse.optim.named_state import load_named_state, named_state
from reuse.optim.optimization import Optimization
from reuse.optim.optimizers import build_optimizer
from reuse.optim.schedules import Schedule, choose_schedule
from reuse.training.pacing import Pace


class Descent:
    """The optimizers of a training, one after the other, and the schedule of their rates.

    Args:
        named_parameters: what trains, with names.
        optimization: how.
        rates: further multipliers of the rate by parameter name, beside the optimizer's own; what is not named has 1.

    Attributes:
        settings: of the optimizer that trains now.
        optimizer: that trains now.
        total: steps of the whole training; 0 until they are planned.

    Raises:
        UsageError: a setting is out of range or unknown, or every parameter is frozen.
    """

    def __init__(
        self, named_parameters: Sequence[tuple[str, Parameter]], optimization: Optimization, rates: Mapping[str, float]
    ) -> None:
        self.named_parameters, self.optimization, self.rates = named_parameters, optimization, rates
        choose_schedule(optimization.schedule, steps_per_epoch=1, warmup_epochs=optimization.warmup)
        self.total = 0
        self._schedule: Schedule | None = None
        self._schedule_state: Mapping[str, float] = {}
        self.use(1)

    @property
    def learning_rate(self) -> float:
        """The full rate, before any multiplier."""
        return self.settings.learning_rate

    @property
    def rate(self) -> float:
        """The rate of the first parameters in the step before."""
        return float(self.optimizer.param_groups[0]["lr"])

    def use(self, epoch: int) -> None:
        """Take a new optimizer of the kind that trains epoch number `epoch`."""
        self.settings = self.optimization.of_epoch(epoch)
        self.optimizer = self._build()
        self._full_rates = [group["lr"] for group in self.optimizer.param_groups]

    def twin(self) -> Optimizer:
        """Return another optimizer like the present one, in its state."""
        twin = self._build()
        if self.optimizer.state:
            load_named_state(twin, self.named_parameters, named_state(self.optimizer, self.named_parameters))
        return twin

    def switches(self, epoch: int) -> bool:
        """Return whether another optimizer takes over with epoch number `epoch`."""
        return epoch > 1 and epoch in self.optimization.switches

    def plan(self, steps: int, epochs: int) -> None:
        """Take note of how many steps an epoch has, and of the number of the last epoch."""
        schedule, warmup = self.optimization.schedule, self.optimization.warmup
        self._schedule = choose_schedule(schedule, steps_per_epoch=steps, epochs=epochs, warmup_epochs=warmup)
        if self._schedule is not None and self._schedule_state.keys() >= self._schedule.state_dict().keys():
            self._schedule.load_state_dict(self._schedule_state)
        self.total = steps * epochs

    def pace(self, steps: int) -> Pace:
        """Return what sets rates and momentum before each of the steps of an epoch."""
        return Pace(self.optimizer, self._full_rates, self._schedule, self.total, steps=steps, rise=self.settings.rise)

    def observe(self, loss: float) -> None:
        """Tell the schedule an epoch's loss: the validation loss, or the training loss where there is none."""
        if self._schedule is not None:
            self._schedule.observe(loss)

    def state_dict(self) -> dict[str, Any]:
        """Return what going on needs, copied to the CPU; no settings."""
        return {
            "optimizer_class": type(self.optimizer).__name__,
            "optimizer": named_state(self.optimizer, self.named_parameters),
            "schedule": self._schedule.state_dict() if self._schedule else {},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> list[str]:
        """Put back what `state_dict` returned, also where other layers are frozen now or the optimizer is another.

        Returns:
            Names of the parameters whose optimizer state starts fresh: those that were frozen, or all of them after a
            change of optimizer.
        """
        self._schedule_state = state.get("schedule", {})
        same = state["optimizer_class"] == type(self.optimizer).__name__
        return load_named_state(self.optimizer, self.named_parameters, state["optimizer"] if same else {})

    def _build(self) -> Optimizer:
        rates = {**self.settings.rates}
        for name, rate in self.rates.items():
            rates[name] = rates.get(name, 1.0) * rate
        return build_optimizer(replace(self.settings, rates=rates), self.named_parameters)
