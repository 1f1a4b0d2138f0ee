"""Plans that find frozen layers costly, so that small tests have something to cache."""

import pytest

from reuse.features import choosing
from reuse.layers.parts import Cut
from reuse.planning.options import Work


def find_frozen_layers_costly(patch: pytest.MonkeyPatch) -> None:
    """Have each plan find that frozen layers take a second a row: whatever can be cut is cached, on disk."""

    def measured(parts: Cut, *_: object) -> tuple[Work, dict[str, float]]:
        names = [node.name for node in parts.prefix.graph.nodes]
        return Work(frozen=1.0, suffix=0.001, whole=1.001, measured=0.001), dict.fromkeys(names, 1 / len(names))

    patch.setattr(choosing, "measure_work", measured)
