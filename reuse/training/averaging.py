"""An average of the weights beside the weights: kept along, and put in their place to be measured."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from reuse.optim.averaging import Average, swapped
from reuse.training.state import copied


class WeightAverage:
    """Keeps an average of what trains, or none.

    Args:
        average: how it is formed; None keeps nothing.
        live: what trains, by name.
    """

    def __init__(self, average: Average | None, live: Mapping[str, Tensor]) -> None:
        self.average, self.live = average, live
        self._statistics: dict[str, Tensor] = {}

    @property
    def every_step(self) -> bool:
        """Whether something is to be done after every step."""
        return self.average is not None and self.average.every_step

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The averages by name, with the batch norms' own statistics; empty where there are none yet."""
        return {} if self.average is None else {**self.average.average, **self._statistics}

    def after_step(self, count: int) -> None:
        """Take the weights after step number `count`, from 1."""
        if self.average is not None and self.average.every_step:
            self.average.update(self.live, count)

    @contextmanager
    def in_place(self, epoch: int, statistics: Callable[[], Mapping[str, Tensor]]) -> Iterator[None]:
        """Hold the average in the place of the weights, if there is one, after epoch number `epoch`.

        Args:
            epoch: from 1.
            statistics: computes the batch norms' statistics anew in the model and returns them by name.
        """
        if self.average is not None and not self.average.every_step:
            self.average.update(self.live, epoch)
        if self.average is None or not self.average.average:
            yield
            return
        with swapped(self.live, self.average.average):
            if self.average.needs_statistics:
                self._statistics = copied(statistics())
            yield

    def state_dict(self) -> dict[str, Any]:
        """Return what going on needs; empty where nothing is kept."""
        return {} if self.average is None else self.average.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` returned, if an average of the same kind is kept now; another begins anew."""
        if self.average is not None and state.keys() == self.average.state_dict().keys():
            self.average.load_state_dict(state)
