"""The outputs of several layers for rows in memory, each layer cached by itself: one pass computes what any lacks."""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from reuse.caching.cache import ActivationCache
from reuse.data.inputs import Inputs
from reuse.data.preprocessing import Preprocessing
from reuse.devices import Compute, moved
from reuse.features.cutting import SAMPLE_ROWS
from reuse.features.extracting import CHUNK_ROWS, Prefix, check_rows_alone, find_prefix, graph_of
from reuse.features.filling import rows_at_once
from reuse.features.opening import Opening
from reuse.features.running import run_frozen
from reuse.nn.tapped import Tapped
from reuse.reporting import Reporter


class LayerFeatures:
    """What chosen layers give for rows, `(rows, columns)` each, from the cache as far as it has them.

    A layer is known by itself, so that one layer more costs one pass for it and nothing for the others.

    Args:
        tapped: the network, measured, on its device; it is frozen.
        widths: columns of what each layer gives, the features last.
        inputs: rows, prepared for the network, for checks.
        preprocessing: of these and all other rows.
        compute: where and in which types.
        opened: the cache; None: there is none.
        reporter: told of what is set aside.

    Attributes:
        computed: of how many rows each layer was computed so far, by its place.

    Raises:
        CutError: what the network gives for a row depends on more than the row; the message says on what.
    """

    def __init__(
        self,
        tapped: Tapped,
        widths: Sequence[int],
        inputs: Inputs,
        preprocessing: Preprocessing,
        compute: Compute,
        opened: ActivationCache | None,
        reporter: Reporter,
    ) -> None:
        self._tapped, self._widths, self._compute = tapped, widths, compute
        self.places = [place for place in range(len(tapped.names) + 1) if place not in tapped.repeats]
        self.computed = dict.fromkeys(self.places, 0)
        self._taps: dict[int, Prefix] = {}
        if opened is None:
            return
        example = moved(inputs.gather(torch.arange(min(SAMPLE_ROWS, len(inputs))))[0], compute)
        taps = {
            place: find_prefix(SomeTaps(tapped, [place]), example, preprocessing, compute, opened, None)
            for place in self.places
        }
        if not all(tap.store.path.is_dir() for tap in taps.values()):  # else all were checked by whoever stored them
            check_rows_alone(SomeTaps(tapped, self.places), example, compute)
        opening = Opening(inputs, compute, reporter)
        self._probe = opening.probe
        self._taps = {place: tap for place, tap in taps.items() if opening.may_serve(tap.prefix, tap.store)}

    def __call__(self, inputs: Inputs) -> dict[int, Tensor]:
        """Return what each layer gives for some rows, by its place, on the CPU."""
        plain = [place for place in self.places if place not in self._taps]
        found = self._compute_rows(inputs, np.arange(len(inputs)), plain) if plain else {}
        with ExitStack() as stack:
            for tap in self._taps.values():
                stack.enter_context(tap.store.hold())
            self._fill(inputs)
            for place, tap in self._taps.items():
                rows = tap.store.activations(inputs.digests(), mend=partial(self._fill, inputs))
                (found[place],) = rows.gather(torch.arange(len(inputs)))
        return {place: found[place] for place in self.places}

    def _fill(self, inputs: Inputs) -> None:
        """Compute the rows that any layer lacks, once for all that lack some of them, and store them."""
        keys, missing = inputs.digests(), np.zeros((len(self._taps), len(inputs)), dtype=bool)
        for number, tap in enumerate(self._taps.values()):
            missing[number, tap.store.missing(keys)] = True
        lacking = np.flatnonzero(missing.any(0))
        for some in np.split(lacking, range(CHUNK_ROWS, len(lacking), CHUNK_ROWS)) if len(lacking) else ():
            wanting = [place for number, place in enumerate(self._taps) if missing[number, some].any()]
            values = self._compute_rows(inputs, some, wanting)
            for place in wanting:
                tap = self._taps[place]
                probe, rows = partial(self._probe, tap.prefix), partial(_rows_of, values[place])
                tap.store.fill(keys[some], rows, compute_rows=CHUNK_ROWS, probe=probe)

    def _compute_rows(self, inputs: Inputs, positions: np.ndarray, places: Sequence[int]) -> dict[int, Tensor]:
        """Return what some layers give for some rows, in one pass."""
        prefix, parts = graph_of(SomeTaps(self._tapped, places)), []
        for some in torch.from_numpy(positions).split(rows_at_once(inputs, self._compute)):  # type: ignore[no-untyped-call]
            (joined,) = run_frozen(prefix, (moved(inputs.gather(some)[0], self._compute),), self._compute)
            parts.append(joined.cpu())
        for place in places:
            self.computed[place] += len(positions)
        widths = [self._widths[place] for place in places]
        return dict(zip(places, torch.split(torch.cat(parts), widths, dim=1), strict=True))


class SomeTaps(nn.Module):
    """What some of the layers of a tapped network give, side by side, `(rows, columns)`.

    Args:
        tapped: the network; its own list of layers stays as it is.
        places: of the layers in it, one more than there are for the features.
    """

    def __init__(self, tapped: Tapped, places: Sequence[int]) -> None:
        super().__init__()
        names = [tapped.names[place] for place in places if place < len(tapped.names)]
        self.tapped, self.count = tapped.only(names), len(places)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return their outputs."""
        return torch.cat([values.flatten(1) for values in self.tapped(inputs)[: self.count]], dim=1)


def _rows_of(values: Tensor, positions: np.ndarray) -> tuple[Tensor, ...]:
    return (values[torch.from_numpy(positions)],)
