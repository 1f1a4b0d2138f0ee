"""The network that was opened last in this process, kept with its cache, as a search over heads opens it for each fit.

Its layers are what they were: nobody else has that copy. That they still compute what they did is seen by the rows
that they were opened with, and by a few random ones that are stored; if they do not (a patched function, another
kernel), all is opened and checked anew.
"""

import copy
import os
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch.nn.modules import module as of_all_modules

from reuse.data.inputs import Inputs
from reuse.data.preprocessing import Preprocessing
from reuse.devices import Compute
from reuse.features.extracting import Extraction, graph_of
from reuse.features.layer_outputs import LayerOutputs
from reuse.fingerprinting.environment import numerics
from reuse.fingerprinting.fingerprint import fingerprint
from reuse.fingerprinting.modules import GLOBAL_HOOKS

HELD_BYTES = 2**29  # of a network; a larger one would take its memory twice
COMPARED_ROWS = 2
FAMILY = (
    "timm:"  # whose specs say all that a network is made of: a run's folder or a module may be another the next time
)


@dataclass(frozen=True)
class OpenedNetwork:
    """A network that is opened.

    Attributes:
        made_of: all that it was made of.
        outputs: the network with the layers that are wanted.
        preprocessing: of rows.
        widths: columns of each layer.
        extraction: what it gives for rows, from the cache.
    """

    made_of: tuple[Any, ...]
    outputs: LayerOutputs
    preprocessing: Preprocessing
    widths: tuple[int, ...]
    extraction: Extraction


_lock = Lock()
_last: list[OpenedNetwork] = []


def made_of(parameters: Mapping[str, Any], rows: np.ndarray, compute: Compute) -> tuple[Any, ...] | None:
    """Return all that an estimator's network and its cache are made of, None where something may change by itself.

    Weights that timm downloads are taken to stay as they are while the process runs.

    Args:
        parameters: of the estimator.
        rows: that it is fitted on.
        compute: where and in which types.
    """
    source = parameters["source"]
    if not parameters["cache"] or parameters["model"] is not None or not str(source).startswith(FAMILY):
        return None
    hooks = [hook for kind in GLOBAL_HOOKS for hook in vars(of_all_modules)[kind].values()]
    place = (os.getcwd(), os.environ.get("REUSE_CACHE"))  # noqa: PTH109 - a text
    settings = tuple((name, repr(value)) for name, value in sorted(parameters.items()))
    drawn = torch.get_rng_state().numpy().tobytes()
    exactly = tuple(sorted(numerics(compute.device.type).items()))
    return settings, rows.shape[1:], rows.dtype, compute, place, drawn, exactly, tuple(map(id, hooks))


def held(made: tuple[Any, ...] | None) -> OpenedNetwork | None:
    """Return what is held and made of the same."""
    with _lock:
        return _last[0] if made is not None and _last and _last[0].made_of == made else None


def hold(opened: OpenedNetwork) -> bool:
    """Hold what was opened last in place of what was held, unless it is too large; return whether it is held."""
    size: int = sum(tensor.nbytes for tensor in opened.outputs.state_dict().values())
    fits = size <= HELD_BYTES
    with _lock:
        _last[:] = [opened] if fits else []
    return fits


def forget() -> None:
    """Hold nothing any more."""
    with _lock:
        _last.clear()


def copied(opened: OpenedNetwork) -> LayerOutputs:
    """Return a copy of a network, to be somebody's own."""
    with opened.extraction.lock:  # while a network runs, hooks that end its pass hang on it
        return copy.deepcopy(opened.outputs)


def still_holds(opened: OpenedNetwork, rows: Inputs) -> bool:
    """Return whether a network computes what it did when it was opened, and what is stored of a few of some rows."""
    return opened.extraction.still_holds(rows, COMPARED_ROWS)


def state_of(network: LayerOutputs, compute: Compute) -> str:
    """Return a key of all that a network computes by: weights, modes, attributes, hooks and code."""
    prefix = graph_of(network)
    return fingerprint(prefix, preprocessing={}, dtype=compute.dtype, device=compute.device, cache_format=0).key
