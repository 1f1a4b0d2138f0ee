"""The layers of a tapped network, each by itself and several in one pass, for whoever caches what they give."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from reuse.nn.tapped import Tapped


class LayerTap(nn.Module):
    """What one layer of a tapped network gives, `(rows, columns)`.

    Args:
        tapped: the network; its own list of layers stays as it is.
        place: of the layer in it, one more than there are for the features.
    """

    def __init__(self, tapped: Tapped, place: int) -> None:
        super().__init__()
        self.name = tapped.names[place] if place < len(tapped.names) else None
        self.tapped = tapped.only([] if self.name is None else [self.name])

    def forward(self, inputs: Tensor) -> Tensor:
        """Return its outputs."""
        outputs: Tensor = self.tapped(inputs)[0].flatten(1)
        return outputs


class TapsTogether(nn.Module):
    """What several layers of one tapped network give, in one pass.

    Args:
        layers: each a `LayerTap` of the network.
    """

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        taps = [layer for layer in layers if isinstance(layer, LayerTap)]
        self.names = [tap.name for tap in taps]
        self.tapped = taps[0].tapped.only([name for name in self.names if name is not None])

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs for some rows side by side, `(rows, columns)`."""
        return torch.cat(self.each(inputs), dim=1)

    def each(self, inputs: Tensor) -> list[Tensor]:
        """Return the outputs of each for some rows, `(rows, columns)`."""
        *layers, features = self.tapped(inputs)
        found: dict[str | None, Tensor] = {None: features, **dict(zip(self.tapped.names, layers, strict=True))}
        return [found[name].flatten(1) for name in self.names]


def taps_of(tapped: Tapped) -> list[LayerTap]:
    """Return the layers of a tapped network, and the features last; a layer that gives the very features is left out.

    Args:
        tapped: the network, measured.
    """
    places = [place for place in range(len(tapped.names) + 1) if place not in tapped.repeats]
    return [LayerTap(tapped, place) for place in places]
