"""The one training loop."""

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from reuse.data.rows import Batch, Rows, rows_of_epoch, windows_of
from reuse.distributed import others_needed
from reuse.errors import UsageError
from reuse.objectives.objective import Network, Objective
from reuse.optim.groups import OptimizerSettings
from reuse.optim.optimization import Optimization
from reuse.precision import autocast, check_precision
from reuse.reporting import Epoch, Reporter, Underway
from reuse.seeding import generator, random_state, seed_everything, set_random_state
from reuse.training.averaging import WeightAverage
from reuse.training.batches import as_rows, batch_sizes, batches, beside, grouped, row_order
from reuse.training.compiling import Compiling
from reuse.training.descent import Descent
from reuse.training.dropout import switch_off_dropout
from reuse.training.evaluation import device_of, tally
from reuse.training.layouts import put_channels_last
from reuse.training.parallel import average_buffers, average_gradients, share_of, whole_network
from reuse.training.running_loss import RunningLoss
from reuse.training.settings import LoopSettings
from reuse.training.settling import Settling
from reuse.training.state import LivePlaces, copied, load_tensors
from reuse.training.statistics import batch_statistics, compute_statistics
from reuse.training.step import Step, StepParts
from reuse.training.stepping import EagerSteps
from reuse.training.turns import turn_rates


