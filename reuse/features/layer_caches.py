"""The outputs of several layers of a model for rows: each cached by itself, and what is missing of any in one pass."""

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from reuse.caching.cache import ActivationCache
from reuse.caching.storage import row_bytes
from reuse.caching.store import PrefixCache
from reuse.data.inputs import Inputs
from reuse.data.preprocessing import Preprocessing
from reuse.devices import Compute, moved
from reuse.features.cutting import SAMPLE_ROWS
from reuse.features.extracting import Prefix, check_rows_alone, chunks_of, filled, find_prefixes
from reuse.features.filling import COMPUTE_ROWS
from reuse.features.layer_outputs import LayersTogether
from reuse.features.reading import Chunk
from reuse.features.running import run_frozen
from reuse.features.streaming import Streaming
from reuse.layers.reasons import first_line
from reuse.precision import autocast
from reuse.reporting import Reporter

PASSES_KEPT = 8  # of a few rows: a probe takes three

Joining = Callable[[Any], nn.Module]
"""Joins layers of one model, each a module, into one whose `each` gives a list of what they give in one pass."""


@dataclass(frozen=True)
class LayerRows:
    """What layers give for rows.

    Attributes:
        outputs: of each layer, `(rows, columns)` on the CPU.
        computed: how many rows went through the model.
        stored_bytes: of a row of each layer.
    """

    outputs: list[Tensor]
    computed: int
    stored_bytes: list[int]


@dataclass(frozen=True)
class FewRows:
    """A pass of a few rows.

    Attributes:
        inputs: the rows.
        outputs: of each layer.
        told: places of the layers that know of it.
    """

    inputs: Tensor
    outputs: list[Tensor]
    told: set[int]


class SharedPass:
    """The passes of rows through a model, which several layers read: the last chunk's and the last few rows'.

    Args:
        together: the layers, joined.
        compute: where and in which types.

    Attributes:
        computed: how many rows went through the model.
        seed: of the stored rows that are computed again and compared: the same ones for all layers, in one pass.
    """

    def __init__(self, together: nn.Module, compute: Compute) -> None:
        self._together, self._compute = together.eval(), compute
        self._chunk: Chunk | None = None
        self._found: list[Tensor] = []
        self._few: deque[FewRows] = deque(maxlen=PASSES_KEPT)
        self._is_told = False
        self.computed = 0
        self.seed = int(np.random.default_rng().integers(2**32))

    def of(self, chunk: Chunk) -> list[Tensor]:
        """Return what each layer gives for a chunk of rows, on the device."""
        if chunk is not self._chunk:
            rows = torch.arange(len(chunk.inputs)).split(COMPUTE_ROWS)  # type: ignore[no-untyped-call]
            parts = [self._run(chunk, some) for some in rows]
            self._chunk, self._found = chunk, [torch.cat(some) for some in zip(*parts, strict=True)]
            self.computed += len(chunk.inputs)
        return self._found

    def of_few(self, inputs: Tensor, place: int) -> Tensor:
        """Return what one layer gives for a few rows; to the same question it gets another pass the next time.

        So a layer that is run twice, to see whether it gives the same, does run twice.

        Args:
            inputs: on the device.
            place: of the layer.
        """
        for known in self._few:
            if place not in known.told and torch.equal(known.inputs, inputs):
                break
        else:
            known = FewRows(inputs.clone(), self.run(inputs), set())
            self._few.append(known)
        known.told.add(place)
        return known.outputs[place]

    def tell_of(self, error: Exception, reporter: Reporter) -> None:
        """Say once why a few rows went through layers one by one."""
        if not self._is_told:
            self._is_told = True
            reporter.line(f"layers are checked one by one, as they cannot be in one pass: {first_line(error)}")

    def _run(self, chunk: Chunk, rows: Tensor) -> list[Tensor]:
        return self.run(moved(chunk.inputs.gather(rows)[0], self._compute))

    def run(self, inputs: Tensor) -> list[Tensor]:
        """Return what each layer gives for rows on the device."""
        with torch.no_grad(), autocast(self._compute.precision, self._compute.device):
            each: Any = self._together.each
            outputs: list[Tensor] = each(inputs)
            return outputs


