"""The table of probes of layers: how well each tells classes apart, and all together."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from reuse.features.layer_taps import LayerTap
from reuse.heads.layer_probing import LinearProbe, probe_layer, probe_together
from reuse.intervals import wilson_interval
from reuse.nn.sides import LinearBeside
from reuse.nn.tapped import FEATURES
from reuse.searching.layer_stage import LayerSweep

TOGETHER = "all together"


@dataclass(frozen=True)
class Probed:
    """One row of the table.

    Attributes:
        layer: its name, or that of all together.
        columns: where it stands among the columns of all layers.
        probe: what was solved for, as these columns take it.
        tested: how many test rows it gets right, of how many.
        validated: how many rows chose it.
    """

    layer: str
    columns: slice
    probe: LinearProbe
    tested: tuple[int, int]
    validated: int

    @property
    def tests(self) -> dict[str, dict[str, float]]:
        """The accuracy on the test rows, with its standard error; empty where there are none."""
        correct, rows = self.tested
        if not rows:
            return {}
        share = correct / rows
        return {"accuracy": {"mean": share, "standard_error": math.sqrt(share * (1 - share) / rows)}}

    def to_dict(self) -> dict[str, Any]:
        """Return the row: accuracies on the validation and on the test rows, each with half its 95 % interval."""
        probe, (correct, rows) = self.probe, self.tested
        right = round(probe.accuracy * self.validated)
        tested = {"test_accuracy": correct / rows, "test_interval": _half(correct, rows)} if rows else {}
        return {
            "layer": self.layer,
            "width": self.columns.stop - self.columns.start,
            "kept": probe.kept,
            "penalty": probe.penalty,
            "accuracy": probe.accuracy,
            "interval": _half(right, self.validated),
            **tested,
        }


def probe_layers(begun: LayerSweep) -> list[Probed]:
    """Return a row for each layer, the lowest first, and one for all together."""
    validated = sum(int(valid.sum()) for _, valid in begun.rows.divisions)
    start, table = 0, []
    for number, (tap, features) in enumerate(zip(begun.taps, begun.pool, strict=True)):
        columns, test = slice(start, start + features.shape[1]), begun.test[number] if begun.test else None
        table.append(
            _tested(_name(tap, begun.whole), columns, probe_layer(features, begun.rows), test, begun, validated)
        )
        start = columns.stop
    probe, test = probe_together(torch.cat(begun.pool, dim=1), begun.rows), None
    if begun.test:
        test = torch.cat(begun.test, dim=1)
    return [*table, _tested(TOGETHER, slice(0, start), probe, test, begun, validated)]


def _tested(
    name: str, columns: slice, probe: LinearProbe, test: Tensor | None, begun: LayerSweep, validated: int
) -> Probed:
    targets = begun.data.test.targets
    if test is None or targets is None:
        return Probed(name, columns, probe, (0, 0), validated)
    return Probed(name, columns, probe, (probe.correct(test, targets), len(test)), validated)


def _name(tap: LayerTap, whole: LinearBeside) -> str:
    """Return what a layer is called; one that gives the very features is called by its own name."""
    same = [whole.backbone.names[place] for place in sorted(whole.backbone.repeats)]
    return tap.name or (same[-1] if same else FEATURES)


def _half(correct: int, rows: int) -> float:
    low, high = wilson_interval(correct, rows)
    return (high - low) / 2
