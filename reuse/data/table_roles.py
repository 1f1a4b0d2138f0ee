"""Roles of a table's columns: which are targets, which say how rows are grouped or split, and which are features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from reuse.data.column_types import NUMBER, TEXT, TIME, as_text_column, kind_of, typed
from reuse.data.large_numbers import is_nullable
from reuse.data.raw import NO_TARGET, Options
from reuse.data.split_names import CELL_NAMES
from reuse.data.table_columns import unread_number
from reuse.data.table_libraries import pd
from reuse.data.tables import as_texts
from reuse.data.targets import FEW_CLASSES, Targets, encode_targets
from reuse.errors import DataError, UsageError
from reuse.menus import suggest
from reuse.units import format_count, verb_of

TARGET_NAMES = ("target", "label", "class", "y")
SETTINGS = ("group_by", "split_column", "sample_weight")
Columns: TypeAlias = "Mapping[str, pd.Series]"


@dataclass(frozen=True)
class Roles:
    """The roles of columns, by name.

    Attributes:
        targets: what is to be predicted; none: there are no labels.
        features: all that may be learned from.
        notes: what was guessed and left aside, for the user.
    """

    targets: tuple[str, ...]
    features: tuple[str, ...]
    notes: tuple[str, ...] = ()


def roles_of(columns: Columns, options: Options, table: str) -> Roles:
    """Return the roles of columns.

    The targets are `options.target`, else a column called target, label, class or y. Else, where labels are learned
    from, the last one is taken, and said. A column of such a name is never a feature, unless a model was fitted to it.

    Raises:
        UsageError: a column that is named is not there, or has two roles.
        DataError: no feature is left.
    """
    ignored = named_columns(options.ignore, columns, "ignore")
    taken = [name for setting in SETTINGS if (name := getattr(options, setting)) is not None]
    for setting in SETTINGS:
        if (name := getattr(options, setting)) is not None:
            _refuse_unknown(name, columns, setting)
    if options.text_column is not None:
        _refuse_unknown(options.text_column, columns, "text")
    free = [name for name in columns if name not in (*taken, *ignored, options.text_column)]
    targets, notes = _targets(columns, free, options)
    if options.text_column is not None and options.text_column in (*targets, *taken, *ignored):
        raise UsageError(
            f"text={options.text_column!r} is the target or the group too, or ignored: name another column"
        )
    for name in targets:
        if name in (*taken, *ignored):
            raise UsageError(f"target={name!r} is ignored or says how rows are drawn too: name another column")
    features = [name for name in columns if name not in (*targets, *taken, *ignored)]
    if options.preprocessing is None and not targets and options.target == NO_TARGET:
        like = [name for name in features if name.lower() in TARGET_NAMES]
        features = [name for name in features if name not in like]
        notes = (*notes, *(f"column {name!r} is called as a target: it is no feature" for name in like))
    if not features:
        beside = f"no feature columns are left beside {', '.join(targets)}" if targets else "no feature columns"
        raise DataError(f"{table}: {beside}: give more columns")
    return Roles(targets, tuple(features), notes)


def named_columns(given: str | Sequence[str], columns: Columns, setting: str) -> tuple[str, ...]:
    """Return the columns that a setting names: a list, or names separated by commas.

    Raises:
        UsageError: there is no such column.
    """
    several = (given,) if isinstance(given, str) else tuple(given)
    names = tuple(name for one in several for name in ((one,) if one in columns else map(str.strip, one.split(","))))
    for name in names:
        _refuse_unknown(name, columns, setting)
    return names


def encode_columns(columns: Columns, names: tuple[str, ...], options: Options) -> Targets:
    """Return the target columns encoded.

    Raises:
        DataError: a column looks like numbers that cannot be read, or like names of single rows.
    """
    as_names = options.task == "classification" and len(names) == 1
    targets = [typed(name, columns[name], TEXT if as_names else None) for name in names]
    if options.task is None:
        for name, values in zip(names, targets, strict=True):
            _refuse_unread_numbers(name, values)
    arrays = [as_texts(v) if kind_of(v) == TEXT else _numbers(n, v) for n, v in zip(names, targets, strict=True)]
    if as_names:
        arrays = [_whole_names(texts) for texts in arrays]
    stacked = arrays[0] if len(arrays) == 1 else np.stack(arrays, axis=1)
    encoded = encode_targets(stacked, names, options.task)
    labelled = int((encoded.values >= 0).sum()) if encoded.task == "classification" else 0
    if options.task is None and len(encoded.classes) > max(FEW_CLASSES, labelled / 2) and encoded.task != "multilabel":
        raise DataError(
            f"target {names[0]!r} holds {len(encoded.classes)} different values in {labelled} rows, too many for "
            "classes: name another column with target, or say task='classification'"
        )
    return encoded


def groups_of(columns: Columns, group_by: str) -> np.ndarray:
    """Return the group of each row, as texts.

    Raises:
        DataError: a row has none.
    """
    return _texts_of(columns, group_by, "group_by")


def weights_of(columns: Columns, sample_weight: str) -> np.ndarray:
    """Return how much each row counts, float64 `(n,)`.

    Raises:
        DataError: a weight is missing, no finite number, or below 0.
    """
    weights: np.ndarray = typed(sample_weight, columns[sample_weight], NUMBER).to_numpy(np.float64)
    bad = np.flatnonzero(~((weights >= 0) & np.isfinite(weights)))
    if len(bad):
        raise DataError(
            f"sample_weight={sample_weight!r} is {weights[bad[0]]:g} in row {bad[0]} (from 0; "
            f"{format_count(len(bad), 'such row')}): "
            "give finite numbers of 0 or more"
        )
    return weights


def parts_of(columns: Columns, split_column: str) -> dict[str, np.ndarray]:
    """Return the rows of each split by what a column says.

    Raises:
        DataError: a row says nothing or something else, or none is to be trained on.
    """
    texts = _texts_of(columns, split_column, "split_column")
    said = np.array([CELL_NAMES.get(text.lower(), "") for text in texts])
    if (said == "").any():
        row = int(np.flatnonzero(said == "")[0])
        raise DataError(
            f"split_column={split_column!r} says {str(texts[row])!r} in row {row} (from 0): expected train, valid or "
            "test"
        )
    if not (said == "train").any():
        raise DataError(f"split_column={split_column!r} gives no row to train on: expected train in some rows")
    return {part: np.flatnonzero(said == part) for part in ("train", "valid", "test") if (said == part).any()}


def _targets(columns: Columns, free: list[str], options: Options) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the target columns and a note where they were guessed."""
    if options.without_targets or (options.target == NO_TARGET and NO_TARGET not in columns):
        return (), ()
    if options.target is not None:
        return named_columns(options.target, columns, "target"), ()
    if options.preprocessing:
        known = {column.name for column in options.preprocessing.columns}
        free = [name for name in free if name not in known]
    named = next((name for name in free if name.lower() in TARGET_NAMES), None)
    if named is not None:
        return (named,), () if options.supervised else (f"column {named!r} is taken for the target: it is no feature",)
    if not options.supervised:
        return (), ()
    if not free:
        return (), ("no column is left for a target: unlabelled",)
    return (free[-1],), (f"the last column, {free[-1]!r}, is taken as the target (name another with target)",)


