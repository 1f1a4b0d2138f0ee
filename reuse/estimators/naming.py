"""Columns of data frames by name: a source run that learned from a table takes them in its own order."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reuse.data.frames import as_frame, is_frame
from reuse.data.letters import composed
from reuse.errors import DataError
from reuse.listing import some_of
from reuse.paths import from_home
from reuse.runs.folder import RunFolder, newest_run

LISTED = 5  # names in a message
NO_SOURCE = object()  # of an estimator that pretrains


def with_names(x: Any) -> Any:
    """Return a data frame of which scikit-learn may not know the columns' names as one of pandas, all else as it is.

    Before 1.9 it asks a frame for `__dataframe__`, which polars no longer has.
    """
    return as_frame(x) if is_frame(x) and not hasattr(x, "__dataframe__") else x


def order_of(estimator: Any) -> np.ndarray | None:
    """Return which columns of a frame, in its order, the source run's columns are; None: they are taken as they come.

    Columns without names, and those of which the source knows none, are taken by their place.

    Args:
        estimator: which scikit-learn has told the names of a frame's columns, if there are any.

    Raises:
        RunError: the source is damaged.
        DataError: the frame has some of the columns, and lacks others or has more.
    """
    expected = _columns_of(getattr(estimator, "source", NO_SOURCE))
    names = [composed(str(name).strip()) for name in getattr(estimator, "feature_names_in_", ())]
    if not expected or not set(names) & set(expected):
        return None
    _refuse([name for name in expected if name not in names], "lacks {}, which the source learned from: add it")
    _refuse([name for name in names if name not in expected], "has {}, which the source did not learn from: drop it")
    return np.array([names.index(name) for name in expected])


def _columns_of(source: Any) -> list[str]:
    if not isinstance(source, str | Path | None):
        return []
    run = (
        newest_run("pretrain")
        if source is None
        else RunFolder(from_home(source))
        if from_home(source).is_dir()
        else None
    )
    preprocessing = None if run is None else run.manifest().preprocessing
    return [] if preprocessing is None else [column.name for column in preprocessing.columns]


def _refuse(names: Sequence[str], what: str) -> None:
    if names:
        raise DataError(f"the data frame {what.format(some_of([*map(repr, names)], LISTED))}")
