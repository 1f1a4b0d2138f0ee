"""The learning-rate range test: which rate to take, found by a short training that leaves no trace.

Smith 2017, https://arxiv.org/abs/1506.01186: raise the rate from very small to very large step by step and look at the
loss. It stays as it is, falls, and turns; a rate a little below the turn is the one to take.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from reuse.data.rows import Batch, Rows, windows_of
from reuse.errors import UsageError
from reuse.reporting import NOBODY, Reporter
from reuse.seeding import untouched_random_state
from reuse.training.batches import as_rows, batch_sizes, batches, beside, grouped, row_order
from reuse.training.state import copied
from reuse.training.trainer import Trainer
from reuse.units import format_count

BELOW_TURN = 10.0
"""The turn divided by the rate that is proposed."""

EXPLODED = 3.0
"""The height above its lowest value at which the loss has exploded, as a multiple of what it began with."""

FEWEST_STEPS = 20
_SMOOTHING = 0.9  # weight of what has been in the running mean of the losses


@dataclass(frozen=True)
class RateCurve:
    """The outcome of a range test.

    Attributes:
        rates: of each step taken, rising.
        losses: of each step, before it moves the weights.
        smoothed: running means of the losses.
        turn: the rate at which the smoothed loss is lowest; None where the loss never fell.
        proposal: a rate a little below the turn; None without one.
        note: what there is to say: that the loss never fell, or was still falling at the highest rate; or empty.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    turn: float | None
    proposal: float | None
    note: str


def range_test(
    trainer: Trainer,
    source: Rows | Tensor,
    targets: Tensor | None,
    *,
    lowest: float = 1e-7,
    highest: float = 10.0,
    steps: int = 200,
    reporter: Reporter = NOBODY,
) -> RateCurve:
    """Train for some steps, the rate rising exponentially, and put everything back as it was, bit for bit.

    What rises is one multiplier: layers with rates of their own keep them in proportion. The steps are ordinary ones,
    with augmentation, penalties and clipping, never compiled; schedule, averages and the optimizer's state see nothing.
    The test ends early when the loss explodes.

    Args:
        trainer: between two epochs, as a rule before the first.
        source: the training rows.
        targets: `(rows, ...)`, or None where the objective needs none.
        lowest: the first rate.
        highest: the last rate.
        steps: how many, `FEWEST_STEPS` or more.
        reporter: told of each step.

    Raises:
        UsageError: the bounds are no rising rates above 0, or the steps too few.
        DataError: there are no rows, or not as many targets as rows.
        ReuseError: a trainable tensor gets no gradient.

    Example:
        >>> import reuse
        >>> rows, labels = torch.randn(64, 4), torch.randint(3, (64,))
        >>> trainer = reuse.Trainer(nn.Linear(4, 3), reuse.Classification(3))
        >>> curve = range_test(trainer, rows, labels)
        >>> curve.rates[0], len(curve.rates) <= 200
        (1e-07, True)
    """
    _check(lowest, highest, steps)
    source = as_rows(source)
    targets = beside(source, targets)
    rates = [lowest * (highest / lowest) ** (step / (steps - 1)) for step in range(steps)]
    losses, smoothed = list[float](), list[float]()
    told = reporter.rows(steps, "raising the rate", "step")
    with _untouched(trainer.model), untouched_random_state(), told as progress:
        for rate, loss in zip(rates, _losses(trainer, source, targets, rates), strict=False):
            progress.advance(1, f"rate {rate:.1e}, loss {loss:.4g}")
            if not math.isfinite(loss):
                break
            losses.append(loss)
            smoothed.append(_next_mean(smoothed, loss))
            if smoothed[-1] > min(smoothed) + EXPLODED * abs(smoothed[0]):
                break
    return _curve(rates, losses, smoothed)


def _check(lowest: float, highest: float, steps: int) -> None:
    if not 0 < lowest < highest < math.inf:
        raise UsageError(f"the range test is to go from rate {lowest} to {highest}: give a rise between rates above 0")
    if steps < FEWEST_STEPS:
        raise UsageError(
            f"the range test is given {format_count(steps, 'step')}: give {FEWEST_STEPS} or more, such as 200"
        )


def _losses(trainer: Trainer, source: Rows, targets: Tensor | None, rates: list[float]) -> Iterator[float]:
    """Take a step at each rate and yield its loss."""
    step = trainer.trial()
    fractions = [group["lr"] / trainer.descent.learning_rate for group in step.optimizer.param_groups]
    trainer.model.train()
    for rate, some in zip(rates, _endless(trainer, source, targets), strict=False):
        for group, fraction in zip(step.optimizer.param_groups, fractions, strict=True):
            group["lr"] = rate * fraction
        yield float(step(some))


def _endless(trainer: Trainer, source: Rows, targets: Tensor | None) -> Iterator[list[Batch]]:
    """Yield the batches of each step, in orders that no epoch has."""
    sizes = batch_sizes(len(source), trainer.loop.batch_size)
    shuffled: dict[str, Any] = {"shuffle": True, "device": source.device, "windows": windows_of(source)}
    for number in count(1):
        order = row_order(len(source), seed=trainer.loop.seed, epoch=-number, **shuffled)
        yield from grouped(batches(source, targets, order, sizes, trainer.device), trainer.loop.accumulate)


def _next_mean(means: list[float], loss: float) -> float:
    """Return the exponential running mean with one more loss, unbiased as Adam's (Kingma & Ba 2015)."""
    before = _SMOOTHING ** len(means)
    total = _SMOOTHING * (means[-1] * (1 - before) if means else 0.0) + (1 - _SMOOTHING) * loss
    return total / (1 - _SMOOTHING * before)


def _curve(rates: list[float], losses: list[float], smoothed: list[float]) -> RateCurve:
    taken = tuple(rates[: len(losses)]), tuple(losses), tuple(smoothed)
    lowest = min(range(len(smoothed)), key=smoothed.__getitem__, default=0)
    if not _has_fallen(losses[: len(rates) // 10], smoothed[lowest:]):
        return RateCurve(*taken, None, None, "no rate made the loss fall: look at the data, or give a lower first rate")
    turn = rates[lowest]
    still = lowest == len(rates) - 1
    note = f"the loss was still falling at the highest rate, {turn:.3g}: a higher one may be found" if still else ""
    return RateCurve(*taken, turn, turn / BELOW_TURN, note)


def _has_fallen(first: list[float], from_lowest: list[float]) -> bool:
    """Say whether the lowest mean is further below the first losses than batches differ."""
    if len(first) < 2 or not from_lowest:
        return False
    start = torch.tensor(first, dtype=torch.float64)
    return float(start.mean()) - from_lowest[0] > max(float(start.std()), 0.01 * abs(float(start.mean())))


@contextmanager
def _untouched(model: nn.Module) -> Iterator[None]:
    """Give a model's parameters, buffers, gradients and modes back as they were."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    kept, gradients = copied(tensors), [(p, p.grad) for p in model.parameters()]
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        with torch.no_grad():
            for name, tensor in tensors.items():
                tensor.copy_(kept[name])
        for parameter, gradient in gradients:
            parameter.grad = gradient
        for module, mode in modes:
            module.training = mode