def _refuse_unread_numbers(name: str, values: pd.Series) -> None:
    """Raise where a target of texts looks like numbers, and too many or too fine for classes."""
    found = unread_number(values, with_units=True) if kind_of(values) == TEXT else None
    if found is None:
        return
    row, text, count, total = found
    spellings = values.dropna().unique()
    fractions = sum("." in spelling or "," in spelling for spelling in spellings)
    if len(spellings) > FEW_CLASSES or 2 * fractions >= len(spellings):
        raise DataError(
            f"target {name!r} holds {text!r} in row {row} (from 0), and {count} of its {format_count(total, 'value')} "
            f"{verb_of(count, 'looks', 'look')} like "
            "numbers: write them as 1234567.5, without units, and what is missing as empty, or say "
            "task='classification'"
        )


def _numbers(name: str, values: pd.Series) -> np.ndarray:
    if kind_of(values) == TIME:
        raise DataError(f"target {name!r} holds times: give numbers, such as days, or name another column with target")
    if not is_nullable(values):
        numbers: np.ndarray = values.to_numpy()
        return numbers
    return np.array([None if value is pd.NA else int(value) for value in values], object)


def _whole_names(texts: np.ndarray) -> np.ndarray:
    """Return names of classes in which 1.0, as whole numbers beside gaps are written, is 1."""
    held = [text for text in texts if text is not None]
    if not all(text.removesuffix(".0").lstrip("-").isdigit() for text in held):
        return texts
    return np.array([None if text is None else text.removesuffix(".0") for text in texts], object)


def _texts_of(columns: Columns, name: str, setting: str) -> np.ndarray:
    texts = as_text_column(typed(name, columns[name]))
    missing = np.flatnonzero(texts.isna())
    if len(missing):
        raise DataError(
            f"{setting}={name!r} has no value in row {missing[0]} (from 0; {format_count(len(missing), 'such row')})"
        )
    found: np.ndarray = texts.to_numpy(str)
    return found


def _refuse_unknown(name: str, columns: Columns, setting: str) -> None:
    if name not in columns:
        raise UsageError(f"{setting}={name!r}: there is no such column; {suggest(name, columns)}")
