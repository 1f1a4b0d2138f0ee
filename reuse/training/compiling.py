"""Whole steps as compiled code: forward, backward, clipping and optimizer in one graph, several steps a call.

The network alone compiled leaves the optimizer and the many small kernels of a small network as they are; a graph of
whole steps is what gains there.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.optim.optimizers import is_from_torch
from reuse.training.batches import split_batch
from reuse.training.step import Step
from reuse.training.stepping import EagerSteps

STEPS = 4
"""Steps in one graph: more gain little and cost their time in compiling."""

# What compiling costs, in seconds of a processor, measured on small networks: a base, and for each parameter tensor of
# each step. What it gains is calls, not arithmetic: so many seconds a step for each parameter tensor, and no more
# than a part of the step. Of an optimizer with a state torch's own kernels leave little to gain.
BASE_SECONDS, TENSOR_SECONDS = 25.0, 0.6
SAVED_SECONDS, SAVED_PART = 35e-6, 0.3
SAVED_WITH_STATE = 0.3

CHOICES = {False: False, True: True, "auto": "auto", "true": True, "false": False, "yes": True, "no": False}


class Compiling:
    """Decides whether steps are compiled, compiles them, and runs them.

    Args:
        wanted: True, False or "auto", which compiles after an epoch when the epochs to come repay it.

    Attributes:
        notes: what there is to say: that nothing is compiled and why.
    """

    def __init__(self, wanted: bool | str) -> None:
        if wanted not in CHOICES:
            raise UsageError(f"compile is {wanted!r}: give True, False or auto")
        self.wanted = CHOICES[wanted]
        self.chosen: bool | None = self.wanted if isinstance(self.wanted, bool) else None
        self.notes: list[str] = []
        self._graph: _Graph | None = None

    def resume(self, chosen: bool | None) -> None:
        """Take up what was chosen before, if the choice is left to us; a setting is as it is now."""
        if self.wanted == "auto":
            self.chosen = chosen

    def forget(self) -> None:
        """Compile anew, as another optimizer or other layers are trained: an old graph would train the old ones."""
        self._graph = None

    def decide(self, step: Step, epoch_seconds: float, steps: int, epochs_left: int) -> None:
        """Choose, if that is left to us, after an epoch of so many steps that took `epoch_seconds`."""
        if self.chosen is None:
            tensors = len(step.parameters)
            cost = BASE_SECONDS + TENSOR_SECONDS * STEPS * tensors
            saved = min(SAVED_PART * epoch_seconds, SAVED_SECONDS * tensors * steps)
            if any(step.optimizer.state.values()):
                saved *= SAVED_WITH_STATE
            self.chosen = epochs_left * saved > 2 * cost

    def of_epoch(self, eager: EagerSteps, *, batch_size: int, together: bool) -> EagerSteps:
        """Return the steps of an epoch, compiled where that is chosen; where it cannot be, a note says why, once.

        Args:
            eager: the same, not compiled.
            batch_size: rows of a whole batch.
            together: whether several processes train together.
        """
        if self.chosen:
            obstacles = {
                "several processes train together": together,
                "several batches make a step": any(len(sizes) > 1 for sizes in eager.calls),
                "the schedule moves the momentum": eager.pace.moves_momentum,
                **_obstacles(eager.step),
                f"torch {torch.__version__} cannot compile gradients, newer ones can": not traces_gradients(),
            }
            standing = [what for what, is_so in obstacles.items() if is_so]
            if standing:
                self._give_up(standing[0])
        return CompiledSteps(self, eager, batch_size) if self.chosen else eager

    def run(self, step: Step, batch: Batch, rates: Tensor) -> Tensor | None:
        """Take `STEPS` steps on their rows together, or return None where they cannot be compiled.

        Args:
            step: what is to be done.
            batch: the rows of all steps, one after the other, equally many for each.
            rates: `(STEPS, groups)`, the learning rates.

        Returns:
            The losses, `(STEPS,)`, still on the device.
        """
        if not self.chosen:
            return None
        if self._graph is None:
            self._graph = _Graph(step)
        try:
            losses = self._graph(batch, rates)
        except Exception as error:
            if self._graph.has_run:
                raise
            self._give_up(f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}")
            return None
        step.watch.end()  # a graph has a gradient for every parameter, or there is none
        return losses

    def _give_up(self, reason: str) -> None:
        self.chosen, self._graph = False, None
        self.notes.append(f"steps are not compiled: {reason}")


def _obstacles(step: Step) -> dict[str, bool]:
    """Return what in a step keeps it from being compiled, and whether it is there."""
    return {
        "float16 scales its loss by what it meets": step.scaler is not None,
        "a sharpness-aware step is two": step.parts.sharpness > 0,
        "the optimizer is not torch's own": not is_from_torch(step.optimizer),
        "a moving average is kept at each step": step.average.every_step,
        "several turns make a step": len(step.turns) > 1,
        "the objective acts after each step": step.acts_after,
    }


class CompiledSteps(EagerSteps):
    """The steps of an epoch, `STEPS` whole ones taken by one call of compiled code, what is left over one by one.

    The first step of all is never compiled: it makes the optimizer's state. One that has none, whether it keeps empty
    entries or not, takes such a step in each epoch, and so does a run that is resumed.

    Args:
        compiling: compiles them.
        eager: the same, not compiled, of one batch each.
        batch_size: rows of a whole batch.
    """

    def __init__(self, compiling: Compiling, eager: EagerSteps, batch_size: int) -> None:
        self.compiling, self.chunk = compiling, STEPS * batch_size
        sizes, first = eager.calls, 0 if any(eager.step.optimizer.state.values()) else 1
        chunks = sum(some == [batch_size] for some in sizes[first:]) // STEPS
        calls = [*sizes[:first], *[[self.chunk]] * chunks, *sizes[first + chunks * STEPS :]]
        super().__init__(eager.step, eager.pace, calls, eager.at)

    def take(self, batches: Sequence[Batch], weights: Sequence[float] | None) -> Tensor:
        """Take what is to be taken next; steps that turn out not to be compilable are taken one by one."""
        if len(batches[0].inputs[0]) != self.chunk:
            return super().take(batches, weights)
        rates = torch.tensor([self.pace.rates(step) for step in range(self.at, self.at + STEPS)])
        losses = self.compiling.run(self.step, batches[0], rates.to(self.step.device))
        if losses is None:
            one_by_one = [super(CompiledSteps, self).take([part], None) for part in split_batch(batches[0], STEPS)]
            return torch.stack(one_by_one)
        self.at += STEPS
        return losses


def traces_gradients() -> bool:
    """Return whether this torch compiles a step with its gradients."""
    return hasattr(torch._dynamo.config, "trace_autograd_ops")


class _Graph:
    """A graph of `STEPS` whole steps."""

    def __init__(self, step: Step) -> None:
        self.step, self.has_run = step, False
        self.gradients = [torch.zeros_like(parameter) for parameter in step.parameters]
        groups = step.optimizer.param_groups
        self.rates = [torch.tensor(float(group["lr"]), device=step.device) for group in groups]
        # The compiler fuses the update of each tensor; torch's own kernels for all of them take no rate that is one.
        self.flags = {"fused": False, "foreach": False, "capturable": step.device.type == "cuda"}
        # The raw method: what torch wraps around it breaks the graph.
        self._move: Callable[..., object] = inspect.unwrap(type(step.optimizer).step)
        mode = "reduce-overhead" if step.device.type == "cuda" else None
        self._compiled = torch.compile(self._take, fullgraph=True, dynamic=False, mode=mode)

    def __call__(self, batch: Batch, rates: Tensor) -> Tensor:
        for parameter, gradient in zip(self.step.parameters, self.gradients, strict=True):
            parameter.grad = gradient
        with self._own_flags(), torch._dynamo.config.patch(trace_autograd_ops=True):
            losses: Tensor = self._compiled(batch.inputs, batch.targets, rates)
        self.has_run = True
        return losses.clone() if losses.is_cuda else losses  # a captured graph writes to the same place again

    @contextmanager
    def _own_flags(self) -> Iterator[None]:
        """Give the optimizer the graph's flags and rates, and its own again: the steps between graphs are as ever."""
        groups = self.step.optimizer.param_groups
        before = [{name: group[name] for name in ("lr", *self.flags) if name in group} for group in groups]
        for group, rate in zip(groups, self.rates, strict=True):
            group.update({name: value for name, value in self.flags.items() if name in group}, lr=rate)
        try:
            yield
        finally:
            for group, own in zip(groups, before, strict=True):
                group.update(own)

    def _take(self, inputs: tuple[Tensor, ...], targets: Tensor | None, rates: Tensor) -> Tensor:
        parts = split_batch(Batch(inputs, targets), STEPS)
        return torch.stack([self._take_one(part, rate) for part, rate in zip(parts, rates.unbind(), strict=True)])

    def _take_one(self, batch: Batch, rates: Tensor) -> Tensor:
        step = self.step
        loss, total = step.loss(step.turns[0], batch)
        gradients = torch.autograd.grad(total, step.parameters)
        with torch.no_grad():
            for own, gradient in zip(self.gradients, gradients, strict=True):
                own.copy_(gradient)
            for observe in step.parts.observers:
                observe()
            for clip in step.parts.clipping:
                clip(step.parameters)
            for rate, own in zip(self.rates, rates.unbind(), strict=True):
                rate.copy_(own)
            self._move(step.optimizer)
            for constrain in step.parts.constraints:
                constrain(step.model)
        return loss.detach()
