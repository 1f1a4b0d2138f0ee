"""The worst mistakes: the rows that lose most, as pictures, texts or rows of a table."""

import base64
import io
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from reuse.augmenting.pixels import Pixels
from reuse.data.preprocessing import Preprocessing
from reuse.layout import is_several
from reuse.reports.markup import Html, joined, note, table, tag
from reuse.reports.outcome import Outcome
from reuse.reports.scores import row_losses
from reuse.reports.subject import Section, Subject, empty_section
from reuse.runs.models import LIKELY
from reuse.units import in_digits

SHOWN = 24
LARGEST = 96  # pixels of a side
MOST_COLUMNS, MOST_WORDS = 30, 60
RGB = 3


def mistakes_section(subject: Subject) -> Section:
    """Return the rows that a run is worst at."""
    outcome, title = subject.outcome, "Worst mistakes"
    if outcome is None:
        return empty_section(title, subject.no_outcome)
    places = worst_places(outcome)
    if not len(places):
        return Section(title, note(f"All {len(outcome.numbers):,} rows are right."))
    preprocessing = subject.record.manifest.preprocessing
    assert preprocessing is not None
    if preprocessing.kind == "images" and not is_several(outcome.inputs.layout):
        return Section(title, joined([_pictures(outcome, places, preprocessing), note(_told(outcome, places))]))
    return Section(title, joined([_rows(outcome, places, preprocessing), note(_told(outcome, places))]))


def worst_places(outcome: Outcome) -> np.ndarray:
    """Return the places of the wrong rows that lose most, the worst first; of numbers, those that are furthest off."""
    losses = row_losses(outcome)
    order = np.argsort(-losses, kind="stable")
    return (order if outcome.task == "regression" else order[~outcome.right[order]])[:SHOWN]


def png(pixels: Tensor) -> str:
    """Return a picture as a `data:` address.

    Args:
        pixels: from 0 to 1, `(channels, height, width)`; channels other than three are shown as their mean.
    """
    from PIL import Image

    shown = pixels if len(pixels) == RGB else pixels.mean(0, keepdim=True)
    array = (shown.clamp(0, 1) * 255).round().to(torch.uint8).movedim(0, -1).cpu().numpy()
    image = Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)
    image.thumbnail((LARGEST, LARGEST))
    buffer = io.BytesIO()
    image.save(buffer, "png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _told(outcome: Outcome, places: np.ndarray) -> str:
    if outcome.task == "regression":
        return f"The {len(places)} rows that are furthest off, the worst first."
    wrong, held = int((~outcome.right).sum()), "labels were" if outcome.task == "multilabel" else "class was"
    if len(places) == wrong:
        return f"All rows that are wrong, {wrong:,}, the worst first."
    return f"The {len(places)} of {wrong:,} wrong rows whose true {held} held least likely, the worst first."


def _pictures(outcome: Outcome, places: np.ndarray, preprocessing: Preprocessing) -> Html:
    images = outcome.inputs.gather(torch.from_numpy(places))[0].float()
    pixels = Pixels.of(outcome.inputs.shape, preprocessing).restored(images)
    shown = [_picture(outcome, place, picture) for place, picture in zip(places.tolist(), pixels, strict=True)]
    return tag("ul", *shown, class_="pictures")


def _picture(outcome: Outcome, place: int, pixels: Tensor) -> Html:
    true, predicted = _true(outcome, place), _predicted(outcome, place)
    name = outcome.names[place]
    small = max(pixels.shape[1:]) < LARGEST
    image = tag(
        "img",
        src=png(pixels),
        alt=f"{name}: {true}, taken for {predicted}",
        title=name,
        class_="coarse" if small else None,
    )
    return tag("li", image, tag("span", tag("b", true), " as ", predicted, tag("small", name)))


def _rows(outcome: Outcome, places: np.ndarray, preprocessing: Preprocessing) -> Html:
    contents = row_contents(outcome, places, preprocessing)
    columns = list(dict.fromkeys(name for content in contents for name in content))
    shown = columns[:MOST_COLUMNS]
    rows = [
        [outcome.names[place], _true(outcome, place), _predicted(outcome, place), *map(content.get, shown)]
        for place, content in zip(places.tolist(), contents, strict=True)
    ]
    whole = table(["row", "true", "predicted", *shown], rows, caption="Worst mistakes", class_="numbers words")
    more = note(f"The first {len(shown)} of {len(columns)} columns.") if len(shown) < len(columns) else None
    return joined([whole, more])


def row_contents(outcome: Outcome, places: np.ndarray, preprocessing: Preprocessing) -> list[dict[str, str]]:
    """Return what chosen rows hold, by column, as the model was given it; empty where it cannot be put in words."""
    if is_several(outcome.inputs.layout):
        return [{} for _ in places]
    rows = outcome.inputs.gather(torch.from_numpy(places))[0]
    if preprocessing.kind == "table":
        return [_table_row(row.double().numpy(), preprocessing) for row in rows]
    if preprocessing.kind == "vectors" and rows.ndim == 2:  # noqa: PLR2004, RUF100 - rows and columns
        return [_vector(row.double().numpy(), preprocessing) for row in rows]
    if preprocessing.token_names:
        return [{"text": _words(row.tolist(), preprocessing.token_names)} for row in rows]
    return [{} for _ in places]


def _table_row(row: np.ndarray, preprocessing: Preprocessing) -> dict[str, str]:
    """Return the values of a row of a table, put back from its inputs."""
    values, found, start = _unscaled(row, preprocessing), dict[str, str](), 0
    for column in preprocessing.columns:
        inputs = values[start : start + column.width]
        names = [*column.categories, "others"]
        found[column.name] = (
            in_digits(inputs[0]) if column.is_numeric else (names[int(inputs.argmax())] if inputs.any() else "–")
        )
        start += column.width
    return found


def _vector(row: np.ndarray, preprocessing: Preprocessing) -> dict[str, str]:
    """Return the values of a row of an array by their places from 1."""
    values = _unscaled(row, preprocessing) * preprocessing.divisor
    return {f"column {place}": in_digits(value) for place, value in enumerate(values.tolist(), 1)}


def _unscaled(row: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    return row * np.array(preprocessing.std) + np.array(preprocessing.mean) if preprocessing.mean else row


def _words(tokens: Sequence[int], names: Sequence[str]) -> str:
    words = [names[token] or "…" for token in tokens if token]
    return " ".join(words[:MOST_WORDS]) + (" …" if len(words) > MOST_WORDS else "")


def _true(outcome: Outcome, place: int) -> str:
    target = outcome.targets[place]
    if outcome.task == "classification":
        return outcome.classes[int(target)]
    if outcome.task == "multilabel":
        return _labels(outcome, target > 0)
    return ", ".join(map(in_digits, target.tolist()))


def _predicted(outcome: Outcome, place: int) -> str:
    values = outcome.values[place]
    if outcome.task == "classification":
        best = int(outcome.predicted[place])
        return f"{outcome.classes[best]} {values[best]:.0%}"
    if outcome.task == "multilabel":
        return _labels(outcome, values > LIKELY)
    return ", ".join(map(in_digits, values.tolist()))


def _labels(outcome: Outcome, has: np.ndarray) -> str:
    return ", ".join(name for name, is_there in zip(outcome.classes, has.tolist(), strict=True) if is_there) or "none"
