"""The one training loop."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from reuse.errors import UsageError
from reuse.objectives.objective import Batch, Network, Objective
from reuse.optim.named_state import load_named_state, named_state
from reuse.optim.optimizers import OptimizerSettings, build_optimizer
from reuse.optim.schedules import Schedule, choose_schedule
from reuse.seeding import generator, random_state, seed_everything, set_random_state
from reuse.training.batches import Source, batch_sizes, batches, beside, row_order
from reuse.training.epoch import Epoch
from reuse.training.evaluation import device_of, evaluate
from reuse.training.gradients import check_gradients
from reuse.training.precision import autocast, check_precision
from reuse.training.running_loss import RunningLoss
from reuse.training.state import copied, live_tensors, load_tensors


class Trainer:
    """Trains what is not frozen of a model.

    Args:
        model: whose parameters, modes and state these are; it is moved to `device`.
        objective: what is minimised.
        network: what is called on a batch: the model itself, or the suffix of a cut, which shares its parameters.
        optimizer: a name of `reuse.optim.optimizers.OPTIMIZERS` or of timm's.
        learning_rate: the full rate.
        momentum: for optimizers that have one; None takes the optimizer's own.
        weight_decay: the optimizer's own kind of decay.
        schedule: a name of `reuse.optim.schedules.SCHEDULES`, or a function `(step, total steps) -> multiplier`.
        warmup: length of the rise to the full rate, in epochs.
        clip_norm: greatest norm of all gradients together; None leaves them as they are.
        batch_size: rows a step.
        seed: decides the order of rows and all random numbers of the epochs.
        precision: "float32", "float64" (the model and its inputs must be) or "bfloat16" (autocast).
        device: where to compute; None stays where the model is.
        constraints: called on the model after each step, without gradients, such as a bound on the weights' norm.

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
        optimizer: str = "adam",
        learning_rate: float = 1e-3,
        momentum: float | None = None,
        weight_decay: float = 0.0,
        schedule: str | Schedule = "constant",
        warmup: float = 0.0,
        clip_norm: float | None = None,
        batch_size: int = 32,
        seed: int = 0,
        precision: str = "float32",
        device: torch.device | None = None,
        constraints: Sequence[Callable[[nn.Module], object]] = (),
    ) -> None:
        if clip_norm is not None and not clip_norm > 0:
            raise UsageError(f"clip_norm is {clip_norm}: give a norm above 0, or none")
        if not warmup >= 0:
            raise UsageError(f"warmup is {warmup}: give 0 epochs or more")
        batch_sizes(1, batch_size)
        choose_schedule(schedule)
        check_precision(precision, model)
        self.device = device_of(model, torch.device("cpu")) if device is None else device
        self.model = model.to(self.device)
        self.network: Network = model if network is None else network
        self.objective = objective
        self.schedule, self.warmup = schedule, warmup
        self.clip_norm, self.constraints = clip_norm, tuple(constraints)
        self.batch_size, self.seed, self.precision = batch_size, seed, precision
        self.parameters = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        self.optimizer = build_optimizer(
            OptimizerSettings(optimizer, learning_rate, momentum, weight_decay, decay_all=True), self.parameters
        )
        self.epoch = 0
        self._tensors = [parameter for _, parameter in self.parameters]
        self._rates = [group["lr"] for group in self.optimizer.param_groups]
        self._autocast = autocast(precision, self.device)
        self._gradients_checked = False

    def epochs(
        self,
        train: Source,
        train_targets: Tensor | None,
        valid: Source | None = None,
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
        self._gradients_checked = False
        return self._train(train, train_targets, sizes, valid, valid_targets, epochs)

    def step(self, batch: Batch, multiplier: float | None = None) -> Tensor:
        """Take one optimizer step and return the loss, a detached scalar that is still on the device.

        Args:
            batch: the rows, on the trainer's device.
            multiplier: of each parameter group's own learning rate; None leaves the rates as they are.
        """
        for parameter in self._tensors:  # what zero_grad(set_to_none=True) does, in a tenth of its time
            parameter.grad = None
        with self._autocast:
            loss, *others = self.objective.losses(self.network, batch).values()
            for other in others:
                loss = loss + other
        loss.backward()  # type: ignore[no-untyped-call]
        if not self._gradients_checked:
            check_gradients(self.parameters)
            self._gradients_checked = True
        if self.clip_norm is not None:
            clip_grad_norm_(self._tensors, self.clip_norm)
        if multiplier is not None:
            self._set_rates(multiplier)
        self.optimizer.step()
        if self.constraints:
            with torch.no_grad():
                for constrain in self.constraints:
                    constrain(self.model)
        return loss.detach()

    def evaluate(self, source: Source, targets: Tensor | None) -> dict[str, float]:
        """Return the objective's metrics over `source`, in eval mode; every module keeps its mode."""
        return evaluate(
            self.network,
            self.objective,
            source,
            targets,
            batch_size=self.batch_size,
            model=self.model,
            precision=self.precision,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return all that going on needs, copied to the CPU: counters, optimizer, random state, weights; no settings.

        Take it between two epochs.
        """
        return {
            "epoch": self.epoch,
            "optimizer_class": type(self.optimizer).__name__,
            "optimizer": named_state(self.optimizer, self.parameters),
            "random": random_state(),
            "weights": copied(live_tensors(self.model), "cpu"),
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
        same = state["optimizer_class"] == type(self.optimizer).__name__
        fresh = load_named_state(self.optimizer, self.parameters, state["optimizer"] if same else {})
        set_random_state(state["random"])
        self.epoch = state["epoch"]
        return fresh

    def _train(
        self,
        train: Source,
        train_targets: Tensor | None,
        sizes: list[int],
        valid: Source | None,
        valid_targets: Tensor | None,
        epochs: int,
    ) -> Iterator[Epoch]:
        rate_at = self._rates_over(len(sizes), epochs)
        while self.epoch < epochs:
            start = time.perf_counter()
            loss = self._train_epoch(train, train_targets, sizes, self.epoch + 1, rate_at)
            metrics = {} if valid is None else self.evaluate(valid, valid_targets)
            self.epoch += 1
            rate = float(self.optimizer.param_groups[0]["lr"])
            yield Epoch(self.epoch, {"loss": loss}, metrics, time.perf_counter() - start, rate)

    def _train_epoch(
        self,
        source: Source,
        targets: Tensor | None,
        sizes: list[int],
        number: int,
        rate_at: Callable[[int], float | None],
    ) -> float:
        seed_everything(generator(self.seed, number, 1).initial_seed())
        order = row_order(len(source), seed=self.seed, epoch=number, shuffle=True, device=source.device)
        self.model.train()
        losses = RunningLoss()
        for step, batch in enumerate(batches(source, targets, order, sizes, self.device), (number - 1) * len(sizes)):
            losses.add(self.step(batch, rate_at(step)))
        return losses.mean(sizes, number)

    def _rates_over(self, steps_per_epoch: int, epochs: int) -> Callable[[int], float | None]:
        """Return what gives each step its multiplier, None where the rate never changes."""
        schedule = choose_schedule(self.schedule, warmup_steps=round(self.warmup * steps_per_epoch))
        if schedule is None:
            return lambda _: None
        return lambda step: schedule(step, epochs * steps_per_epoch)

    def _set_rates(self, multiplier: float) -> None:
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * multiplier
