"""What one of many heads is: its initial weights and how it is trained."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from reuse.optim.groups import OptimizerSettings


@dataclass(frozen=True)
class Head:
    """One of many heads.

    Attributes:
        weights: its initial parameters and buffers, under the network's names.
        optimizer: which, and with what numbers.
        schedule: of its rate, a name of `reuse.optim.schedules.SCHEDULES`.
        warmup: length of the rise to the full rate, in epochs.
        rows: True for each training row that it learns from, `(rows,)` bool; None: all.
    """

    weights: Mapping[str, Tensor]
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    schedule: str = "constant"
    warmup: float = 0.0
    rows: Tensor | None = None
