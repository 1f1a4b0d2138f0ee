"""A cut model: its two parts, and what is said of them."""

from dataclasses import dataclass

from torch import fx

from reuse.errors import CutError
from reuse.layers.earlier import EarlierCut
from reuse.layers.frontier_tensor import FrontierTensor
from reuse.layers.suffix import Suffix


@dataclass(frozen=True)
class Cut:
    """A model as two modules: `model(x)` equals `suffix(*prefix(x))`.

    Attributes:
        prefix: takes the model's inputs, returns a tuple of the frontier tensors, each `(batch, *shape)`.
        suffix: takes these tensors, returns what the model returns; training it trains the model.
        frontier: name, shape and type of each frontier tensor for one row.
        engine: `torch.fx` or `torch.export`, which wrote the model down as a graph, or `own forward`, where the model's
            forward runs behind the cut and its frozen layers give what is stored of them.
        uncached: frozen layers that the suffix computes: behind a layer that trains, inside a module that could not be
            traced, or because they were kept there.
        earlier: where else it could be cut, the deepest first.
    """

    prefix: fx.GraphModule
    suffix: Suffix
    frontier: tuple[FrontierTensor, ...]
    engine: str
    uncached: tuple[str, ...]
    earlier: tuple[EarlierCut, ...] = ()

    @property
    def bytes_per_sample(self) -> int:
        """Bytes of the frontier for one row."""
        return sum(tensor.row_bytes for tensor in self.frontier)


class NothingToCacheError(CutError):
    """Nothing constant in a graph that was seen through to its end: another engine would find no more.

    Attributes:
        whole: frozen modules of several layers that mix rows or draw random numbers: a part of them may not.
    """

    def __init__(self, why: str, whole: frozenset[str]) -> None:
        super().__init__(why)
        self.whole = whole