class SharedStreaming(Streaming):
    """Computes what the cache of one layer lacks, by a pass that other layers share.

    Args:
        prefix: the frozen layers up to this one.
        store: its cache.
        compute: where and in which types.
        reporter: told of what is set aside.
        shared: the pass.
        place: of the layer in it.
    """

    def __init__(
        self,
        prefix: fx.GraphModule,
        store: PrefixCache,
        compute: Compute,
        reporter: Reporter,
        shared: SharedPass,
        place: int,
    ) -> None:
        super().__init__(prefix, store, compute, reporter)
        self._shared, self._place, self._seed = shared, place, shared.seed

    def _run_few(self, prefix: fx.GraphModule, inputs: tuple[Tensor, ...], compute: Compute) -> tuple[Tensor, ...]:
        try:
            return (self._shared.of_few(inputs[0], self._place),)
        except Exception as error:  # noqa: BLE001 - a layer above may raise anything for rows far outside
            found = run_frozen(prefix, inputs, compute)  # which this one takes, or raises too
            self._shared.tell_of(error, self._reporter)
            return found

    def _run(self, chunk: Chunk, positions: np.ndarray) -> tuple[Tensor, ...]:
        return (self._shared.of(chunk)[self._place][torch.from_numpy(positions)],)


def rows_of_layers(
    layers: Sequence[nn.Module],
    inputs: Inputs,
    preprocessing: Preprocessing,
    compute: Compute,
    opened: ActivationCache | None,
    dtype: str | None,
    reporter: Reporter,
    joining: Joining = LayersTogether,
) -> LayerRows:
    """Return what several layers of a model give for rows, from the cache as far as it has them.

    Args:
        layers: of one model, on its device, each a module that gives `(rows, columns)`; the model is frozen.
        inputs: the rows, prepared for the model.
        preprocessing: of these and all other rows.
        compute: where and in which types.
        opened: the cache; None: nothing is stored.
        dtype: in which type features are stored; None: as computed.
        reporter: told of rows, and of what is set aside.
        joining: joins such layers.

    Raises:
        CutError: what a layer gives for a row depends on more than the row; the message says on what.
    """
    if opened is None:
        return _computed(joining(layers), len(layers), inputs, compute, reporter)
    example = moved(inputs.gather(torch.arange(min(SAMPLE_ROWS, len(inputs))))[0], compute)
    each = SharedPass(joining(layers), compute).run
    prefixes = find_prefixes(layers, each, example, preprocessing, compute, opened, dtype)
    if not all(one.store.path.is_dir() for one in prefixes):  # else whoever stored what is there has checked it
        check_rows_alone(joining(layers), example, compute)
    streams, computed = _fill(lambda some: joining([layers[n] for n in some]), prefixes, inputs, compute, reporter)
    with ExitStack() as held:
        for one in prefixes:
            held.enter_context(one.store.hold())
        rows = [
            filled(stream, one.store, inputs, torch.device("cpu"))
            for stream, one in zip(streams, prefixes, strict=True)
        ]
        outputs = [some.gather(torch.arange(len(inputs)))[0] for some in rows]
    return LayerRows(outputs, computed, [row_bytes(one.store.stored) for one in prefixes])


def _fill(
    together: Callable[[Sequence[int]], nn.Module],
    prefixes: Sequence[Prefix],
    inputs: Inputs,
    compute: Compute,
    reporter: Reporter,
) -> tuple[list[Streaming], int]:
    """Compute what any layer lacks, and return what reads each, and how many rows went through the model."""
    gaps = [one.store.missing(inputs.digests()) for one in prefixes]
    lacking = [number for number, gap in enumerate(gaps) if len(gap)] or list(range(len(prefixes)))
    shared = SharedPass(together(lacking), compute)
    streams = [Streaming(one.prefix, one.store, compute, reporter) for one in prefixes]
    for place, number in enumerate(lacking):
        one = prefixes[number]
        streams[number] = SharedStreaming(one.prefix, one.store, compute, reporter, shared, place)
    missing = np.unique(np.concatenate(gaps))
    with reporter.rows(len(missing), "caching layers") as progress:
        for chunk in chunks_of(inputs, missing):
            for number in lacking:
                streams[number].fill([chunk])
            progress.advance(len(chunk.inputs))
    return streams, shared.computed


def _computed(together: nn.Module, count: int, inputs: Inputs, compute: Compute, reporter: Reporter) -> LayerRows:
    shared, parts = SharedPass(together, compute), []
    with reporter.rows(len(inputs), "computing layers") as progress:
        for chunk in chunks_of(inputs, np.arange(len(inputs))):
            parts.append([tensor.cpu() for tensor in shared.of(chunk)])
            progress.advance(len(chunk.inputs))
    return LayerRows([torch.cat(some) for some in zip(*parts, strict=True)], shared.computed, [0] * count)