class Trainer:
    """Trains what is not frozen of a model.

    Args:
        model: whose parameters, modes and state these are; it is moved to `device`.
        objective: what is minimised.
        network: what is called on a batch: the model itself, or the suffix of a cut, which shares its parameters.
        optimization: optimizers, schedule and average; settings of one optimizer alone mean a constant rate.
        parts: what is done in each step beside: transforms, penalties, clipping, sharpness, constraints.
        loop: size of the batches, seed, precision and the like.
        settling: watches which blocks settle, which changes nothing of the training; None: nobody does.
        device: where to compute; None stays where the model is.

    Attributes:
        reporter: told of every batch, and of rows that are measured; nobody unless somebody takes its place.

    Raises:
        UsageError: a setting is out of range or unknown, or every parameter is frozen.

    Example:
        >>> import reuse
        >>> rows, labels = torch.randn(64, 4), torch.randint(3, (64,))
        >>> adam = reuse.OptimizerSettings("adam", learning_rate=0.01)
        >>> trainer = reuse.Trainer(reuse.build("mlp:8", (4,), 3), reuse.Classification(3), optimization=adam)
        >>> [epoch.number for epoch in trainer.epochs(rows, labels, epochs=2)]
        [1, 2]
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        *,
        network: Network | None = None,
        optimization: Optimization | OptimizerSettings = Optimization(),
        parts: StepParts = StepParts(),
        loop: LoopSettings = LoopSettings(),
        settling: Settling | None = None,
        device: torch.device | None = None,
    ) -> None:
        check_precision(loop.precision, model)
        self.device = device_of(model, torch.device("cpu")) if device is None else device
        self.model = model.to(self.device)
        self.network: Network = model if network is None else network
        self.share = share_of(self.network)
        self.objective, self.loop = objective, loop
        self.settling = settling or Settling({})
        self.parameters = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        if loop.channels_last:
            put_channels_last(model)
        self.parts = self._with_own_observers(parts)
        how = Optimization(optimization) if isinstance(optimization, OptimizerSettings) else optimization
        self.descent = Descent(self.parameters, how, turn_rates(objective, self.parameters))
        self.average = WeightAverage(how.average, {})
        self.compiling = Compiling(loop.compile)
        self.reporter = Reporter()
        self.epoch = 0
        self._begin_steps(0)

    def epochs(
        self,
        train: Rows | Tensor,
        train_targets: Tensor | None,
        valid: Rows | Tensor | None = None,
        valid_targets: Tensor | None = None,
        *,
        epochs: int,
    ) -> Iterator[Epoch]:
        """Train until epoch number `epochs` and yield after each; after `load_state_dict` it goes on from there.

        Between two epochs the caller may record, checkpoint, or stop by leaving the loop. Each epoch begins by seeding
        Python's, NumPy's and torch's global random states from the seed and its number and by putting the model in
        train mode, and leaves all of them like that: an epoch is the same whatever happened before.

        Args:
            train: the rows to learn from, reshuffled each epoch; a tensor of them, or what gathers them.
            train_targets: `(rows, ...)`, or None where the objective needs none.
            valid: rows to measure on after each epoch, or None.
            valid_targets: as `train_targets`.
            epochs: number of the last epoch, not how many more.

        Raises:
            DataError: there are no rows, or not as many targets as rows.
            ReuseError: a trainable tensor gets no gradient in an epoch, or the loss is not finite.
        """
        if epochs < 0:
            raise UsageError(f"epochs is {epochs}: give 0 or more")
        train = as_rows(train)
        train_targets = beside(train, train_targets)
        sizes = batch_sizes(len(train), self.loop.batch_size)
        self.descent.plan(math.ceil(len(sizes) / self.loop.accumulate), epochs)
        self._step.watch.begin()
        measured = None if valid is None else (as_rows(valid), valid_targets)
        return self._train(train, train_targets, list(grouped(iter(sizes), self.loop.accumulate)), measured, epochs)

    def _train(
        self,
        train: Rows,
        targets: Tensor | None,
        sizes: list[list[int]],
        valid: tuple[Rows, Tensor | None] | None,
        epochs: int,
    ) -> Iterator[Epoch]:
        while self.epoch < epochs:
            start, number = time.perf_counter(), self.epoch + 1
            if self.descent.switches(number):
                self.descent.use(number)
                self._begin_steps(self._step.taken)
            with others_needed():
                loss = self._train_epoch(train, targets, sizes, number, epochs)
            self.settling.end_epoch()
            num_batches = sum(map(len, sizes))
            self.compiling.decide(self._step, time.perf_counter() - start, num_batches, epochs - number)
            with self.average.in_place(number, lambda: self._own_statistics(train)):
                validated = {} if valid is None else self.evaluate(*valid)
                trained = self.evaluate(train, targets) if self.loop.train_metrics else {}
            self.descent.observe(validated.get(self.objective.monitor or "loss", loss))
            self.epoch = number
            trained = {"loss": loss, **{f"eval_{name}": value for name, value in trained.items()}}
            seconds = time.perf_counter() - start
            yield Epoch(number, trained, validated, seconds, self.descent.rate, self._take_notes())

    def _train_epoch(
        self, train: Rows, targets: Tensor | None, sizes: list[list[int]], number: int, epochs: int
    ) -> float:
        """Train on all rows once, and return the mean loss.

        Args:
            train: the rows.
            targets: of these.
            sizes: rows of each batch of each step.
            number: of the epoch.
            epochs: number of the last epoch.
        """
        own = (self.share.rank,) if self.share.rank else ()
        seed_everything(generator(self.loop.seed, number, 1, *own).initial_seed())
        self.model.train()
        self._step.regularised = not (self.loop.alternate and number % 2 == 0)
        if self._step.regularised:
            train = rows_of_epoch(train, number)
        else:
            switch_off_dropout(self.model)
        order = self._order(train, number)
        steps = EagerSteps(self._step, self.descent.pace(len(sizes)), sizes, (number - 1) * len(sizes))
        steps = self.compiling.of_epoch(steps, batch_size=self.loop.batch_size, together=self.share.count > 1)
        losses, done = RunningLoss(self.share.combine), 0
        shared = self.share.batches(train, targets, order, steps.calls, self.device)
        for (some, weights), call in zip(shared, steps.calls, strict=True):
            losses.add(steps.take(some, weights))
            done += sum(call)
            self.reporter.batch(Underway(number, epochs, done, len(order)), losses.recent)
        self._step.watch.end_epoch()
        self._average_buffers()
        return losses.mean([sum(rows) for rows in sizes], number)

    def step(self, *batches: Batch) -> Tensor:
        """Take one optimizer step and return the loss, a detached scalar that is still on the device.

        Args:
            batches: the rows, on the trainer's device; several make one step together.
        """
        return self._step(batches)

    def evaluate(self, source: Rows | Tensor, targets: Tensor | None) -> dict[str, float]:
        """Return the objective's metrics over `source`, in eval mode; every module keeps its mode."""
        return self.objective.metrics(self.tally(source, targets))

    def tally(self, source: Rows | Tensor, targets: Tensor | None) -> dict[str, Tensor]:
        """Return the sums over `source` that the objective makes metrics of, in eval mode."""
        with self.reporter.rows(len(source), "measuring") as progress:
            return tally(
                self.network,
                self.objective,
                source,
                targets,
                batch_size=self.loop.batch_size,
                model=self.model,
                precision=self.loop.precision,
                share=self.share,
                progress=progress,
            )

    def trial(self) -> Step:
        """Return a step like the trainer's on the same weights, with an optimizer and scaler of its own to try things.

        The optimizer begins in the state of the trainer's; what the step does to the weights is done to the model.
        """
        return self._new_step(self.descent.twin(), replace(self.parts, observers=()), WeightAverage(None, {}))

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer that moves the parameters now."""
        return self.descent.optimizer

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
        sizes = batch_sizes(len(train), self.loop.batch_size)
        order = self._order(train, 0)
        with autocast(self.loop.precision, self.device):
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
            "steps": self._step.taken,
            **self.descent.state_dict(),
            "random": random_state(),
            "weights": copied(self._live.tensors(), "cpu"),
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
        self.epoch = state["epoch"]
        self.descent.use(self.epoch)
        self._begin_steps(state.get("steps", 0))
        fresh = self.descent.load_state_dict(state)
        set_random_state(state["random"])
        self.average.load_state_dict(state.get("average", {}))
        self.settling.load_state_dict(state.get("settling", {}))
        if self._step.scaler is not None and state.get("scaler"):
            self._step.scaler.load_state_dict(state["scaler"])
        self.compiling.resume(state.get("compiled"))
        return fresh

    def _begin_steps(self, taken: int) -> None:
        """Take steps with a new optimizer from here on; `taken` have been taken before."""
        self._step = self._new_step(self.optimizer, self.parts, self.average, taken)
        self._live = LivePlaces(self.model)
        self.average.live = self._live.tensors()
        self.compiling.forget()

    def _new_step(self, optimizer: Optimizer, parts: StepParts, average: WeightAverage, taken: int = 0) -> Step:
        return Step(
            model=self.model,
            network=self.network,
            objective=self.objective,
            optimizer=optimizer,
            named_parameters=self.parameters,
            parts=parts,
            precision=self.loop.precision,
            device=self.device,
            average=average,
            taken=taken,
        )

    def _with_own_observers(self, parts: StepParts) -> StepParts:
        """Return the parts of a step with what the trainer itself does once the gradients are there."""
        observers = list(parts.observers)
        if self.share.count > 1 and len(self.objective.turns()) > 1:
            # What averages gradients during the backward pass waits for all of them, and a turn has some.
            self.network = whole_network(self.network)
            observers.insert(0, partial(average_gradients, [parameter for _, parameter in self.parameters]))
        if self.settling.watches:
            observers.append(self.settling.add)
        return replace(parts, observers=observers)

    def _order(self, rows: Rows, epoch: int) -> Tensor:
        seed, windows = self.loop.seed, windows_of(rows)
        return row_order(len(rows), seed=seed, epoch=epoch, shuffle=True, device=rows.device, windows=windows)

    def _average_buffers(self) -> None:
        """Give all processes the same running statistics, where each has gathered those of its own rows."""
        if self.share.count > 1:
            buffers = dict(self.model.named_buffers())
            both = (*self.average.live.items(), *self.average.tensors.items())
            average_buffers([tensor for name, tensor in both if name in buffers])

    def _own_statistics(self, train: Rows) -> dict[str, Tensor]:
        self.precise_statistics(train)
        return batch_statistics(self.model)

    def _take_notes(self) -> tuple[str, ...]:
        notes, self.compiling.notes = tuple(self.compiling.notes), []
        return notes
