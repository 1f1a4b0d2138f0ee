"""Training many heads to the best epoch of each."""

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
    """What many heads came to; they have their best weights.

    Attributes:
        epochs: how many have run.
        best_epochs: of each head; 0 where no epoch had a finite validation loss.
    """

    epochs: int
    best_epochs: list[int]


def fit_heads(
    many: ManyHeads,
    train: tuple[Rows, Tensor],
    valid: Measured | None,
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
        valid: the rows to choose by; None keeps the last epoch's weights.
        epochs: the greatest number.
        patience: in epochs; None never stops.
        on_epoch: told of every epoch.
    """
    best = torch.full((len(many),), torch.inf, dtype=torch.float64)
    best_epochs, waited = torch.zeros(len(many), dtype=torch.long), torch.zeros(len(many), dtype=torch.long)
    running = torch.ones(len(many), dtype=torch.bool)
    kept = {name: tensor.clone() for name, tensor in many.tensors.items()}
    number = 0
    for number in many.epochs(*train, epochs=epochs):
        if valid is None:
            continue
        losses, accuracies = many.measure(valid.source, valid.targets, valid.chosen)
        many.observe(losses.tolist())
        on_epoch(number, losses, accuracies)
        better = running & (losses < best)
        many.keep(kept, better)
        best, best_epochs = torch.where(better, losses, best), torch.where(better, number, best_epochs)
        waited = torch.where(better, 0, waited + 1)
        running &= losses.isfinite() & (waited < (patience or epochs + 1))
        if not running.any():
            break
    if valid is None:
        return FittedHeads(number, [number] * len(many))
    many.load_weights(kept)
    return FittedHeads(number, best_epochs.tolist())


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
