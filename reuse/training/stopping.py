"""Early stopping, with the best weights kept."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from reuse.errors import UsageError
from reuse.training.state import copied, load_tensors


class EarlyStopping:
    """Stops when a validation metric has not fallen for some epochs, and keeps the weights of the best one.

    Args:
        patience: epochs without a new best after which to stop; None never stops and still keeps the best weights.
        monitor: name of the metric, for whoever reports; lower is better. None: no metric says which weights are the
            best, and nobody calls `update`.
        max_gap: by what share of the loss of the training rows the one of the validation rows may exceed it.

    Raises:
        UsageError: the patience is below 1, or the gap negative.

    Example:
        >>> stopping = EarlyStopping(patience=2)
        >>> [stopping.update(epoch, loss, dict) for epoch, loss in enumerate([1.0, 1.5, 1.2], start=1)]
        [False, False, True]
    """

    def __init__(self, patience: int | None, monitor: str | None = "loss", max_gap: float | None = None) -> None:
        if patience is not None and patience < 1:
            raise UsageError(f"patience is {patience}: give 1 epoch or more, or none to train to the end")
        if max_gap is not None and not max_gap >= 0:
            raise UsageError(f"max_gap is {max_gap}: give a share of the training loss, 0 or more, or none")
        self.patience, self.max_gap = patience, max_gap
        self.monitor = monitor
        self.best = math.inf
        self.best_epoch: int | None = None
        self.waited = 0
        self.losses: tuple[float, float] | None = None
        self._weights: dict[str, Tensor] = {}

    def update(self, epoch: int, value: float, snapshot: Callable[[], Mapping[str, Tensor]]) -> bool:
        """Take an epoch's result and say whether to stop.

        Args:
            epoch: number of the epoch.
            value: the metric; NaN is never better than anything.
            snapshot: returns the weights by name, as `reuse.training.state.live_tensors` does; they are cloned.
        """
        if value < self.best:
            self.best, self.best_epoch, self.waited = value, epoch, 0
            self._weights = copied(snapshot())
        else:
            self.waited += 1
        return self._is_out_of_patience()

    def is_over(self) -> bool:
        """Say whether patience has run out already, or the gap was too wide after the last epoch."""
        return self._is_out_of_patience() or self._is_gap_too_wide()

    def begin_phase(self, live: Mapping[str, Tensor]) -> None:
        """Wait anew, as other layers train from here on, and keep those with the best weights too.

        Args:
            live: what trains now.
        """
        self.waited, self.losses = 0, None
        self.extend(live)

    def extend(self, live: Mapping[str, Tensor]) -> None:
        """Take into the best weights, if there are any, what has begun to train: it was frozen then, and is as it was.

        Args:
            live: what trains now; copied.
        """
        if self._weights:
            self._weights = {**copied(live), **self._weights}

    @property
    def names(self) -> frozenset[str]:
        """Names of the best weights; empty where there are none yet."""
        return frozenset(self._weights)

    def is_gap_too_wide(self, train: Mapping[str, float], valid: Mapping[str, float]) -> bool:
        """Say whether to stop because the network has begun to learn its training rows by heart.

        Args:
            train: metrics of an epoch, with `eval_loss`, that of the training rows in eval mode.
            valid: metrics on the validation rows.
        """
        self.losses = (train["eval_loss"], valid["loss"]) if self.max_gap is not None else None
        return self._is_gap_too_wide()

    def restore(self, model: nn.Module) -> int | None:
        """Put the best weights back into `model` and return their epoch; None where no epoch had a result."""
        load_tensors(model, self._weights)
        return self.best_epoch

    def state_dict(self) -> dict[str, Any]:
        """Return the counters, the last losses and the best weights, copied to the CPU; never the settings."""
        counters = {"best": self.best, "best_epoch": self.best_epoch, "waited": self.waited, "losses": self.losses}
        return {**counters, "weights": copied(self._weights, "cpu")}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` returned; patience and gap stay as they are set now."""
        self.best, self.best_epoch, self.waited = state["best"], state["best_epoch"], state["waited"]
        self.losses = state.get("losses")  # older checkpoints have none
        self._weights = copied(state["weights"])

    def _is_out_of_patience(self) -> bool:
        return self.patience is not None and self.waited >= self.patience

    def _is_gap_too_wide(self) -> bool:
        if self.max_gap is None or self.losses is None:
            return False
        train, valid = self.losses
        return valid > (1 + self.max_gap) * train
