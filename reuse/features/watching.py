"""Frozen weights that features were computed with: whether they are still what they were."""

from collections.abc import Callable
from itertools import chain

from torch import Tensor, nn

from reuse.errors import UsageError


class WatchedWeights:
    """The parameters and buffers of a prefix, watched without reading them.

    torch counts what changes a tensor in place, and a tensor in another place has another address. Only where one of
    these moved is the key of the prefix computed again: weights that were written over with the same numbers, or moved
    to another device, are no others. What is written through `tensor.data` in place is not counted.

    Args:
        prefix: the layers that computed the features.
        model: whose layers these are, for the names.
        key: returns the key of the prefix as it is now.
        opened_with: the key that the features were computed under.
    """

    def __init__(self, prefix: nn.Module, model: nn.Module, key: Callable[[], str], opened_with: str) -> None:
        self._prefix, self._model, self._key, self._opened_with = prefix, model, key, opened_with
        self._tensors = list(chain(prefix.parameters(), prefix.buffers()))
        self._seen = [_state(tensor) for tensor in self._tensors]

    def check(self) -> None:
        """Go on where the weights are what they were.

        Raises:
            UsageError: they are not, so the features are those of another model.
        """
        now = [_state(tensor) for tensor in self._tensors]
        if now == self._seen:
            return
        if self._key() != self._opened_with:
            moved = [tensor for tensor, old, new in zip(self._tensors, self._seen, now, strict=True) if old != new]
            raise UsageError(
                f"{self._name(moved[0])} was frozen and has changed since the features were computed: call refresh() "
                "to compute them anew, or put the weights back"
            )
        self._seen = now

    def _name(self, tensor: Tensor) -> str:
        named = chain(self._model.named_parameters(), self._model.named_buffers())
        return next((name for name, own in named if own is tensor), "a weight")


def _state(tensor: Tensor) -> tuple[int, int]:
    """Return how often a tensor was changed in place, and where it lies."""
    return 0 if tensor.is_inference() else tensor._version, tensor.data_ptr()
