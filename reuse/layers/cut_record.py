"""A cut as plain values, so that a model whose cut was checked needs neither tracing nor checking again."""

from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn
from xxhash import xxh3_128_hexdigest

from reuse.devices import dtype_name
from reuse.layers.earlier import EarlierCut
from reuse.layers.frontier_tensor import FrontierTensor
from reuse.layers.graph_record import NoRecord, Record, graph_record, read_graph
from reuse.layers.parts import Cut
from reuse.layers.suffix import Suffix
from reuse.version import __version__


@cache
def cutting_version() -> str:
    """Return a digest of the code that cuts, and says what counts: another version may cut otherwise."""
    rooms = (Path(__file__).parents[1] / room for room in ("layers", "fingerprinting"))
    sources = sorted(source for room in rooms for source in room.glob("*.py"))
    return xxh3_128_hexdigest("".join([__version__, *(path.read_text(encoding="utf-8") for path in sources)]).encode())


def cut_record(parts: Cut) -> Record | None:
    """Return a cut as plain values; None where something in its graphs has no plain form."""
    model = parts.suffix.model
    try:
        return {
            "prefix": graph_record(parts.prefix, model),
            "suffix": [graph_record(graph, model) for graph in parts.suffix.graphs],
            "frontier": [_plain(tensor) for tensor in parts.frontier],
            "engine": parts.engine,
            "uncached": list(parts.uncached),
            "earlier": [_earlier_record(earlier, model) for earlier in parts.earlier],
        }
    except NoRecord:
        return None


def read_cut(record: Record, model: nn.Module) -> Cut | None:
    """Return the cut of a record on a model that is as it was; None where the record does not fit it."""
    try:
        training, evaluation = (read_graph(graph, model) for graph in record["suffix"])
        frontier = tuple(map(_tensor, record["frontier"]))
        return Cut(
            read_graph(record["prefix"], model),
            Suffix(model, training, evaluation, frontier),
            frontier,
            record["engine"],
            tuple(record["uncached"]),
            tuple(_read_earlier(earlier, model) for earlier in record["earlier"]),
        )
    except (NoRecord, AttributeError, KeyError, TypeError, ValueError, RuntimeError):
        return None


def _earlier_record(earlier: EarlierCut, model: nn.Module) -> Record:
    return {
        "frontier": [_plain(tensor) for tensor in earlier.frontier],
        "signatures": sorted(earlier.signatures),
        "behind": list(earlier.behind),
        "prefix": graph_record(earlier.prefix, model),
        "bridge": graph_record(earlier.bridge, model),
    }


def _read_earlier(record: Record, model: nn.Module) -> EarlierCut:
    return EarlierCut(
        tuple(map(_tensor, record["frontier"])),
        frozenset(record["signatures"]),
        tuple(record["behind"]),
        read_graph(record["prefix"], model),
        read_graph(record["bridge"], model),
    )


def _plain(tensor: FrontierTensor) -> list[Any]:
    return [tensor.name, list(tensor.shape), dtype_name(tensor.dtype)]


def _tensor(plain: list[Any]) -> FrontierTensor:
    name, shape, kind = plain
    return FrontierTensor(name, tuple(shape), getattr(torch, kind))
