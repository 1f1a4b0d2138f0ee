"""The origin of features: a model, a Dataset and the cache between them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat

import torch
from torch import Tensor, nn

from reuse.caching.cache import ActivationCache
from reuse.caching.chaining import PrefixCaches
from reuse.caching.store import PrefixCache
from reuse.data.sample_keys import KnownRows
from reuse.devices import Compute, dtype_name
from reuse.errors import UsageError
from reuse.features.cutting import cut_on
from reuse.features.reading import Reader
from reuse.features.streaming import ByContent, ByKeys
from reuse.hints import Hints
from reuse.layers.parts import Cut
from reuse.layout import RowTensor, as_arguments

PRECISIONS = {torch.float32: "float32", torch.float64: "float64"}


@dataclass(frozen=True)
class Origin:
    """What features are computed from.

    Attributes:
        model: with its frozen layers.
        reader: of the Dataset.
        versions: numbers of the versions of its samples that are read in turn.
        known: what is known of the samples without reading them; None: nothing.
        opened: the cache.
        dtype: in which type features are stored; None: as computed.
    """

    model: nn.Module
    reader: Reader
    versions: tuple[int, ...]
    known: KnownRows | None
    opened: ActivationCache
    dtype: str | None

    def cut(self, example: tuple[Tensor, ...], compute: Compute) -> Cut:
        """Return the model's cut, found on a few rows or known from an earlier run."""
        form = self.reader.form
        names = map(str, form.inputs) if form.by_name else repeat("")
        layout = tuple(RowTensor.of(name, tensor) for name, tensor in zip(names, example, strict=False))
        given = as_arguments(layout, example)
        return cut_on(self.model, lambda: given, layout, compute, hints=Hints(self.opened.root))

    def store(self, parts: Cut, example: tuple[Tensor, ...], compute: Compute) -> PrefixCache:
        """Return the cache of a cut's prefix, for rows of the form of an example."""
        about = {"model": type(self.model).__name__, "data": type(self.reader.dataset).__name__}
        made_by = "known by content" if self.known is None else self.known.made_by
        form = [(list(tensor.shape[1:]), dtype_name(tensor.dtype)) for tensor in example]
        caches = PrefixCaches(self.opened, {"samples": made_by, "form": str(form)}, compute, about)
        return caches.of(parts.prefix, parts.frontier, self.dtype)

    def rows(self, version: int) -> ByContent | ByKeys:
        """Return the rows of a version, to be read."""
        return ByContent(self.reader, version) if self.known is None else ByKeys(self.reader, version, self.known)


def compute_of(model: nn.Module) -> Compute:
    """Return where and in which types a model computes.

    Raises:
        UsageError: it has no parameters, or computes in neither float32 nor float64.
    """
    tensors = [*model.parameters(), *model.buffers()]
    floating = next((tensor for tensor in tensors if tensor.is_floating_point()), None)
    if floating is None:
        raise UsageError(f"the model {type(model).__name__} has no parameters, so there is nothing to freeze")
    if floating.dtype not in PRECISIONS:
        raise UsageError(
            f"the model is in {dtype_name(floating.dtype)}, and features are computed in float32 or float64: call "
            "model.float() first; cache_dtype='float16' stores them in half the bytes"
        )
    return Compute(floating.device, PRECISIONS[floating.dtype])


@contextmanager
def same_modes(model: nn.Module) -> Iterator[None]:
    """Leave all modules of a model in the modes in which they were when the block was entered."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
