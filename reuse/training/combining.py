"""How much each of several batches of one step counts, so that together they have the loss of one large batch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from reuse.data.rows import Batch
from reuse.objectives.objective import Objective, count_rows, divisor_of


@dataclass(frozen=True)
class BatchWeight:
    """By what the losses of a batch are multiplied.

    Attributes:
        rows: multiplier of means over the rows.
        by_name: multipliers of losses that are divided by something else.
    """

    rows: float = 1.0
    by_name: Mapping[str, Tensor] = field(default_factory=dict)

    def total(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return the sum of the losses, each multiplied."""
        loss, *others = (value if self.is_plain else value * self._of(name, value) for name, value in losses.items())
        for other in others:
            loss = loss + other
        return loss

    @property
    def is_plain(self) -> bool:
        """Whether losses are taken as they are."""
        return self.rows == 1 and not self.by_name

    def _of(self, name: str, loss: Tensor) -> Tensor | float:
        return self.by_name[name].to(loss.dtype) if name in self.by_name else self.rows


ALONE = BatchWeight()
"""Of the one batch of a step."""


def weigh(
    objective: Objective,
    batches: Sequence[Batch],
    rows: Sequence[float],
    combine: Callable[[Tensor], Tensor] | None,
) -> list[BatchWeight]:
    """Return by what the losses of the batches of a step are multiplied.

    Args:
        objective: knows what its losses are divided by.
        batches: as the network sees them, this process's part of each.
        rows: multipliers of means over rows.
        combine: the mean over all processes; None for one process.
    """
    # A multiplier of rows is so much for each row: as much is each unit of what a loss is divided by, but for a factor.
    units = [weight / len(batch.inputs[0]) for weight, batch in zip(rows, batches, strict=True)]
    divisors = [objective.divisors(batch) for batch in batches]
    precise = count_rows(batches[0]).dtype
    own = torch.stack(
        [torch.stack([*each.values()]).to(precise) * unit for each, unit in zip(divisors, units, strict=True)]
    )
    total = own.sum(0) if combine is None else combine(own.sum(0))
    shares = own / divisor_of(total)
    return [
        BatchWeight(weight, dict(zip(each, share, strict=True)))
        for weight, each, share in zip(rows, divisors, shares, strict=True)
    ]
