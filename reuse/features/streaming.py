"""Computing what a cache lacks of a Dataset, chunk by chunk as its samples are read."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from reuse.caching.store import PrefixCache
from reuse.devices import Compute, moved
from reuse.features.filling import COMPUTE_ROWS
from reuse.features.opening import Opening
from reuse.features.reading import Chunk
from reuse.features.running import run_frozen
from reuse.reporting import Reporter


@dataclass
class Streamed:
    """The rows of one version of a Dataset.

    Attributes:
        keys: digests of the rows, `(rows, 16)` uint8.
        targets: of the rows; None for each where there are none.
        computed: how many rows the frozen layers computed.
        kept: what they computed, where it may not be stored; None where it is in the cache.
    """

    keys: np.ndarray
    targets: list[Any]
    computed: int
    kept: tuple[Tensor, ...] | None


class Streaming:
    """Computes what a cache lacks of chunks of rows; whether it may serve them is checked on the first.

    Args:
        prefix: the frozen layers.
        store: their cache.
        compute: where and in which types.
        reporter: told of what is set aside.
    """

    def __init__(self, prefix: fx.GraphModule, store: PrefixCache, compute: Compute, reporter: Reporter) -> None:
        self._prefix, self._store, self._compute, self._reporter = prefix, store, compute, reporter
        self._opening: Opening | None = None

    def fill(self, chunks: Iterable[Chunk]) -> Streamed:
        """Return the keys and targets of all rows of some chunks, once they are in the cache."""
        keys: list[np.ndarray] = []
        targets: list[Any] = []
        kept: list[tuple[Tensor, ...]] = []
        computed = 0
        for chunk in chunks:
            if self._opening is None:
                self._opening = Opening(chunk.inputs, self._compute, self._reporter)
            keys.append(chunk.inputs.digests())
            targets += chunk.targets
            run = partial(self._run, chunk)
            if self._opening.may_serve_here(self._prefix, self._store):
                probe = partial(self._opening.probe, self._prefix)
                computed += self._store.fill(keys[-1], run, compute_rows=COMPUTE_ROWS, probe=probe).computed
            else:
                every = [run(some.numpy()) for some in torch.arange(len(chunk.inputs)).split(COMPUTE_ROWS)]  # type: ignore[no-untyped-call]
                kept += [tuple([tensor.cpu() for tensor in tensors]) for tensors in every]
                computed += len(chunk.inputs)
        return Streamed(np.concatenate(keys), targets, computed, _joined(kept) if kept else None)

    def _run(self, chunk: Chunk, positions: np.ndarray) -> tuple[Tensor, ...]:
        inputs = chunk.inputs.gather(torch.from_numpy(positions))
        return run_frozen(self._prefix, tuple([moved(tensor, self._compute) for tensor in inputs]), self._compute)


def _joined(parts: Sequence[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    return tuple([torch.cat(tensors) for tensors in zip(*parts, strict=True)])
