"""What layers prepare on their first call: tables, flags of warnings that were given, properties that are kept.

A model that was used has them, and a fresh one has not, though both compute the same.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Generator, Tensor, fx

from reuse.devices import Compute, moved_each
from reuse.fingerprinting.environment import is_users
from reuse.layers.parts import Cut
from reuse.layers.preserving import unchanged_state
from reuse.layout import Layout, RowTensor
from reuse.precision import autocast

LAYOUT = "layout"  # under which a prefix notes what a row of its inputs is
SEED = 20250707  # of the numbers that stand for a row

Draw = Callable[[tuple[int, ...], Generator], Tensor]
DRAWN: tuple[Draw, ...] = (
    lambda shape, generator: torch.rand(shape, generator=generator),
    lambda shape, generator: torch.randn(shape, generator=generator),
    lambda shape, _: torch.zeros(shape),
)


def note_layout(parts: Cut, layout: Layout) -> None:
    """Have the prefixes of a cut know what a row of their inputs is."""
    for prefix in (parts.prefix, *(earlier.prefix for earlier in parts.earlier)):
        prefix.meta[LAYOUT] = layout


@contextmanager
def prepared(prefix: fx.GraphModule, compute: Compute) -> Iterator[None]:
    """Let layers of the user's own have inside the block what they prepare on a call; it is put back.

    Rows are made up for them. Layers that take none of these have nothing prepared, nor a part of it.

    Args:
        prefix: frozen layers; of those that do not know what a row is, nothing is prepared.
        compute: where they are, and in which types they compute.
    """
    layout: Layout | None = prefix.meta.get(LAYOUT)
    if layout is None or not any(is_users(type(module).__module__) for module in prefix.modules()):
        yield
        return
    with ExitStack() as kept:
        for draw in DRAWN:
            kept.enter_context(unchanged_state(prefix))
            if _takes(prefix, _row(layout, draw, compute), compute):
                break
            kept.close()
        yield


def _takes(prefix: fx.GraphModule, row: tuple[Tensor, ...], compute: Compute) -> bool:
    """Give frozen layers a row, in the precision of all rows, and return whether they take it."""
    try:
        with torch.no_grad(), warnings.catch_warnings(), autocast(compute.precision, compute.device):
            warnings.simplefilter("ignore")
            prefix(*row)
    except Exception:  # noqa: BLE001 - whatever a layer makes of such a row
        return False
    return True


def _row(layout: Layout, draw: Draw, compute: Compute) -> tuple[Tensor, ...]:
    """Return a row of numbers that are drawn; whole numbers are 0 or 1."""
    generator = Generator().manual_seed(SEED)

    def drawn(tensor: RowTensor) -> Tensor:
        numbers = draw((1, *tensor.shape), generator)
        return (numbers if tensor.dtype.is_floating_point else numbers.clamp(0, 1).round()).to(tensor.dtype)

    return moved_each(map(drawn, layout), compute)
