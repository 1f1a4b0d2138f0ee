"""The outputs of layers for rows in memory: computed once and for all, whoever asks for them and in what order."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, fx, nn

from reuse.caching.cache import ActivationCache
from reuse.caching.chaining import PrefixCaches
from reuse.caching.spot_checking import difference, row_difference
from reuse.caching.store import PrefixCache
from reuse.data.inputs import Inputs
from reuse.data.preprocessing import Preprocessing
from reuse.data.rows import Resident, Rows
from reuse.data.samples import SampleInputs
from reuse.devices import Compute, moved
from reuse.features.cutting import SAMPLE_ROWS, cut_on
from reuse.features.filling import rows_at_once
from reuse.features.layer_outputs import LayerOutputs
from reuse.features.reading import Chunk
from reuse.features.running import run_frozen
from reuse.features.streaming import CHECKED_ROWS, Streamed, Streaming
from reuse.fingerprinting.blocks import Blocks
from reuse.fingerprinting.environment import OURS
from reuse.layers.freezing import freeze
from reuse.layers.frontier_tensor import FrontierTensor
from reuse.layout import one_tensor
from reuse.reporting import Warner

CHUNK_ROWS = 1024  # that are prepared and in memory at once
FEW = 2  # rows that show what an output is like


class Extraction:
    """What some layers of a model give for rows, from the cache as far as it has them.

    Whether the cache may serve is checked once, on the first rows: the model is not to be changed after that.

    Args:
        outputs: what gives them of rows, `(rows, columns)`, on its device; it is frozen.
        inputs: rows, prepared for the model.
        preprocessing: of these and all other rows.
        compute: where and in which types.
        opened: the cache.
        dtype: in which type features are stored; None: as computed.

    Attributes:
        lock: held while the model runs, as it is called by one thread at a time.

    Raises:
        CutError: what the model gives for a row depends on more than the row; the message says on what.
    """

    def __init__(
        self,
        outputs: nn.Module,
        inputs: Inputs,
        preprocessing: Preprocessing,
        compute: Compute,
        opened: ActivationCache,
        dtype: str | None,
    ) -> None:
        example = moved(inputs.gather(torch.arange(min(SAMPLE_ROWS, len(inputs))))[0], compute)
        found = find_prefix(outputs, example, preprocessing, compute, opened, dtype)
        self._store = found.store
        if not self._store.path.is_dir():  # else it was checked by whoever stored what is there
            check_rows_alone(outputs, example, compute)
        self._streaming = Streaming(found.prefix, self._store, compute, Warner())
        self._prefix, self._compute, self._given, self._gave = found.prefix, compute, found.given, found.gave
        self.lock = threading.Lock()

    def __call__(self, inputs: Inputs) -> Tensor:
        """Return the outputs for some rows, `(rows, columns)`, on the CPU."""
        with self.lock, self._store.hold():
            rows = filled(self._streaming, self._store, inputs, torch.device("cpu"))
            return rows.gather(torch.arange(len(inputs)))[0]

    def still_holds(self, inputs: Inputs, rows: int) -> bool:
        """Return whether the model gives for a few rows what is stored, and else for its first rows what it gave.

        The few are random ones of those that are stored; there may be none. The first rows tell more where what is
        stored is rounded. All go through the model in one pass.
        """
        is_exact, seen = self._store.stored == self._store.frontier, list[tuple[Tensor, ...]]()
        known = 0 if is_exact else len(self._given)

        def compute(positions: np.ndarray) -> tuple[Tensor, ...]:
            few = moved(inputs.gather(torch.from_numpy(positions))[0], self._compute)
            found = run_frozen(self._prefix, (torch.cat([self._given[:known], few]),), self._compute)
            seen.append(tuple([tensor[:known] for tensor in found]))
            return tuple([tensor[known:] for tensor in found])

        with self.lock, self._store.hold():
            if self._store.quarantined or row_difference(self._store, inputs.digests(), compute, rows):
                return False
            if is_exact and seen:
                return True
            first = seen[0] if seen else run_frozen(self._prefix, (self._given,), self._compute)
            return difference(self._store.frontier, self._gave, first) is None


@dataclass(frozen=True)
class Prefix:
    """Outputs of layers as a prefix of which nothing is left over, and its cache.

    Attributes:
        prefix: the outputs.
        store: their cache.
        given: the first few rows, on the device.
        gave: the outputs for these when the cache was opened, on the CPU.
    """

    prefix: fx.GraphModule
    store: PrefixCache
    given: Tensor
    gave: tuple[Tensor, ...]


def find_prefix(
    outputs: nn.Module,
    example: Tensor,
    preprocessing: Preprocessing,
    compute: Compute,
    opened: ActivationCache,
    dtype: str | None,
) -> Prefix:
    """Return outputs of layers as a prefix, and where they are kept; see `find_prefixes`."""
    return find_prefixes([outputs], None, example, preprocessing, compute, opened, dtype)[0]


def find_prefixes(
    layers: Sequence[nn.Module],
    each: Callable[[Tensor], Sequence[Tensor]] | None,
    example: Tensor,
    preprocessing: Preprocessing,
    compute: Compute,
    opened: ActivationCache,
    dtype: str | None,
) -> list[Prefix]:
    """Return outputs of several layers of one network, each as a prefix, and where they are kept.

    Args:
        layers: what gives them of rows, each `(rows, columns)`, on its device; they are frozen.
        each: gives all of them of a few rows, in one pass; None: they are run one by one.
        example: a few rows, on the device.
        preprocessing: of all rows.
        compute: where and in which types.
        opened: the cache.
        dtype: in which type they are stored; None: as computed.
    """
    freeze(Ended(nn.ModuleList(layers)), "outputs")
    graphs, given = [graph_of(layer.eval()) for layer in layers], example[:FEW].clone()
    gave = [run_frozen(graph, (given,), compute)[0] for graph in graphs] if each is None else each(given)
    blocks = Blocks(map(network_within, layers))  # described once: nothing runs from here on until all have their keys
    found = []
    for layer, graph, output in zip(layers, graphs, gave, strict=True):
        frontier = (FrontierTensor("outputs", tuple(output.shape[1:]), output.dtype),)
        about = {"model": type(layer.model if isinstance(layer, LayerOutputs) else layer).__name__, "data": "rows"}
        caches = PrefixCaches(opened, preprocessing.to_dict(), compute, about)
        prints = caches.print_of(graph, frontier, dtype, blocks)
        found.append(Prefix(graph, caches.with_print(prints, frontier, dtype), given, (output.cpu(),)))
    return found


def network_within(outputs: nn.Module) -> nn.Module:
    """Return the network inside of modules of ours that only choose among its outputs."""
    inside = list(outputs.children())
    is_ours = type(outputs).__module__.partition(".")[0] == OURS
    return network_within(inside[0]) if is_ours and len(inside) == 1 else outputs


def filled(streaming: Streaming, store: PrefixCache, inputs: Inputs, device: torch.device) -> Rows:
    """Return what frozen layers give for rows in memory, of which only those are prepared that the cache lacks.

    Args:
        streaming: computes what is missing.
        store: the cache.
        inputs: the rows, known by what they were before they were prepared.
        device: where they are used.
    """
    keys = inputs.digests()

    def fill() -> Streamed:
        lacking = streaming.missing(keys)
        if not streaming.is_checked:
            lacking = np.union1d(lacking, np.arange(min(CHECKED_ROWS, len(keys))))
        return streaming.fill(chunks_of(inputs, lacking))

    if fill().kept is None:
        return store.activations(keys, device=device, mend=fill)
    kept = streaming.fill(chunks_of(inputs, np.arange(len(keys)))).kept  # the cache is set aside, and may hold no row
    assert kept is not None
    return Resident(*[tensor.to(device) for tensor in kept])


class Ended(nn.Module):
    """Outputs of layers with something behind them that trains, without which there would be nothing to cut from."""

    def __init__(self, outputs: nn.Module) -> None:
        super().__init__()
        self.outputs, self.scale = outputs, nn.Parameter(torch.ones(()))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs, scaled."""
        outputs: Tensor = self.outputs(inputs)
        return outputs * self.scale


