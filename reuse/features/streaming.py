"""Computing what a cache lacks of a Dataset, chunk by chunk as its samples are read."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from reuse.caching.segment import KEY_BYTES
from reuse.caching.store import PrefixCache
from reuse.data.sample_keys import KnownRows
from reuse.data.samples import SampleInputs
from reuse.devices import Compute, moved
from reuse.features.filling import COMPUTE_ROWS
from reuse.features.opening import Opening
from reuse.features.reading import Chunk, Reader
from reuse.features.running import run_frozen
from reuse.reporting import Reporter

CHECKED_ROWS = 8  # that are read where all are in the cache: the cut is made and what is stored checked on them
NO_KEYS = np.empty((0, KEY_BYTES), np.uint8)


@dataclass(frozen=True)
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

    _seed: int | None = None  # of the rows that are compared; None: drawn anew

    def __init__(self, prefix: fx.GraphModule, store: PrefixCache, compute: Compute, reporter: Reporter) -> None:
        self._prefix, self._store, self._compute, self._reporter = prefix, store, compute, reporter
        self._opening: Opening | None = None

    @property
    def is_checked(self) -> bool:
        """Whether it is known if the cache may serve."""
        return self._opening is not None

    def fill(self, chunks: Iterable[Chunk]) -> Streamed:
        """Return the keys and targets of all rows of some chunks, once they are in the cache."""
        keys: list[np.ndarray] = []
        targets: list[Any] = []
        kept: list[tuple[Tensor, ...]] = []
        computed = 0
        for chunk in chunks:
            if self._opening is None:
                self._opening = Opening(chunk.inputs, self._compute, self._reporter, self._run_few, self._seed)
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
        return Streamed(np.concatenate(keys) if keys else NO_KEYS, targets, computed, _joined(kept) if kept else None)

    def missing(self, keys: np.ndarray) -> np.ndarray:
        """Return the positions of rows that are not in the cache; of all, where it may not serve."""
        return np.arange(len(keys)) if self._store.quarantined else self._store.missing(keys)

    def _run_few(self, prefix: fx.GraphModule, inputs: tuple[Tensor, ...], compute: Compute) -> tuple[Tensor, ...]:
        """Return what frozen layers compute of the rows that show whether the cache may serve."""
        return run_frozen(prefix, inputs, compute)

    def _run(self, chunk: Chunk, positions: np.ndarray) -> tuple[Tensor, ...]:
        inputs = chunk.inputs.gather(torch.from_numpy(positions))
        return run_frozen(self._prefix, tuple([moved(tensor, self._compute) for tensor in inputs]), self._compute)


class ByContent:
    """The rows of a version of a Dataset, known by their content: all are read, each once.

    Args:
        reader: of the Dataset.
        version: its number.
    """

    def __init__(self, reader: Reader, version: int) -> None:
        self._chunks, self._read = reader.chunks(version), list[Chunk]()

    def example(self) -> tuple[Tensor, ...]:
        """Return the inputs of the first rows."""
        self._read.append(next(self._chunks))
        return self._read[0].inputs.tensors

    def fill(self, streaming: Streaming) -> Streamed:
        """Compute what is missing; once for each object."""
        return streaming.fill(chain(self._read, self._chunks))


class ByKeys:
    """The rows of a version of a Dataset, known by keys: only those are read that are missing, and a few to check.

    Args:
        reader: of the Dataset.
        version: its number.
        known: what is known of the samples.
    """

    def __init__(self, reader: Reader, version: int, known: KnownRows) -> None:
        self._reader, self._version, self._known = reader, version, known
        self._keys = known.version(version)
        few = np.random.default_rng().permutation(len(self._keys))[:CHECKED_ROWS]
        self._checked = list(self._chunks(few)), few

    def example(self) -> tuple[Tensor, ...]:
        """Return the inputs of a few rows."""
        return self._checked[0][0].inputs.tensors

    def fill(self, streaming: Streaming) -> Streamed:
        """Compute what is missing."""
        every = np.arange(len(self._keys))
        targets = self._known.targets
        if self._reader.form.target is None:
            targets = [None] * len(every)
        if targets is None:  # they stand in the samples, so that all are read
            return replace(streaming.fill(self._chunks(every)), keys=self._keys)
        checked, few = self._checked
        done = streaming.fill(chain(checked, self._chunks(np.setdiff1d(streaming.missing(self._keys), few))))
        if done.kept is not None:  # the cache is set aside, so that it holds no row
            done = streaming.fill(self._chunks(every))
        return replace(done, keys=self._keys, targets=targets)

    def _chunks(self, positions: np.ndarray) -> Iterator[Chunk]:
        start = 0
        for chunk in self._reader.chunks(self._version, positions.tolist()):
            own = self._keys[positions[start : start + len(chunk.inputs)]]
            start += len(own)
            yield Chunk(SampleInputs(chunk.inputs.tensors, own), chunk.targets)


def _joined(parts: Sequence[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    return tuple([torch.cat(tensors) for tensors in zip(*parts, strict=True)])
