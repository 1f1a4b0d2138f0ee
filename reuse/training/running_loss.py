"""The training loss of an epoch, gathered without ever waiting for the device."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from reuse.errors import ReuseError

_FOLD = 1024  # losses are joined to one tensor now and then: a GPU keeps 512 bytes for each scalar

RECENT = 64  # steps whose mean loss is shown while an epoch is under way


class LossError(ReuseError):
    """A training loss that is not finite.

    Args:
        value: the loss, NaN or infinite.
        epoch: in which epoch.
        step: in which step of it, from 1.
        steps: how many the epoch has.
        where: what was found to be the first that is not finite, behind "first"; empty where nobody has looked.
    """

    def __init__(self, value: float, epoch: int, step: int, steps: int, where: str = "") -> None:
        first = f", first {where}" if where else ""
        super().__init__(
            f"the training loss became {value} in epoch {epoch}, step {step} of {steps}{first}: "
            "try a lower learning rate, gradient clipping (clip_norm) or a warm-up, and look for NaN in the data"
        )
        self.value, self.epoch, self.step, self.steps = value, epoch, step, steps

    def at(self, where: str) -> "LossError":
        """Return the same with the place that has been found."""
        return LossError(self.value, self.epoch, self.step, self.steps, where)


class RunningLoss:
    """Losses of the steps of an epoch; they leave the device together, at its end.

    Those of the CPU are kept as numbers: tensors of four bytes, left between the large ones of each step, would keep
    the memory of these from being used again (600 MB an epoch with batches of 32 rows, 375 steps and 12,000 classes).

    Args:
        combine: makes one of the losses of all processes; None where there is one process.
    """

    def __init__(self, combine: Callable[[Tensor], Tensor] | None = None) -> None:
        self._combine = combine
        self._recent: list[Tensor] = []
        self._joined: list[Tensor] = []
        self._numbers: list[float] = []
        self._dtype = torch.float32

    def add(self, loss: Tensor) -> None:
        """Take the detached loss of a step, a scalar, or of several steps, one after the other."""
        if loss.device.type == "cpu":
            self._numbers += loss.reshape(-1).tolist()
            self._dtype = loss.dtype
            return
        self._recent.append(loss)
        if len(self._recent) == _FOLD:
            self._join()

    def recent(self) -> float:
        """Return the mean loss of the last steps of this process; waits for the device."""
        if self._numbers:
            last_numbers = self._numbers[-RECENT:]
            return sum(last_numbers) / len(last_numbers)
        last = (self._recent or self._joined)[-RECENT:]
        return float(torch.cat([loss.reshape(-1) for loss in last]).mean())

    def mean(self, sizes: list[int], epoch: int) -> float:
        """Return the mean over rows.

        Args:
            sizes: rows of each step.
            epoch: the number of the epoch, for the message.

        Raises:
            LossError: a loss is not finite; the message names the first such step.
        """
        self._join()
        losses = torch.cat(self._joined)
        losses = (losses if self._combine is None else self._combine(losses)).cpu()  # the one wait of the epoch
        mean = float((losses.double() * torch.tensor(sizes, dtype=torch.float64)).sum() / sum(sizes))
        if not math.isfinite(mean):
            step = int((~losses.isfinite()).nonzero()[0]) + 1
            raise LossError(float(losses[step - 1]), epoch, step, len(losses))
        return mean

    def _join(self) -> None:
        if self._numbers:
            self._joined, self._numbers = [torch.tensor(self._numbers, dtype=self._dtype)], []
        if self._recent:
            self._joined.append(torch.cat([loss.reshape(-1) for loss in self._recent]))
            self._recent = []
