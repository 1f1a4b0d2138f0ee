"""The gradients of each layer from epoch to epoch, where a training was watched."""

from collections.abc import Sequence

from reuse.reports.lines import ChartLine, Moment, line_chart
from reuse.reports.markup import Html
from reuse.reports.record import RunRecord
from reuse.reports.spacing import spread

MOST_LAYERS = 6


def is_watched(record: RunRecord) -> bool:
    """Return whether the layers were looked at."""
    return any(line.get("layers") for line in record.history)


def gradient_chart(record: RunRecord, moments: Sequence[Moment]) -> Html | None:
    """Return the Euclidean norms of the layers' gradients; None where they were not recorded."""
    curves = [_curve(record, name) for name in _layers(record)]
    if not curves:
        return None
    shown = [curves[place] for place in spread(len(curves), MOST_LAYERS)]
    coloured = [ChartLine(curve.name, curve.points, look) for look, curve in enumerate(shown)]
    some = "" if len(shown) == len(curves) else f", {len(shown)} of {len(curves)} layers"
    return line_chart(f"gradient norms{some}", coloured, moments=moments, may_be_logarithmic=True)


def _layers(record: RunRecord) -> list[str]:
    watched = [figures for line in record.history for figures in line.get("layers", {}).items()]
    return list(dict.fromkeys(name for name, seen in watched if "gradient" in seen))


def _curve(record: RunRecord, layer: str) -> ChartLine:
    found = [(line["epoch"], line.get("layers", {}).get(layer, {}).get("gradient")) for line in record.history]
    return ChartLine(layer, tuple((epoch, norm) for epoch, norm in found if norm is not None))
