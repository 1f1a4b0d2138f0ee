"""A map of the features: what the output layer is given of each row, on two axes, before and after training."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import nn

from reuse.errors import ReuseError
from reuse.layout import is_several
from reuse.nn.encoders import features
from reuse.nn.main_output import main_output
from reuse.reports.beginning import build_beginning
from reuse.reports.mapped_rows import ALIKE, MappedRows, find_mapped_rows
from reuse.reports.markup import Html, figure, figures, joined, note, tag
from reuse.reports.outcome import SPLIT_WORDS
from reuse.reports.points import Points, point_legend, point_map
from reuse.reports.subject import Section, Subject, empty_section

MOST_NAMED = 30  # classes in the legend
BATCH = 256


def map_section(subject: Subject) -> Section:
    """Return maps of the features before and after training."""
    title, network = "Features", subject.network
    if network is None:
        return empty_section(title, subject.no_network)
    recipe = subject.record.manifest.model
    if recipe is None or is_several(recipe.layout):
        return empty_section(title, "the model takes several inputs a row, and no map is drawn of these")
    try:
        rows = find_mapped_rows(subject)
        after = row_features(network, rows, predicts=subject.record.manifest.predicts)
    except ReuseError as error:
        return empty_section(title, str(error))
    before, why_not = _before(subject, rows)
    is_same = before is not None and np.array_equal(before, after)
    maps = [_map("before training", before, rows)] if before is not None and not is_same else []
    legend = point_legend(_groups(principal_axes(after)[0], rows)[:MOST_NAMED]) if rows.names != ALIKE else None
    lines = [note(line) for line in _told(subject, rows, after.shape[1], why_not, is_same)]
    return Section(title, joined([figures(*maps, _map("after training", after, rows)), legend, *lines]))


def _told(subject: Subject, rows: MappedRows, width: int, why_not: str, is_same: bool) -> Iterable[str]:
    """Yield what the maps show, and why there is but one."""
    what = "What the output layer is given" if subject.record.manifest.predicts else "The codings"
    where = f"{len(rows.places):,} {SPLIT_WORDS[rows.split]} rows, {width:,} numbers each"
    yield f"{what} of {where}, on their two principal axes; each map has its own."
    if is_same:
        yield "Before training they were the same: no layer below trained."
    if why_not:
        yield f"Features before training are not known: {why_not}."


def row_features(network: nn.Module, rows: MappedRows, *, predicts: bool) -> np.ndarray:
    """Return the features of some rows, float64 `(rows, features)`.

    Args:
        network: in evaluation mode.
        rows: that are drawn.
        predicts: whether the network has an output layer, whose input is meant; else its output is.
    """
    like = next(network.parameters(), torch.empty(0))
    parts = []
    with torch.inference_mode():
        for some in np.array_split(rows.places, max(1, -(-len(rows.places) // BATCH))):
            batch = rows.inputs.gather(torch.from_numpy(some))[0].to(like.device)
            batch = batch.to(like.dtype) if batch.is_floating_point() else batch
            found = features(network, batch) if predicts else main_output(network(batch))
            parts.append(found.flatten(1).double().cpu().numpy())
    return np.concatenate(parts)


def principal_axes(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return rows on their two principal axes, and the share of the variance along each.

    Args:
        values: `(rows, features)`.
    """
    from sklearn.decomposition import PCA

    wide = np.pad(values, ((0, 0), (0, max(0, 2 - values.shape[1]))))
    if len(wide) < 2:
        return np.zeros((len(wide), 2)), np.zeros(2)
    fitted = PCA(2, svd_solver="full")
    with np.errstate(invalid="ignore"):  # of features that do not vary
        places = fitted.fit_transform(wide)
    return places, np.nan_to_num(fitted.explained_variance_ratio_)


def _before(subject: Subject, rows: MappedRows) -> tuple[np.ndarray | None, str]:
    """Return the features before training, or why they are not known."""
    try:
        begun = build_beginning(subject.record, trust=subject.arguments.trust)
        assert subject.network is not None
        begun.to(next(subject.network.parameters(), torch.empty(0)).device)
        return row_features(begun, rows, predicts=subject.record.manifest.predicts), ""
    except ReuseError as error:
        return None, str(error)


def _map(title: str, values: np.ndarray, rows: MappedRows) -> Html:
    places, shares = principal_axes(values)
    said = f"{shares[0]:.0%} and {shares[1]:.0%} of the variance"
    caption = joined([tag("strong", title), tag("span", said, class_="quiet")])
    return figure(caption, point_map(_groups(places, rows), f"Features {title}"))


def _groups(places: np.ndarray, rows: MappedRows) -> list[Points]:
    found = []
    for number, name in enumerate(rows.names):
        own = np.flatnonzero(rows.groups == number)
        titles = tuple(f"{rows.titles[row]}: {name}" if name else rows.titles[row] for row in own)
        found.append(Points(name, tuple((float(x), float(y)) for x, y in places[own]), titles))
    return found
