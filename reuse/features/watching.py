"""Frozen weights that features were computed with: whether they are still what they were."""

from dataclasses import dataclass
from itertools import chain

from torch import Tensor, nn

from reuse.errors import UsageError
from reuse.fingerprinting.digests import tensor_text


class WatchedWeights:
    """The weights of a model that its prefix computes with, watched without reading them.

    torch counts what changes a tensor in place, and a tensor in another place has another address. Only one that was
    touched is read again: weights that were written over with the same numbers, or moved to another device, are no
    others. What is written in place through `tensor.data` is not counted.

    Args:
        model: the whole.
        prefix: the part of it that computed the features.
    """

    def __init__(self, model: nn.Module, prefix: nn.Module) -> None:
        self._model = model
        used = {id(tensor) for tensor in chain(prefix.parameters(), prefix.buffers())}
        named = chain(model.named_parameters(), model.named_buffers())
        self._weights = {name: _Seen.of(tensor, tensor_text(tensor)) for name, tensor in named if id(tensor) in used}

    def check(self) -> None:
        """Go on where the weights are what they were.

        Raises:
            UsageError: they are not, so the features are those of another model.
        """
        for name, seen in self._weights.items():
            tensor = _weight(self._model, name)
            if tensor is not None and seen.is_untouched(tensor):
                continue
            if tensor is None or tensor_text(tensor) != seen.text:
                raise UsageError(
                    f"{name} was frozen and has changed since the features were computed: call refresh() to compute "
                    "them anew, or put the weights back"
                )
            self._weights[name] = _Seen.of(tensor, seen.text)


@dataclass(frozen=True)
class _Seen:
    """A weight as it was when its digest was taken."""

    tensor: Tensor
    version: int
    address: int
    text: str

    @classmethod
    def of(cls, tensor: Tensor, text: str) -> "_Seen":
        return cls(tensor, _version(tensor), tensor.data_ptr(), text)

    def is_untouched(self, tensor: Tensor) -> bool:
        return tensor is self.tensor and (_version(tensor), tensor.data_ptr()) == (self.version, self.address)


def _version(tensor: Tensor) -> int:
    """Return how often a tensor was changed in place."""
    return 0 if tensor.is_inference() else tensor._version


def _weight(model: nn.Module, name: str) -> Tensor | None:
    """Return what a model has as a parameter or buffer of this name now."""
    path, _, last = name.rpartition(".")
    try:
        found = getattr(model.get_submodule(path), last)
    except AttributeError:
        return None
    return found if isinstance(found, Tensor) else None
