"""One training step: everything that may change it, in its one place."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import Parameter
from torch.optim import Optimizer

from reuse.augmenting.mixing import Transform
from reuse.data.rows import Batch
from reuse.distributed import is_divided, mean_over_processes, whole
from reuse.errors import UsageError
from reuse.objectives.objective import Network, Objective
from reuse.optim.clipping import Clip
from reuse.optim.constraints import Constraint
from reuse.optim.penalties import Penalty
from reuse.optim.sharpness import perturbed
from reuse.precision import autocast, loss_scaler
from reuse.training.averaging import WeightAverage
from reuse.training.combining import ALONE, BatchWeight, weigh
from reuse.training.parallel import unsynchronized
from reuse.training.reaching import GradientWatch
from reuse.training.statistics import kept_statistics
from reuse.training.turns import BoundTurn, acts_after_step, bind_turns, check_turns

Observer = Callable[[], object]
SHAPES = "torch.fx.experimental.symbolic_shapes"
"""What `backward` imports where it is given a gradient; short trainings do without both."""
MANY_STEPS = 20_000  # from which on the import, of half a second, is worth it


@dataclass(frozen=True)
class StepParts:
    """The parts of a step beside the step itself, each kind in its place, in this order.

    Attributes:
        transforms: of a batch before the network sees it, such as augmentation or mixup.
        penalties: scalars that are added to the loss, such as l1; they are not part of the loss that is reported.
        observers: called when the gradients are there, as they come from the backward pass.
        clipping: of the gradients.
        sharpness: radius of a sharpness-aware step (Foret et al. 2021, https://arxiv.org/abs/2010.01412); 0: none.
        constraints: called on the model after the step, without gradients, such as a bound on the weights' norm.
    """

    transforms: Sequence[Transform] = ()
    penalties: Sequence[Penalty] = ()
    observers: Sequence[Observer] = ()
    clipping: Sequence[Clip] = ()
    sharpness: float = 0.0
    constraints: Sequence[Constraint] = ()


@dataclass
class Step:
    """Takes training steps.

    Attributes:
        model: whose parameters are trained.
        network: what is called on a batch.
        objective: what is minimised.
        optimizer: what moves the parameters.
        named_parameters: what is trained, with names.
        parts: what is done beside.
        precision: a name of `PRECISIONS`.
        device: where the network computes.
        average: of the weights, kept along.
        taken: how many steps have been taken.
        progress: the share of all steps that will have been taken after this one; 0: nobody knows.
        regularised: False leaves transforms, penalties and sharpness out, as every other epoch may.
        turns: which losses move which parameters, one after the other: for most objectives all losses all parameters.
        watch: over the parameters that no gradient has reached yet.

    Raises:
        UsageError: what the objective does and what else is to be done do not go together.
    """

    model: nn.Module
    network: Network
    objective: Objective
    optimizer: Optimizer
    named_parameters: Sequence[tuple[str, Parameter]]
    parts: StepParts
    precision: str
    device: torch.device
    average: WeightAverage
    taken: int = 0
    progress: float = 0.0
    regularised: bool = True
    turns: Sequence[BoundTurn] = field(init=False)
    watch: GradientWatch = field(init=False)
    _one: Tensor | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.parameters = [parameter for _, parameter in self.named_parameters]
        self.scaler = loss_scaler(self.precision, self.device)
        self._divided = any(is_divided(parameter) for parameter in self.parameters)
        if self._divided and self.scaler is not None:
            raise UsageError(
                "float16 scales its loss by what all gradients say, and fsdp divides them: choose bfloat16"
            )
        check_turns(self.objective, [self.optimizer], sharpness=self.parts.sharpness, divided=self._divided)
        self.turns = bind_turns(self.objective, self.named_parameters)
        self.watch = GradientWatch(self.model, self.network, self.turns)
        self.acts_after = acts_after_step(self.objective)
        self._autocast = autocast(self.precision, self.device)

    def __call__(self, batches: Sequence[Batch], weights: Sequence[float] | None = None) -> Tensor:
        """Take one step on one batch, or on the gradients of several, and return the loss, a detached scalar.

        Args:
            batches: the rows.
            weights: by what the batches' mean losses are multiplied (see `reuse.training.parallel`); None: they
                count by their rows, so that without batch norm they move the weights as one large batch would.
        """
        parts, total = self.parts, None
        for number, turn in enumerate(self.turns):
            states = self.watch.random_states() if self.watch.waits else None
            loss = self._backward(turn, batches, weights)  # transforms, forward, losses, penalties, backward
            if states is not None:
                self.watch.look(number, states)
            if parts.sharpness and self.regularised:
                # The way uphill is a direction, so gradients of a scaled loss point the same way.
                with perturbed(turn.parameters, parts.sharpness), kept_statistics(self.model):
                    self._backward(turn, batches, weights)
            for observe in parts.observers:
                observe()
            if parts.clipping:
                self._unscale()
                for clip in parts.clipping:
                    clip(turn.parameters)
            self._move()
            if parts.constraints or self.acts_after:
                with torch.no_grad():
                    for constrain in parts.constraints:
                        constrain(self.model)
                    self.objective.after_step(self.model, self.progress)
            loss = loss if turn.share == 1 else loss * turn.share
            total = loss if total is None else total + loss
        self.taken += 1
        self.average.after_step(self.taken)
        assert total is not None
        return total

    def _backward(self, turn: BoundTurn, batches: Sequence[Batch], weights: Sequence[float] | None) -> Tensor:
        """Fill the gradients of the mean loss over all rows, and return that loss without penalties."""
        for parameter in self.parameters:  # what zero_grad(set_to_none=True) does, in a tenth of its time
            parameter.grad = None
        if len(batches) == 1 and weights is None:
            loss, minimised = self.loss(turn, batches[0])
            self._differentiate(turn, minimised)
            return loss.detach()
        losses = []
        for number, (batch, weight) in enumerate(self._weighed(batches, weights), 1):
            with nullcontext() if number == len(batches) else unsynchronized(self.network):
                loss = self._loss(turn, batch, weight)
                losses.append(loss.detach())
                self._differentiate(turn, loss + self._penalty() if number == 1 else loss)
        return torch.stack(losses).sum()

    def loss(self, turn: BoundTurn, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return a turn's loss on a batch, and the same with penalties: what is reported, and what is minimised."""
        loss = self._loss(turn, self._transformed(batch))
        return loss, (loss + self._penalty() if self.parts.penalties else loss)

    def _transformed(self, batch: Batch) -> Batch:
        """Return a batch as the network sees it."""
        for transform in self.parts.transforms if self.regularised else ():
            batch = transform(batch)
        return batch

    def _weighed(
        self, batches: Sequence[Batch], weights: Sequence[float] | None
    ) -> Iterator[tuple[Batch, BatchWeight]]:
        """Yield the batches of a step as the network sees them, and how much each counts."""
        combine = None if weights is None else mean_over_processes
        if weights is None:
            rows = sum(len(batch.inputs[0]) for batch in batches)
            weights = [len(batch.inputs[0]) / rows for batch in batches]
        if self.objective.divisors(batches[0]):  # known once the network sees all of them
            batches = [self._transformed(batch) for batch in batches]
            yield from zip(batches, weigh(self.objective, batches, weights, combine), strict=True)
            return
        for batch, weight in zip(batches, weights, strict=True):
            yield self._transformed(batch), BatchWeight(weight)

    def _loss(self, turn: BoundTurn, batch: Batch, weight: BatchWeight = ALONE) -> Tensor:
        """Return the sum of a turn's losses on a batch that the network is to see as it is."""
        with self._autocast:
            return weight.total(turn.losses(self.network, batch))

    def _penalty(self) -> Tensor | float:
        """Return the sum of all penalties."""
        if not self.regularised:
            return 0.0
        penalties = [penalty() for penalty in self.parts.penalties]
        return sum(map(whole, penalties) if self._divided else penalties, start=0.0)

    def _differentiate(self, turn: BoundTurn, loss: Tensor) -> None:
        """Add the gradients of a loss to those of the parameters that the turn moves."""
        if not loss.requires_grad:  # all that trains was left out by chance; `watch` tells where it always is
            return
        loss = loss if self.scaler is None else self.scaler.scale(loss)
        one = self._one  # made anew in each step, it would take a tenth of a small head's step
        if one is None or (one.shape, one.dtype, one.device) != (loss.shape, loss.dtype, loss.device):
            if loss.numel() != 1:
                shape = tuple(loss.shape)
                raise UsageError(f"the objective's losses come to shape {shape}: return scalars, such as means")
            one = self._one = torch.ones_like(loss)
        given = (one,) if SHAPES in sys.modules or self.taken >= MANY_STEPS else None
        torch.autograd.backward((loss,), given, inputs=turn.parameters if turn.others else None)

    def _unscale(self) -> None:
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)

    def _move(self) -> None:
        """Move what has a gradient."""
        if self.scaler is None:
            self.optimizer.step()
        elif any(parameter.grad is not None for parameter in self.parameters):  # the scaler's step fails on none
            self.scaler.step(self.optimizer)
            self.scaler.update()
