"""The one training loop."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from reuse.data.rows import Batch, Rows, rows_of_epoch, windows_of
from reuse.distributed import others_needed
from reuse.errors import UsageError
from reuse.objectives.objective import Network, Objective
from reuse.optim.averaging import Average
from reuse.optim.named_state import load_named_state, named_state
from reuse.optim.optimizers import build_optimizer
from reuse.optim.schedules import Schedule, choose_schedule
from reuse.optim.settings import OptimizerSettings
from reuse.reporting import Epoch
from reuse.seeding import generator, random_state, seed_everything, set_random_state
from reuse.training.averaging import WeightAverage
from reuse.training.batches import batch_sizes, batches, beside, grouped, row_order, split_batch
from reuse.training.compiling import STEPS, Compiling
from reuse.training.dropout import switch_off_dropout
from reuse.training.evaluation import device_of, evaluate
from reuse.training.pacing import Pace
from reuse.training.parallel import average_buffers, share_of
from reuse.training.precision import autocast, check_precision
from reuse.training.running_loss import RunningLoss
from reuse.training.settling import Settling
from reuse.training.state import LivePlaces, copied, load_tensors
from reuse.training.statistics import batch_statistics, compute_statistics
from reuse.training.step import Step, StepParts


class Trainer:
    """Trains what is not frozen of a model.

    Args:
        model: whose parameters, modes and state these are; it is moved to `device`.
        objective: what is minimised.
        network: what is called on a batch: the model itself, or the suffix of a cut, which shares its parameters.
        optimizer: a name of `reuse.optim.optimizers.OPTIMIZERS` or of timm's, or settings, which leave the four
            arguments after this one aside.
        learning_rate: the full rate.
        momentum: for optimizers that have one; None takes the optimizer's own.
        weight_decay: the optimizer's own kind of decay; norms and biases are spared.
        rates: multipliers of the rate by parameter name; what is not named has 1.
        switches: other optimizers, by the number of the first epoch that they train.
        schedule: a name of `reuse.optim.schedules.SCHEDULES`, or a function `(step, total steps) -> multiplier`.
        warmup: length of the rise to the full rate, in epochs.
        parts: what is done in each step beside: transforms, penalties, clipping, sharpness, constraints.
        average: of the weights, which is what is measured and kept then; None: the weights themselves.
        settling: watches which blocks settle, which changes nothing of the training; None: nobody does.
        alternate: train every other epoch, from the second on, without dropout, transforms and penalties.
        train_metrics: measure the training rows too after each epoch, in eval mode.
        batch_size: rows a batch.
        accumulate: batches a step.
        seed: decides the order of rows and all random numbers of the epochs.
        precision: a name of `reuse.training.precision.PRECISIONS`; for "float64" the model and its inputs must be.
        compile: compile whole steps: True, or "auto" where that saves time (see `reuse.training.compiling`).
        device: where to compute; None stays where the model is.

    Raises:
        UsageError: a setting is out of range or unknown, or every parameter is frozen.

    Example:
        >>> from reuse.objectives.supervised import Classification
        >>> from reuse.training.batches import Resident
        >>> rows, labels = torch.randn(64, 4), torch.randint(3, (64,))
        >>> trainer = Trainer(nn.Linear(4, 3), Classification(3), learning_rate=0.01)
        >>> [epoch.number for epoch in trainer.epochs(Resident(rows), labels, epochs=2)]
        [1, 2]
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        *,
        network: Network | None = None,
        optimizer: str | OptimizerSettings = "adam",
        learning_rate: float = 1e-3,
        momentum: float | None = None,
        weight_decay: float = 0.0,
        rates: Mapping[str, float] = MappingProxyType({}),
        switches: Mapping[int, OptimizerSettings] = MappingProxyType({}),
        schedule: str | Schedule | Callable[..., float] = "constant",
        warmup: float = 0.0,
        parts: StepParts | None = None,
        average: Average | None = None,
        settling: Settling | None = None,
        alternate: bool = False,
        train_metrics: bool = False,
        batch_size: int = 32,
        accumulate: int = 1,
        seed: int = 0,
        precision: str = "float32",
        compile: bool | str = False,  # noqa: A002 - the setting's name everywhere
        device: torch.device | None = None,
    ) -> None:
        batch_sizes(1, batch_size)
        if not isinstance(accumulate, int) or accumulate < 1:
            raise UsageError(f"accumulate is {accumulate}: give the batches of a step, 1 or more")
        check_precision(precision, model)
        self.device = device_of(model, torch.device("cpu")) if device is None else device
        self.model = model.to(self.device)
        self.network: Network = model if network is None else network
        self.share = share_of(self.network)
        self.objective = objective
        self.schedule, self.warmup = schedule, warmup
        self.settling, self.parts = settling or Settling({}), parts or StepParts()
        if self.settling.watches:
            self.parts = replace(self.parts, observers=(*self.parts.observers, self.settling.add))
        self.average = WeightAverage(average, {})
        self.alternate, self.train_metrics = alternate, train_metrics
        self.batch_size, self.accumulate, self.seed, self.precision = batch_size, accumulate, seed, precision
        self.parameters = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        if isinstance(optimizer, str):
            optimizer = OptimizerSettings(optimizer, learning_rate, momentum, weight_decay, rates=rates)
        self._optimizers = {1: optimizer, **switches}
        self.compiling = Compiling(compile)
        self.epoch = 0
        choose_schedule(schedule, steps_per_epoch=1, warmup_epochs=warmup)
        self._schedule: Schedule | None = None
        self._schedule_state: Mapping[str, float] = {}
        self._steps_taken = self._total_steps = 0
        self._use(self._optimizers[1])

    def epochs(
        self,
        train: Rows,
        train_targets: Tensor | None,
        valid: Rows | None = None,
        valid_targets: Tensor | None = None,
        *,
        epochs: int,
    ) -> Iterator[Epoch]:
        """Train until epoch number `epochs` and yield after each; after `load_state_dict` it goes on from there.

        Between two epochs the caller may record, checkpoint, or stop by leaving the loop. Each epoch begins by seeding
        Python's, NumPy's and torch's global random states from the seed and its number and by putting the model in
        train mode, and leaves all of them like that: an epoch is the same whatever happened before.

        Args:
            train: the rows to learn from, reshuffled each epoch.
            train_targets: `(rows, ...)`, or None where the objective needs none.
            valid: rows to measure on after each epoch, or None.
            valid_targets: as `train_targets`.
            epochs: number of the last epoch, not how many more.

        Raises:
            DataError: there are no rows, or not as many targets as rows.
            ReuseError: a trainable tensor gets no gradient, or the loss is not finite.
        """
        if epochs < 0:
            raise UsageError(f"epochs is {epochs}: give 0 or more")
        train_targets = beside(train, train_targets)
        sizes = batch_sizes(len(train), self.batch_size)
        steps = math.ceil(len(sizes) / self.accumulate)
        self._schedule = choose_schedule(self.schedule, steps_per_epoch=steps, epochs=epochs, warmup_epochs=self.warmup)
        if self._schedule is not None and self._schedule_state.keys() >= self._schedule.state_dict().keys():
            self._schedule.load_state_dict(self._schedule_state)
        self._step.gradients_checked = False
        self._total_steps = steps * epochs
        return self._train(train, train_targets, sizes, valid, valid_targets, epochs)

    def step(self, *batches: Batch) -> Tensor:
        """Take one optimizer step and return the loss, a detached scalar that is still on the device.

        Args:
            batches: the rows, on the trainer's device; several make one step together.
        """
        return self._take(batches, None)

    def _take(self, batches: Sequence[Batch], weights: Sequence[float] | None) -> Tensor:
        loss = self._step(batches, weights)
        self._steps_taken += 1
        self.average.after_step(self._steps_taken)
        return loss

    def evaluate(self, source: Rows, targets: Tensor | None) -> dict[str, float]:
        """Return the objective's metrics over `source`, in eval mode; every module keeps its mode."""
        return evaluate(
            self.network,
            self.objective,
            source,
            targets,
            batch_size=self.batch_size,
            model=self.model,
            precision=self.precision,
            share=self.share,
        )

    def trial(self) -> Step:
        """Return a step like the trainer's on the same weights, with an optimizer and scaler of its own to try things.

        The optimizer begins in the state of the trainer's; what the step does to the weights is done to the model.
        """
        optimizer = build_optimizer(self._settings, self.parameters)
        if self.optimizer.state:
            load_named_state(optimizer, self.parameters, named_state(self.optimizer, self.parameters))
        return self._new_step(optimizer, replace(self.parts, observers=()))

    @property
    def learning_rate(self) -> float:
        """The full rate, without multipliers of layers and schedules."""
        return self._settings.learning_rate

    @property
    def gradient_scale(self) -> float:
        """By what the gradients that the last step left are multiplied: fused optimizers take float16's as they are."""
        scaler = self._step.scaler
        fused = any(group.get("fused") for group in self.optimizer.param_groups)
        return scaler.get_scale() if scaler is not None and fused and not self.parts.clipping else 1.0

    def precise_statistics(self, train: Rows) -> int:
        """Compute the batch norms' statistics anew over all training rows and return how many norms there are.

        Args:
            train: the rows.
        """
        sizes = batch_sizes(len(train), self.batch_size)
        order = self._order(train, 0)
        with autocast(self.precision, self.device):
            return compute_statistics(self.model, self.network, batches(train, None, order, sizes, self.device))

    def kept_tensors(self) -> Mapping[str, Tensor]:
        """Return what is measured and worth keeping after an epoch: the live tensors, or their averages; not copied."""
        return {**self._live.tensors(), **self.average.tensors}

    def state_dict(self) -> dict[str, Any]:
        """Return all that going on needs, copied to the CPU: counters, optimizer, random state, weights; no settings.

        Take it between two epochs.
        """
        return {
            "epoch": self.epoch,
            "steps": self._steps_taken,
            "optimizer_class": type(self.optimizer).__name__,
            "optimizer": named_state(self.optimizer, self.parameters),
            "random": random_state(),
            "weights": copied(self._live.tensors(), "cpu"),
            "schedule": self._schedule.state_dict() if self._schedule else {},
            "average": self.average.state_dict(),
            "settling": self.settling.state_dict(),
            "scaler": self._step.scaler.state_dict() if self._step.scaler else {},
            "compiled": self.compiling.chosen,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> list[str]:
        """Put back what `state_dict` returned, also where other layers are frozen now or the optimizer is another.

        Returns:
            Names of the trainable parameters whose optimizer state starts fresh: those that were frozen, or all of
            them after a change of optimizer.

        Raises:
            RunError: the weights do not fit the model.
        """
        load_tensors(self.model, state["weights"])
        self._use(self._optimizers[max(first for first in self._optimizers if first <= max(state["epoch"], 1))])
        same = state["optimizer_class"] == type(self.optimizer).__name__
        fresh = load_named_state(self.optimizer, self.parameters, state["optimizer"] if same else {})
        set_random_state(state["random"])
        self.epoch, self._steps_taken = state["epoch"], state.get("steps", 0)
        self._schedule_state = state.get("schedule", {})
        self.average.load_state_dict(state.get("average", {}))
        self.settling.load_state_dict(state.get("settling", {}))
        if self._step.scaler is not None and state.get("scaler"):
            self._step.scaler.load_state_dict(state["scaler"])
        self.compiling.resume(state.get("compiled"))
        return fresh

    def _use(self, settings: OptimizerSettings) -> None:
        """Train with a new optimizer from here on."""
        self._settings = settings
        self.optimizer = build_optimizer(settings, self.parameters)
        self._rates = [group["lr"] for group in self.optimizer.param_groups]
        self._step = self._new_step(self.optimizer, self.parts)
        self._live = LivePlaces(self.model)
        self.average.live = self._live.tensors()
        self.compiling.forget()

    def _new_step(self, optimizer: Optimizer, parts: StepParts) -> Step:
        return Step(
            self.model,
            self.network,
            self.objective,
            optimizer,
            self.parameters,
            parts,
            self.precision,
            self.device,
        )

    def _take_notes(self) -> tuple[str, ...]:
        notes, self.compiling.notes = tuple(self.compiling.notes), []
        return notes

    def _train(
        self,
        train: Rows,
        train_targets: Tensor | None,
        sizes: list[int],
        valid: Rows | None,
        valid_targets: Tensor | None,
        epochs: int,
    ) -> Iterator[Epoch]:
        while self.epoch < epochs:
            start, number = time.perf_counter(), self.epoch + 1
            if number > 1 and number in self._optimizers:
                self._use(self._optimizers[number])
            with others_needed():
                loss = self._train_epoch(train, train_targets, sizes, number)
            self.settling.end_epoch()
            self.compiling.decide(self._step, time.perf_counter() - start, len(sizes), epochs - number)
            with self.average.in_place(number, lambda: self._own_statistics(train)):
                validated = {} if valid is None else self.evaluate(valid, valid_targets)
                trained = self.evaluate(train, train_targets) if self.train_metrics else {}
            if self._schedule is not None:
                self._schedule.observe(validated.get(self.objective.monitor or "loss", loss))
            self.epoch = number
            rate = float(self.optimizer.param_groups[0]["lr"])
            trained = {"loss": loss, **{f"eval_{name}": value for name, value in trained.items()}}
            yield Epoch(number, trained, validated, time.perf_counter() - start, rate, self._take_notes())

    def _train_epoch(self, source: Rows, targets: Tensor | None, sizes: list[int], number: int) -> float:
        own = (self.share.rank,) if self.share.rank else ()
        seed_everything(generator(self.seed, number, 1, *own).initial_seed())
        self.model.train()
        self._step.regularised = not (self.alternate and number % 2 == 0)
        source = rows_of_epoch(source, number) if self._step.regularised else source
        order = self._order(source, number)
        if not self._step.regularised:
            switch_off_dropout(self.model)
        of_epoch = math.ceil(len(sizes) / self.accumulate)
        rise = self._settings.rise
        pace = Pace(self.optimizer, self._rates, self._schedule, self._total_steps, steps=of_epoch, rise=rise)
        first, chunks = self._compiled_part(sizes, pace)
        rest = sizes[first + chunks * STEPS :]
        order, own_sizes = self.share.rows(order, sizes[:first] + [STEPS * self.batch_size] * chunks + rest)
        every = batches(source, targets, order, own_sizes, self.device)
        of_steps = list(grouped(iter(sizes), self.accumulate))
        losses, at = RunningLoss(self.share.combine), (number - 1) * len(of_steps)
        for position, some in enumerate(grouped(every, self.accumulate)):
            if first <= position < first + chunks:
                losses.add(self._take_compiled(some[0], at, pace))
                at += STEPS
            else:
                pace.set(at)
                losses.add(self._take(some, self.share.weights(of_steps[at % len(of_steps)])))
                at += 1
        self._average_buffers()
        return losses.mean([sum(some) for some in of_steps], number)

    def _order(self, rows: Rows, epoch: int) -> Tensor:
        windows = windows_of(rows)
        return row_order(len(rows), seed=self.seed, epoch=epoch, shuffle=True, device=rows.device, windows=windows)

    def _average_buffers(self) -> None:
        """Give all processes the same running statistics, where each has gathered those of its own rows."""
        if self.share.count > 1:
            buffers = dict(self.model.named_buffers())
            both = (*self.average.live.items(), *self.average.tensors.items())
            average_buffers([tensor for name, tensor in both if name in buffers])

    def _own_statistics(self, train: Rows) -> dict[str, Tensor]:
        self.precise_statistics(train)
        return batch_statistics(self.model)

    def _compiled_part(self, sizes: list[int], pace: Pace) -> tuple[int, int]:
        """Return how many batches come before those that are compiled, and how many times `STEPS` these are.

        The first step of all is never compiled: it makes the optimizer's state. One that has none, whether it keeps
        empty entries or not, takes such a step in each epoch, and so does a run that is resumed.
        """
        obstacles = {
            "several processes train together": self.share.count > 1,
            "several batches make a step": self.accumulate > 1,
            "the schedule moves the momentum": pace.moves_momentum,
            "a moving average is kept at each step": self.average.every_step,
        }
        if not self.compiling.possible(self._step, obstacles):
            return 0, 0
        first = 0 if any(self.optimizer.state.values()) else 1
        whole = sum(size == self.batch_size for size in sizes[first:])
        return first, whole // STEPS

    def _take_compiled(self, batch: Batch, at: int, pace: Pace) -> Tensor:
        """Take `STEPS` steps at once; one by one where they cannot be compiled."""
        rates = torch.tensor([pace.rates(step) for step in range(at, at + STEPS)])
        losses = self.compiling.run(self._step, batch, rates.to(self.device))
        if losses is not None:
            return losses
        parts = split_batch(batch, STEPS)
        one_by_one = []
        for step, part in enumerate(parts, at):
            pace.set(step)
            one_by_one.append(self.step(part))
        return torch.stack(one_by_one)
