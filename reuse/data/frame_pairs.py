"""Data frames with targets beside them: `(x, y)`, or `x_train`, `y_train`, … as in a dict of arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from reuse.data.frames import as_frame, is_frame
from reuse.data.raw import NO_TARGET, Options, RawData
from reuse.data.table_files import source_of_table
from reuse.data.table_libraries import pd
from reuse.errors import DataError, UsageError
from reuse.units import format_count

FRAME = "the data frame"


def read_frames(pairs: Mapping[str, tuple[Any, Any]], parts: Mapping[str, np.ndarray], options: Options) -> RawData:
    """Return data frames as one data set; columns go by name.

    Args:
        pairs: features and targets, or None, by split; one pair of any name where there are no splits.
        parts: rows by split; empty where they are to be drawn.
        options: no `target`, which is what stands beside the features.

    Raises:
        UsageError: a target is named.
        DataError: other columns in different splits, or targets of another length.
    """
    if options.target not in (None, NO_TARGET):
        raise UsageError(
            f"target={options.target!r} names a column, and targets are given beside {FRAME}: leave it out"
        )
    for x, y in pairs.values():
        _refuse_other_order(x, y)
    frames = [as_frame(x, FRAME) for x, _ in pairs.values()]
    first, *others = frames
    for split, frame in zip(list(pairs)[1:], others, strict=True):
        if set(frame.columns) != set(first.columns):
            differ = sorted(set(frame.columns) ^ set(first.columns))
            raise DataError(f"{FRAME} {split} has other columns than the first: {', '.join(differ[:5])}")
    joined = pd.concat([frame[list(first.columns)] for frame in frames], ignore_index=True)
    targets = [y for _, y in pairs.values() if y is not None]
    if not targets or options.without_targets or options.target == NO_TARGET:
        source = source_of_table(joined, FRAME, replace(options, target=NO_TARGET, without_targets=True))
        return replace(source, parts=parts)
    beside = pd.concat([_as_columns(y) for y in targets], ignore_index=True)
    if len(beside) != len(joined):
        raise DataError(
            f"{FRAME} has {format_count(len(joined), 'row')} and {format_count(len(beside), 'target')}: give "
            "one target a row"
        )
    joined, beside, notes = _told_apart(joined, beside)
    named = replace(options, target=",".join(beside.columns))
    return replace(source_of_table(pd.concat([joined, beside], axis=1), FRAME, named, notes=notes), parts=parts)


def _refuse_other_order(features: Any, targets: Any) -> None:
    """Raise where pandas would say that targets are the rows' in another order: they are taken by place."""
    if not (isinstance(features, pd.DataFrame) and isinstance(targets, pd.DataFrame | pd.Series)):
        return
    ours, theirs = features.index, targets.index
    if len(ours) != len(theirs) or ours.equals(theirs) or not (ours.is_unique and theirs.is_unique):
        return
    if ours.isin(theirs).all():
        raise DataError(
            f"{FRAME} and its targets have the same index in another order, and rows go by their place: "
            "give y.loc[x.index], or y.to_numpy() where they are in order"
        )


def _as_columns(targets: Any) -> pd.DataFrame:
    if is_frame(targets):
        return as_frame(targets, "y")
    if hasattr(targets, "to_pandas"):
        targets = targets.to_pandas()
    if isinstance(targets, pd.Series):
        return targets.to_frame("target" if targets.name is None else str(targets.name)).reset_index(drop=True)
    array = np.asarray(targets)
    if array.ndim == 1 or array.shape[1] == 1:
        return pd.DataFrame({"target": array.reshape(len(array))})
    return pd.DataFrame(array, columns=[f"target {place}" for place in range(array.shape[1])])


def _told_apart(features: pd.DataFrame, targets: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, tuple[str, ...]]:
    """Return both without a name in common: a column that is the target is no feature, another keeps its name."""
    notes = []
    for name in targets.columns.intersection(features.columns):
        if features[name].equals(targets[name]):
            features = features.drop(columns=name)
            notes.append(f"column {name!r} is the target too: it is no feature")
        else:
            targets = targets.rename(columns={name: f"{name} (target)"})
    return features, targets, tuple(notes)
