"""What layers prepare on their first call: tables, flags of warnings that were given, properties that are kept.

A model that was used has them, and a fresh one has not, though both compute the same.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch
from torch import Tensor, fx

from reuse.fingerprinting.environment import is_users
from reuse.layers.parts import Cut
from reuse.layers.preserving import unchanged_state
from reuse.layout import Layout, RowTensor

LAYOUT = "layout"  # under which a prefix notes what a row of its inputs is
SEED = 20250707  # of the numbers that stand for a row


def note_layout(parts: Cut, layout: Layout) -> None:
    """Have the prefixes of a cut know what a row of their inputs is."""
    for prefix in (parts.prefix, *(earlier.prefix for earlier in parts.earlier)):
        prefix.meta[LAYOUT] = layout


@contextmanager
def prepared(prefix: fx.GraphModule, device: torch.device) -> Iterator[None]:
    """Let layers of the user's own have inside the block what they prepare on a call; it is put back.

    Args:
        prefix: frozen layers; of those that do not know what a row is, nothing is prepared.
        device: where they are.
    """
    layout: Layout | None = prefix.meta.get(LAYOUT)
    if layout is None or not any(is_users(type(module).__module__) for module in prefix.modules()):
        yield
        return
    with unchanged_state(prefix):
        generator = torch.Generator().manual_seed(SEED)
        row = [_row(tensor, generator).to(device) for tensor in layout]
        with suppress(Exception), torch.no_grad(), warnings.catch_warnings():  # whatever a layer makes of such a row
            warnings.simplefilter("ignore")
            prefix(*row)
        yield


def _row(tensor: RowTensor, generator: torch.Generator) -> Tensor:
    """Return one row: random numbers from 0 to 1, and whole numbers that are 0 or 1."""
    numbers = torch.rand((1, *tensor.shape), generator=generator)
    return (numbers if tensor.dtype.is_floating_point else numbers.round()).to(tensor.dtype)
