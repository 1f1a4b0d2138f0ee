"""Drawing training, validation and test rows: stratified by class, whole groups together, seeded."""

from dataclasses import dataclass
from math import ceil

import numpy as np

from reuse.data.dataset import SPLITS
from reuse.data.drawing import draw_rows
from reuse.data.raw import RawData
from reuse.errors import DataError, UsageError
from reuse.listing import some_of
from reuse.units import format_count, verb_of

VALID_FRACTION, TEST_FRACTION = 0.2, 0.2
NO_ROWS = np.empty(0, np.int64)
LISTED = 5  # names in a line


@dataclass(frozen=True)
class Parts:
    """Rows of each split, sorted; `notes` are lines worth printing."""

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    notes: tuple[str, ...] = ()


def split_rows(source: RawData, valid_fraction: float | None, test_fraction: float | None, seed: int) -> Parts:
    """Return the rows of each split.

    The user's own splits stay. A missing test split is drawn from the training rows, then a missing validation split
    from what is left: two successive calls of scikit-learn's `train_test_split` with `random_state=seed`, stratified
    for classification, or of `GroupShuffleSplit` where there are groups.

    Args:
        source: the data set.
        valid_fraction: share of the rows left after the test split; 0: an empty split; None: `VALID_FRACTION`.
        test_fraction: share of all rows; 0: an empty split; None: `TEST_FRACTION`, and 0 where the data bring training
            and validation rows of their own.
        seed: the same seed gives the same rows.

    Raises:
        UsageError: a fraction outside [0, 1).
        DataError: too few rows or groups, or a group in two splits.
    """
    valid_fraction = VALID_FRACTION if valid_fraction is None else valid_fraction
    notes: tuple[str, ...] = ()
    if test_fraction is None:
        test_fraction = 0.0 if source.parts.keys() >= {"train", "valid"} else TEST_FRACTION
        if test_fraction == 0.0 and "test" not in source.parts:
            notes = (
                "test: none are drawn, as the data bring training and validation rows; --test-fraction draws some",
            )
    for name, fraction in (("valid_fraction", valid_fraction), ("test_fraction", test_fraction)):
        if not 0 <= fraction < 1:
            raise UsageError(f"{name}={fraction}: give a share of the rows from 0 up to, not including, 1")
    parts = {part: np.intersect1d(rows, source.rows) for part, rows in source.parts.items()} or {"train": source.rows}
    for part, fraction in (("test", test_fraction), ("valid", valid_fraction)):
        if part not in parts:
            given = len(parts["train"])
            parts["train"], parts[part], note = _take(source, parts["train"], fraction, seed, part)
            notes += note
            if source.parts and fraction:
                notes += (
                    (
                        f"{part}: {len(parts[part])} of the {format_count(given, 'training row')} "
                        f"{verb_of(len(parts[part]), 'is', 'are')} drawn, as the data bring none"
                    ),
                )
    train, valid, test = (np.sort(parts[name]).astype(np.int64) for name in SPLITS)
    ordered = Parts(train, valid, test, notes)
    _refuse_straddling(source, ordered)
    return ordered


def check_parts(source: RawData, parts: Parts) -> None:
    """Raise a `DataError` where there is nothing to train on, or a class is missing from the training split."""
    if len(parts.train) == 0:
        raise DataError(f"{source.name}: no rows are left to train on; give more rows or smaller splits")
    if source.weights is not None and not source.weights[parts.train].any():
        raise DataError(f"{source.name}: all training rows have a sample_weight of 0: give some of them more")
    if source.task == "classification" and source.targets is not None:
        counts = np.bincount(source.targets[parts.train], minlength=len(source.classes))
        missing = [source.classes[i] for i in np.flatnonzero(counts == 0)]
        if missing:
            are = "class {} is" if len(missing) == 1 else "classes {} are"
            raise DataError(
                f"{source.name}: {are.format(some_of(missing, LISTED))} missing from the training split: give more "
                "rows or another seed, or keep only the other ones with classes"
            )


def _take(
    source: RawData, rows: np.ndarray, fraction: float, seed: int, part: str
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Return (the rest, the rows drawn, notes)."""
    if fraction == 0:
        return rows, NO_ROWS, ()
    if source.groups is not None:
        return *_take_groups(source.groups[rows], rows, fraction, seed), ()
    if source.targets is None and len(rows) <= ceil(fraction * len(rows)):
        return rows, NO_ROWS, (f"{part}: no rows, as there {'is' if len(rows) == 1 else 'are'} only {len(rows)}",)
    if source.targets is None or (source.task != "classification" and source.is_labelled[rows].all()):
        return *_take_rows(rows, ceil(fraction * len(rows)), None, seed), ()
    return _take_stratified(source, rows, fraction, seed, part)


def _take_stratified(
    source: RawData, rows: np.ndarray, fraction: float, seed: int, part: str
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Draw rows by class, rows without a label as one more; a class of a single row stays in training."""
    classes = (*(source.classes if source.task == "classification" else ("labelled",)), "no label")
    strata = _strata(source, rows, len(classes) - 1)
    counts = np.bincount(strata, minlength=len(classes))
    is_single = counts[strata] < 2
    singles, names = rows[is_single], [classes[i] for i in strata[is_single]]
    notes = (f"{part}: no row of class {some_of(names, LISTED)}, whose only row stays in training",) if names else ()
    rows, strata = rows[~is_single], strata[~is_single]
    if len(rows) == 0:
        return singles, NO_ROWS, notes
    count = max(ceil(fraction * len(rows)), int((counts > 1).sum()))
    rest, taken = _take_rows(rows, count, strata, seed)
    return np.concatenate([rest, singles]), taken, notes


def _strata(source: RawData, rows: np.ndarray, unlabelled: int) -> np.ndarray:
    """Return the number of each row's class, that of all labelled rows where there are no classes being 0."""
    assert source.targets is not None
    numbers = source.targets[rows] if source.task == "classification" else np.zeros(len(rows), np.int64)
    return np.where(source.is_labelled[rows], numbers, unlabelled)


def _take_rows(rows: np.ndarray, count: int, strata: np.ndarray | None, seed: int) -> tuple[np.ndarray, np.ndarray]:
    if len(rows) - count < (1 if strata is None else len(np.unique(strata))):
        raise DataError(
            f"{format_count(len(rows), 'row')} {verb_of(len(rows), 'is', 'are')} too few to draw {count} of "
            "them for another split: give more rows"
        )
    return draw_rows(rows, count, strata, seed % 2**32)


def _take_groups(groups: np.ndarray, rows: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    num_groups = len(np.unique(groups))
    if num_groups < 2:
        raise DataError(f"{num_groups} group is too few to split by: every split needs a group of its own")
    from sklearn.model_selection import (
        GroupShuffleSplit,  # scikit-learn takes a second to import, and not every command needs it
    )

    splitter = GroupShuffleSplit(n_splits=1, test_size=fraction, random_state=seed % 2**32)
    rest, taken = next(splitter.split(rows, groups=groups))
    return rows[rest], rows[taken]


def _refuse_straddling(source: RawData, parts: Parts) -> None:
    if source.groups is None:
        return
    for one, other in (("train", "valid"), ("train", "test"), ("valid", "test")):
        shared = np.intersect1d(source.groups[getattr(parts, one)], source.groups[getattr(parts, other)])
        if len(shared):
            raise DataError(f"{source.name}: group {shared[0]} stands in {one} and in {other}: split by group")
