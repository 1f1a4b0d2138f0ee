"""Training many heads to the best epoch of each."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from reuse.data.rows import Batch, Rows
from reuse.heads.many_heads import ManyHeads
from reuse.objectives.objective import Objective
from reuse.training.batches import beside

Metrics = dict[str, float]
OnEpoch = Callable[[int, Tensor, Tensor], object]
"""Told of an epoch's number, and of all heads' validation losses and accuracies, `(heads,)`."""


@dataclass(frozen=True)
class Measured:
    """Rows on which heads are measured.

    Attributes:
        source: the rows.
        targets: of these.
        chosen: which count for each head, `(heads, rows)` bool; None: all for all.
    """

    source: Rows
    targets: Tensor
    chosen: Tensor | None = None


@dataclass(frozen=True)
class FittedHeads:
    """Outcome of training many heads, which hold their best weights.

    Attributes:
        epochs: how many have run.
        best_epochs: of each head; 0 where no epoch had a finite validation loss.
    """

    epochs: int
    best_epochs: list[int]


class _BestEpochs:
    """Best epoch of each head so far, and which heads still count."""

    def __init__(self, num_heads: int, patience: int | None) -> None:
        self.patience = patience or math.inf
        self.losses = torch.full((num_heads,), torch.inf, dtype=torch.float64)
        self.epochs, self.waited = torch.zeros(num_heads, dtype=torch.long), torch.zeros(num_heads, dtype=torch.long)
        self.running = torch.ones(num_heads, dtype=torch.bool)

    def observe(self, epoch: int, losses: Tensor) -> Tensor:
        """Take notice of an epoch's validation losses, and return for which heads it is the best."""
        better = self.running & (losses < self.losses)
        self.losses = torch.where(better, losses, self.losses)
        self.epochs = torch.where(better, epoch, self.epochs)
        self.waited = torch.where(better, 0, self.waited + 1)
        self.running &= losses.isfinite() & (self.waited < self.patience)
        return better


def fit_heads(
    many: ManyHeads,
    train: tuple[Rows, Tensor],
    valid: Measured,
    *,
    epochs: int,
    patience: int | None,
    on_epoch: OnEpoch,
) -> FittedHeads:
    """Train, and give each head the weights of its best epoch on its validation rows, as early stopping does alone.

    A head stops where its validation loss has not fallen for `patience` epochs, or is not finite: what it does
    afterwards, while others go on, does not count.

    Args:
        many: the heads.
        train: rows and targets.
        valid: the rows to choose by.
        epochs: the greatest number.
        patience: in epochs; None never stops.
        on_epoch: told of every epoch.
    """
    best, number = _BestEpochs(len(many), patience), 0
    kept = {name: tensor.clone() for name, tensor in many.tensors.items()}
    for number in many.epochs(*train, epochs=epochs):
        losses, accuracies = many.measure(valid.source, valid.targets, valid.chosen)
        many.observe(losses.tolist())
        on_epoch(number, losses, accuracies)
        many.keep(kept, best.observe(number, losses))
        if not best.running.any():
            break
    many.load_weights(kept)
    return FittedHeads(number, best.epochs.tolist())


def measure_heads(many: ManyHeads, objective: Objective, rows: Measured) -> list[Metrics]:
    """Return all metrics of each head on its rows, in eval mode; none for a head without rows."""
    tallies: list[dict[str, Tensor]] = [{} for _ in range(len(many))]
    targets = beside(rows.source, rows.targets)
    assert targets is not None
    for some, outputs in many.outputs(rows.source):
        for head, tally in enumerate(tallies):
            own = slice(None) if rows.chosen is None else rows.chosen[head].to(some.device)[some]
            if len(mine := some[own]):
                _add(tally, objective, outputs[head][own], targets[mine])
    return [objective.metrics({n: total.cpu() for n, total in tally.items()}) if tally else {} for tally in tallies]


def _add(tally: dict[str, Tensor], objective: Objective, outputs: Tensor, targets: Tensor) -> None:
    for name, amount in objective.tally(lambda ready: ready, Batch((outputs,), targets)).items():
        tally[name] = tally[name] + amount if name in tally else amount
