"""Schedules that lower the rate when the loss stops falling."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from reuse.errors import UsageError
from reuse.optim.curves import EpochSpan


@dataclass
class Plateau:
    """A schedule that multiplies the rate by `factor` after more than `patience` epochs no better than the best.

    An epoch is better when its loss is below the best one by more than `threshold` of it. These are the rules of
    torch's ReduceLROnPlateau.

    Attributes:
        factor: above 0 and below 1.
        patience: epochs.
        threshold: a share.
    """

    factor: float
    patience: int
    threshold: float = 1e-4
    _rate: float = field(default=1.0, init=False)
    _best: float = field(default=math.inf, init=False)
    _waited: int = field(default=0, init=False)

    def multiplier(self, step: int, total: int) -> float:  # noqa: ARG002 - the shape of every schedule
        """Return the multiplier that the losses so far have led to."""
        return self._rate

    def momentum(self, step: int, total: int) -> float | None:  # noqa: ARG002
        """Leave the momentum."""
        return None

    def observe(self, loss: float) -> None:
        """Take notice of an epoch's loss; one that is not a number counts as no better."""
        margin = self.threshold * abs(self._best) if math.isfinite(self._best) else 0.0
        if loss < self._best - margin:
            self._best, self._waited = loss, 0
        else:
            self._waited += 1
        if self._waited > self.patience:
            self._rate, self._waited = self._rate * self.factor, 0

    def state_dict(self) -> dict[str, float]:
        """Return the multiplier, the best loss (absent before the first epoch) and how many epochs were no better."""
        best = {"best": self._best} if math.isfinite(self._best) else {}
        return {"multiplier": self._rate, "waited": float(self._waited), **best}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Put back what `state_dict` returned."""
        self._rate, self._waited = state["multiplier"], int(state["waited"])
        self._best = state.get("best", math.inf)


def performance(span: EpochSpan, factor: float = 0.5, patience: int = 5) -> Plateau:  # noqa: ARG001 - every maker takes it
    """Reduce on plateau: multiply the rate by `factor` after more than `patience` epochs that were no better.

    Raises:
        UsageError: a value is out of its range.
    """
    if not (isinstance(factor, int | float) and 0 < factor < 1):
        raise UsageError(f"performance is given the factor {factor!r}: give a number above 0 and below 1")
    if not isinstance(patience, int) or patience < 0:
        raise UsageError(f"performance is given the patience {patience!r}: give a whole number of epochs, 0 or more")
    return Plateau(factor, patience)


def halve_on_plateau(span: EpochSpan) -> Plateau:  # noqa: ARG001
    """Halve the rate after each epoch whose loss is not below the best so far."""
    return Plateau(0.5, 0, threshold=0.0)
