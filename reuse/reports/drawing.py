"""The model drawn: a box a layer, what is frozen, where the cut is, and what the cache has spared."""

import math
from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import nn

from reuse.errors import CutError, ReuseError
from reuse.layers.cutting import cut
from reuse.layers.describing import Layer, describe_layers
from reuse.layers.example import Given
from reuse.layers.freezing import freeze
from reuse.layers.parts import Cut
from reuse.layout import as_arguments, empty_rows
from reuse.reports.axes import picture
from reuse.reports.markup import Html, joined, note, tag
from reuse.reports.record import RunRecord
from reuse.reports.savings import describe_savings
from reuse.reports.standing import Standing, is_among, standing_of
from reuse.reports.subject import Section, Subject, empty_section
from reuse.units import format_bytes, format_count

MOST_LAYERS = 40
WIDTH, ROW, BARE_ROW, CUT_ROW, GAP = 360.0, 52.0, 38.0, 40.0, 10.0
MIDDLE, NARROWEST, WIDEST = 62.0, 34.0, 116.0
WORDS = 134.0  # where what is said of a layer begins
MOST_LETTERS = 40
EXAMPLE_ROWS = 2


def network_section(subject: Subject) -> Section:
    """Return the model as a drawing."""
    network, record = subject.network, subject.record
    if network is None:
        return empty_section("Model", subject.no_network)
    try:
        example = _example(subject)
        parts, uncut = _cut(network, example, record)
        layers = describe_layers(network, example, parts)
    except ReuseError as error:
        return empty_section("Model", str(error))
    shown = layers[:MOST_LAYERS]
    more = note(f"The first {MOST_LAYERS} of {len(layers)} layers.") if len(layers) > MOST_LAYERS else None
    lines = [note(line) for line in (*uncut, *describe_savings(record))]
    drawing = tag("div", _drawn(shown, parts, record), class_="figures")
    return Section("Model", joined([drawing, more, _key(), note(_counted(network, record)), *lines]))


def _counted(network: nn.Module, record: RunRecord) -> str:
    """Return how many parameters there are, and how many of them were frozen at first."""
    total = sum(parameter.numel() for parameter in network.parameters())
    frozen = record.phases[0].frozen if record.phases else ()
    resting = sum(p.numel() for name, p in network.named_parameters() if is_among(name, frozen))
    when = " at first" if len(record.phases) > 1 else ""
    return f"{total:,} parameters, {f'{resting:,}' if resting else 'none'} of which were frozen{when}."


def _example(subject: Subject) -> Given:
    """Return two rows for the model, where there are none zeros."""
    recipe, outcome = subject.record.manifest.model, subject.outcome
    assert subject.network is not None
    assert recipe is not None
    if outcome is not None:
        rows = outcome.inputs.gather(torch.arange(EXAMPLE_ROWS) % len(outcome.inputs))
    else:
        rows = empty_rows(recipe.layout, EXAMPLE_ROWS)
    like = next(subject.network.parameters(), torch.empty(0))
    placed = [row.to(like.device, like.dtype if row.is_floating_point() else row.dtype) for row in rows]
    return as_arguments(recipe.layout, placed)


def _cut(network: nn.Module, example: Given, record: RunRecord) -> tuple[Cut | None, list[str]]:
    """Return the cut below what trained first, or why there is none."""
    frozen = record.phases[0].frozen if record.phases else ()
    if not frozen or not record.phases[0].frontier:
        return None, []
    try:
        resting = deepcopy(network)
        freeze(resting, list(frozen))
        return cut(resting, example), []
    except (CutError, ReuseError) as error:
        return None, [f"The cut is not drawn: {error}."]


def _drawn(layers: Sequence[Layer], parts: Cut | None, record: RunRecord) -> Html:
    """Return the layers one below the other, and a line where the model is cut."""
    marks, top = list[Html](), 4.0
    largest = max((_size(layer) for layer in layers), default=0.0) or 1.0
    last = max((place for place, layer in enumerate(layers) if layer.part == "prefix"), default=None)
    for place, layer in enumerate(layers):
        standing = standing_of(layer.name, layer.parameters, record)
        marks.append(_box(layer, top, _size(layer) / largest, standing))
        top += ROW if standing.words else BARE_ROW
        if parts is not None and place == last:
            marks.append(_cut_line(parts, top, record))
            top += CUT_ROW
    return picture(
        *marks, name=f"The model: {format_count(len(layers), 'layer')}", width=WIDTH, height=top, class_="chart network"
    )


def _size(layer: Layer) -> float:
    """Return how large a layer's output is, as a logarithm; 0 where that is not known."""
    return math.log(1 + math.prod(layer.shape)) if layer.shape else 0.0


def _box(layer: Layer, top: float, size: float, standing: Standing) -> Html:
    """Return a layer: a box as wide as its output is large, and what is to be said of it."""
    width, height = NARROWEST + (WIDEST - NARROWEST) * size, (ROW if standing.words else BARE_ROW) - GAP
    left = MIDDLE - width / 2
    shape = "×".join(map(str, layer.shape)) if layer.shape else ""
    told = " · ".join(filter(None, [shape, f"{layer.parameters:,} parameters" if layer.parameters else ""]))
    kept = tag("rect", x=left, y=top, width=5, height=height, class_="kept") if standing.is_restored else None
    lines = [word for word in (standing.words, told) if word]
    return tag(
        "g",
        tag("title", f"{layer.name}, {layer.type}: {'; '.join(lines)}"),
        tag("rect", x=left, y=top, width=width, height=height, rx=2, class_=f"layer {standing.kind}"),
        kept,
        tag("text", _short(layer.name), tag("tspan", f" {layer.type}", class_="quiet"), x=WORDS, y=top + 11),
        *(tag("text", _short(line), x=WORDS, y=top + 11 + 14 * n, class_="quiet") for n, line in enumerate(lines, 1)),
    )


def _cut_line(parts: Cut, top: float, record: RunRecord) -> Html:
    names = ", ".join(tensor.name for tensor in parts.frontier)
    stored = (record.told("cache") or {}).get("bytes")
    size = f"{format_bytes(parts.bytes_per_sample)} a row" + (f", {format_bytes(stored)} cached" if stored else "")
    return tag(
        "g",
        tag("title", f"cut at {names}: {size}"),
        tag("line", x1=2, x2=WORDS - 10, y1=top + 12, y2=top + 12, class_="cut"),
        tag("text", _short(f"cut at {names}"), x=WORDS, y=top + 11, class_="strong"),
        tag("text", _short(size), x=WORDS, y=top + 25, class_="quiet"),
    )


def _key() -> Html:
    kinds = (
        ("layer frozen", "frozen"),
        ("layer trained", "trained"),
        ("layer mixed", "both, in turn or in part"),
        ("layer plain", "without parameters"),
        ("kept", "restored from a source"),
    )
    return tag("p", *(_key_entry(kind, words) for kind, words in kinds), class_="legend")


def _key_entry(kind: str, words: str) -> Html:
    box = tag("rect", x=1, y=0.5, width=5 if kind == "kept" else 18, height=9, class_=kind)
    return tag("span", tag("svg", box, viewBox="0 0 20 10", class_="swatch", aria_hidden="true"), words)


def _short(words: str) -> str:
    return words if len(words) <= MOST_LETTERS else f"{words[: MOST_LETTERS - 1]}…"
