"""The outputs of layers for rows in memory: computed once and for all, whoever asks for them and in what order."""

from collections.abc import Iterator

import torch
from torch import Tensor, fx, nn

from reuse.caching.cache import ActivationCache
from reuse.caching.chaining import PrefixCaches
from reuse.caching.store import PrefixCache
from reuse.data.samples import SampleInputs, digest_samples
from reuse.devices import Compute, moved
from reuse.features.cutting import cut_on
from reuse.features.filling import COMPUTE_ROWS
from reuse.features.layer_outputs import LayerOutputs
from reuse.features.reading import CHUNK_BYTES, Chunk
from reuse.features.running import run_frozen
from reuse.features.streaming import Streaming
from reuse.layers.freezing import freeze
from reuse.layers.frontier_tensor import FrontierTensor
from reuse.layout import one_tensor
from reuse.reporting import Warner

FEW = 2  # rows that show what an output is like


class Extraction:
    """What some layers of a model give for rows, from the cache as far as it has them.

    Whether the cache may serve is checked once, on the first rows: the model is not to be changed after that.

    Args:
        outputs: the layers, on their device; they are frozen.
        example: a few rows, prepared for the model.
        compute: where and in which types.
        opened: the cache.
        dtype: in which type features are stored; None: as computed.

    Attributes:
        computed: how many rows were computed, of all calls together.

    Raises:
        CutError: what the model gives for a row depends on more than the row; the message says on what.
    """

    def __init__(
        self, outputs: LayerOutputs, example: Tensor, compute: Compute, opened: ActivationCache, dtype: str | None
    ) -> None:
        whole = Ended(outputs)
        freeze(whole, "outputs")
        prefix = _graph_of(outputs.eval())
        few = moved(example[:FEW], compute)
        (output,) = run_frozen(prefix, (few,), compute)
        frontier = (FrontierTensor("outputs", tuple(output.shape[1:]), output.dtype),)
        about = {"model": type(outputs.model).__name__, "data": "rows"}
        caches = PrefixCaches(opened, {"samples": "known by content"}, compute, about)
        self._store: PrefixCache = caches.of(prefix, frontier, dtype)
        if not self._store.path.is_dir():  # else it was checked by whoever stored what is there
            _check(whole, moved(example, compute), compute)
        self._streaming = Streaming(prefix, self._store, compute, Warner())
        self.computed = 0

    def __call__(self, rows: Tensor) -> Tensor:
        """Return the outputs for some rows, `(rows, columns)`, on the CPU."""
        with self._store.hold():
            streamed = self._streaming.fill(_chunks(rows))
            self.computed += streamed.computed
            if streamed.kept is not None:
                return streamed.kept[0]

            def mend() -> None:
                self._streaming.fill(_chunks(rows))

            stored = self._store.activations(streamed.keys, device=torch.device("cpu"), mend=mend)
            return stored.gather(torch.arange(len(rows)))[0]


class Ended(nn.Module):
    """Outputs of layers with something behind them that trains, without which there would be nothing to cut from."""

    def __init__(self, outputs: LayerOutputs) -> None:
        super().__init__()
        self.outputs, self.scale = outputs, nn.Parameter(torch.ones(()))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs, scaled."""
        outputs: Tensor = self.outputs(inputs)
        return outputs * self.scale


def _check(whole: Ended, example: Tensor, compute: Compute) -> None:
    """Raise unless what a model gives for a row depends on that row alone, each time it is called."""
    cut_on(whole, lambda: example, one_tensor(tuple(example.shape[1:]), example.dtype), compute)


def _graph_of(outputs: LayerOutputs) -> fx.GraphModule:
    """Return the outputs as a prefix of which nothing is left over: a cache knows it by all that it computes."""
    holder, graph = nn.Module(), fx.Graph()
    holder.add_module("outputs", outputs)
    graph.output((graph.call_module("outputs", (graph.placeholder("inputs"),)),))
    return fx.GraphModule(holder, graph)


@torch.no_grad()
def compute_outputs(outputs: LayerOutputs, rows: Tensor, compute: Compute) -> Tensor:
    """Return the outputs for some rows without any cache, `(rows, columns)`, on the CPU."""
    parts = [outputs(moved(some, compute)).cpu() for some in rows.split(COMPUTE_ROWS)]  # type: ignore[no-untyped-call]
    return torch.cat(parts)


def _chunks(rows: Tensor) -> Iterator[Chunk]:
    count = max(1, CHUNK_BYTES // max(1, rows[0].nbytes))
    for some in rows.split(count):  # type: ignore[no-untyped-call]
        yield Chunk(SampleInputs((some,), digest_samples((some,))), [None] * len(some))
