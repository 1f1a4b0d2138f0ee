"""The model drawn: a box a layer, what is frozen, where the cut is, and what the cache has spared."""

import math
from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import nn

from reuse.errors import CutError, ReuseError
from reuse.layers.cutting import Cut, cut
from reuse.layers.describing import Layer, describe_layers
from reuse.layers.example import Given
from reuse.layers.freezing import freeze
from reuse.layout import as_arguments, empty_rows
from reuse.reports.axes import picture
from reuse.reports.markup import Html, joined, note, tag
from reuse.reports.record import RunRecord
from reuse.reports.savings import describe_savings
from reuse.reports.standing import Standing, standing_of
from reuse.reports.subject import Section, Subject, empty_section
from reuse.units import format_bytes

MOST_LAYERS = 40
WIDTH, ROW, BOX = 340.0, 40.0, 26.0
MIDDLE, NARROWEST, WIDEST = 70.0, 34.0, 130.0
WORDS = 150.0  # where what is said of a layer begins
MOST_LETTERS = 34
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
    parameters = f"{sum(p.numel() for p in network.parameters()):,} numbers are learned or restored in all."
    drawing = tag("div", _drawn(shown, parts, record), class_="figures")
    return Section("Model", joined([drawing, more, _key(), note(parameters), *lines]))


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
    marks, top = list[Html](), 6.0
    largest = max((_size(layer) for layer in layers), default=0.0) or 1.0
    last = max((place for place, layer in enumerate(layers) if layer.part == "prefix"), default=None)
    for place, layer in enumerate(layers):
        standing = standing_of(layer.name, layer.parameters, record)
        marks.append(_box(layer, top, _size(layer) / largest, standing))
        top += ROW
        if parts is not None and place == last:
            marks.append(_cut_line(parts, top - 6))
            top += 22.0
    return picture(*marks, name=f"The model: {len(layers)} layers", width=WIDTH, height=top, class_="chart network")


def _size(layer: Layer) -> float:
    """Return how large a layer's output is, as a logarithm; 0 where that is not known."""
    return math.log(1 + math.prod(layer.shape)) if layer.shape else 0.0


def _box(layer: Layer, top: float, size: float, standing: Standing) -> Html:
    width = NARROWEST + (WIDEST - NARROWEST) * size
    shape = "×".join(map(str, layer.shape)) if layer.shape else ""
    parameters = f"{layer.parameters:,}" if layer.parameters else ""
    told = [standing.words, shape and f"output {shape}", parameters and f"{parameters} parameters"]
    return tag(
        "g",
        tag("title", f"{layer.name}, {layer.type}: {'; '.join(filter(None, told))}"),
        tag("rect", x=MIDDLE - width / 2, y=top, width=width, height=BOX, rx=3, class_=f"layer {standing.kind}"),
        tag("text", _short(layer.name), tag("tspan", f" {layer.type}", class_="quiet"), x=WORDS, y=top + 11),
        tag("text", _short(" · ".join(filter(None, [standing.words, shape, parameters]))), x=WORDS, y=top + 24),
    )


def _cut_line(parts: Cut, top: float) -> Html:
    names = ", ".join(tensor.name for tensor in parts.frontier)
    words = f"cut: {names}, {format_bytes(parts.bytes_per_sample)} a row"
    return tag(
        "g",
        tag("title", words),
        tag("line", x1=2, x2=WORDS - 8, y1=top + 8, y2=top + 8, class_="cut"),
        tag("text", _short(words), x=WORDS, y=top + 12, class_="strong"),
    )


def _key() -> Html:
    kinds = (
        ("frozen", "frozen"),
        ("trained", "trained"),
        ("mixed", "both, in turn or in part"),
        ("plain", "without parameters"),
    )
    return tag("p", *(_key_entry(kind, words) for kind, words in kinds), class_="legend")


def _key_entry(kind: str, words: str) -> Html:
    box = tag("rect", x=1, y=1, width=18, height=8, rx=2, class_=f"layer {kind}")
    return tag("span", tag("svg", box, viewBox="0 0 20 10", class_="swatch", aria_hidden="true"), words)


def _short(words: str) -> str:
    return words if len(words) <= MOST_LETTERS else f"{words[: MOST_LETTERS - 1]}…"
