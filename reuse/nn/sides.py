"""What trains beside a network that is frozen as a whole, by name: `ladder`, `linear`."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from reuse.errors import UsageError
from reuse.layout import Layout, empty_rows, is_several
from reuse.menus import choose
from reuse.nn.hidden import initialize
from reuse.nn.ladder import LadderNetwork
from reuse.nn.tapped import Tapped, picks

BACKBONE = "backbone"
"""The name of the frozen network in the whole."""
EXAMPLE_ROWS = 2
HIDDEN = ("tap", "num_outputs")  # arguments that are not for users to give

Tap = Callable[[int], tuple[Tapped, list[tuple[int, ...]]]]
"""Function of the grid that returns the frozen network and the shapes of what it gives."""


class LinearBeside(nn.Module):
    """A linear layer that reads what all chosen layers of a frozen network give, and its features.

    Args:
        backbone: the frozen network, with the layers that are tapped.
        shapes: of what each layer gives for a row, and of the features last.
        num_outputs: units of the linear layer.

    Attributes:
        places: of the layers that it reads, those left out that give the very features.
        widths: columns of what each layer gives, the features last.

    Takes what the backbone takes, and returns `(rows, num_outputs)`.
    """

    def __init__(self, backbone: Tapped, shapes: Sequence[tuple[int, ...]], num_outputs: int) -> None:
        super().__init__()
        self.backbone, self.at = backbone, picks(backbone)
        self.places = [place for place in range(len(shapes)) if place not in backbone.repeats]
        self.widths = [math.prod(shape) for shape in shapes]
        self.output = nn.Linear(sum(self.widths[place] for place in self.places), num_outputs)
        initialize(self.output)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs for some rows."""
        tapped = self.backbone(inputs)
        found = [pick(tapped).flatten(1) for pick in self.at.values()]
        outputs: Tensor = self.output(torch.cat([found[place] for place in self.places], dim=1))
        return outputs


def _ladder(
    tap: Tap,
    num_outputs: int,
    reduction: float = 4.0,
    grid: int = 4,
    temperature: float = 0.1,
) -> nn.Module:
    return LadderNetwork(*tap(grid), num_outputs, reduction, temperature)


def _linear(tap: Tap, num_outputs: int, grid: int = 2) -> nn.Module:
    return LinearBeside(*tap(grid), num_outputs)


SIDES: dict[str, Callable[..., nn.Module]] = {"ladder": _ladder, "linear": _linear}
"""Side networks: `ladder:REDUCTION`, `ladder:reduction=4,grid=4,temperature=0.1`; `linear:GRID`."""


def check_side(side: str) -> None:
    """Raise a UsageError unless a text names a side network."""
    choose(SIDES, side, "side network", hidden=HIDDEN)


def stand_beside(
    network: nn.Module,
    side: str,
    layers: Sequence[str],
    layout: Layout,
    num_outputs: int,
    repeats: Sequence[str] | None = None,
) -> nn.Module:
    """Return a network with a side network: `backbone`, which is to be frozen, and what trains, `output` last.

    Args:
        network: with an output layer, which is taken away.
        side: a name of `SIDES`, with its arguments.
        layers: patterns of the layers that the side network takes in; none: the main ones.
        layout: of a row of inputs.
        num_outputs: units of the new output layer.
        repeats: the layers that give the very features; None: it is measured which do, with the weights as they are.

    Raises:
        UsageError, UnknownNameError: there is no such side network, or it cannot stand beside this one.
    """
    if is_several(layout):
        listed = ", ".join(map(str, layout))
        raise UsageError(f"a side network stands beside networks of one input, and there are {listed}: leave side out")

    def tap(grid: int) -> tuple[Tapped, list[tuple[int, ...]]]:
        tapped = Tapped(network, layers, grid)
        shapes = tapped.measure(_drawn(empty_rows(layout, EXAMPLE_ROWS, like)[0]))
        if repeats is not None:
            tapped.repeats = frozenset(map(tapped.names.index, repeats))
        return tapped, shapes

    like = next(network.parameters())
    made = choose(SIDES, side, "side network", hidden=HIDDEN)(tap, num_outputs)
    return made.to(like.device, like.dtype)


def _drawn(rows: Tensor) -> Tensor:
    """Return rows of numbers drawn at random, always the same; tokens as they are."""
    if not rows.is_floating_point():
        return rows
    drawn = torch.randn(rows.shape, generator=torch.Generator().manual_seed(0))
    return drawn.to(rows.device, rows.dtype)