def check_rows_alone(outputs: nn.Module, example: Tensor, compute: Compute) -> None:
    """Raise unless what frozen layers give for a row depends on that row alone, each time they are called.

    Args:
        outputs: gives it.
        example: a few rows, on the device.
        compute: where and in which types.

    Raises:
        CutError: it depends on more; the message says on what.
    """
    whole = Ended(outputs)
    freeze(whole, "outputs")
    cut_on(whole, lambda: example, one_tensor(tuple(example.shape[1:]), example.dtype), compute)


def graph_of(outputs: nn.Module) -> fx.GraphModule:
    """Return the outputs as a prefix of which nothing is left over: a cache knows it by all that it computes."""
    holder, graph = nn.Module(), fx.Graph()
    holder.add_module("outputs", outputs)
    graph.output((graph.call_module("outputs", (graph.placeholder("inputs"),)),))
    return fx.GraphModule(holder, graph)


@torch.no_grad()
def compute_outputs(outputs: nn.Module, inputs: Inputs, compute: Compute) -> Tensor:
    """Return the outputs for some rows without any cache, `(rows, columns)`, on the CPU."""
    batches = torch.arange(len(inputs)).split(rows_at_once(inputs, compute))  # type: ignore[no-untyped-call]
    return torch.cat([outputs(moved(inputs.gather(some)[0], compute)).cpu() for some in batches])


def chunks_of(inputs: Inputs, positions: np.ndarray) -> Iterator[Chunk]:
    """Yield the rows at some positions, prepared, a chunk at a time."""
    keys = inputs.digests()
    for some in torch.from_numpy(positions).split(CHUNK_ROWS) if len(positions) else ():  # type: ignore[no-untyped-call]
        yield Chunk(SampleInputs(inputs.gather(some), keys[some.numpy()]), [None] * len(some))
