"""Reading tables (.csv, .parquet, data frames) and choosing which columns are target, group and features."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from reuse.data.raw import Options, RawData
from reuse.data.tables import TableSamples, as_objects, as_texts, read_number
from reuse.data.targets import encode_targets
from reuse.data.text import TextSamples
from reuse.errors import DataError, UsageError
from reuse.menus import suggest

TARGET_NAMES = ("target", "label", "class", "y")
MISSING_SPELLINGS = {"", "na", "n/a", "nan", "null", "none", "?"}
DELIMITERS = ",;\t|"
NO_TARGET = "none"


def read_csv(path: Path, options: Options) -> RawData:
    """Return a .csv file as a data set; its first line names the columns."""
    return source_of_table(csv_columns(path), str(path), options)


def csv_columns(path: Path) -> dict[str, np.ndarray]:
    """Return the columns of a .csv file, each as int64, float64 with NaN, or objects of `str` and None.

    Cells are separated by whichever of `,` `;` tab and `|` the first line holds most of.

    Raises:
        DataError: not text in UTF-8, no column names, or a row of another length.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            file.seek(0)
            lines = list(csv.reader(file, delimiter=max(DELIMITERS, key=first.count)))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as CSV in UTF-8 ({error})") from error
    names, records = _checked(path, lines)
    return {name: _typed([record[i] for record in records]) for i, name in enumerate(names)}


def read_parquet(path: Path, options: Options) -> RawData:
    """Return a .parquet file as a data set."""
    try:
        import pandas as pd
        import pyarrow  # noqa: F401 - what pandas reads it with
    except ImportError as error:
        raise DataError(
            f"{path}: reading .parquet needs pandas and pyarrow: pip install 'torch-reuse[tables]'"
        ) from error
    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as parquet ({error})") from error
    return source_of_table(columns_of_frame(frame), str(path), options)


def columns_of_frame(frame: Any) -> dict[str, np.ndarray]:
    """Return a data frame's columns: numbers stay numbers, all else becomes strings, None where missing."""
    columns = {}
    for name in frame.columns:
        series = frame[name]
        kind = getattr(series.dtype, "kind", "O")
        if kind in "iu" and not series.isna().any():
            columns[str(name)] = series.to_numpy(np.int64)
        elif kind in "iuf":
            columns[str(name)] = series.to_numpy(np.float64, na_value=np.nan)
        else:
            columns[str(name)] = as_objects([None if m else str(v) for v, m in zip(series, series.isna(), strict=True)])
    return columns


def source_of_table(
    columns: Mapping[str, np.ndarray], name: str, options: Options, *, notes: tuple[str, ...] = ()
) -> RawData:
    """Return columns as a data set.

    The target is `options.target`, else a column called target, label, class or y, else the last. With a preprocessing
    from elsewhere its columns are features and never guessed to be the target.

    Args:
        columns: `(n,)` each, as `TableSamples` takes them.
        name: what the user called it.
        options: `target` (several separated by commas, "none" for no target, unless a column is called so),
            `without_targets`, `group_by`, and `text`: the one column that is read, as a text.
        notes: what the reader has to say.

    Raises:
        UsageError: there is no such column.
        DataError: no rows, no feature columns, or a missing target.
    """
    if options.group_by is not None:
        _refuse_unknown(options.group_by, columns, "group_by")
    if options.text_column is not None:
        _refuse_unknown(options.text_column, columns, "text")
    targets, note = _target_columns(columns, options)
    if options.text_column is not None and options.text_column in (*targets, options.group_by):
        raise UsageError(f"text={options.text_column!r} is the target or the group too: name another column")
    features = {n: v for n, v in columns.items() if n not in targets and n != options.group_by}
    if not features:
        raise DataError(f"{name}: no feature columns are left beside {', '.join(targets)}: give more columns")
    num_rows = len(next(iter(columns.values())))
    if num_rows == 0:
        raise DataError(f"{name} has columns and no rows")
    groups = None if options.group_by is None else _groups(columns, options.group_by)
    samples, more = _samples(features, name, options)
    rows, notes = np.arange(num_rows), (*notes, *note, *more)
    if not targets:
        return RawData(name, samples, None, "unlabelled", (), rows, groups=groups, notes=notes)
    encoded = encode_targets(_stacked([columns[target] for target in targets]), targets)
    notes = (*notes, encoded.note) if encoded.note else notes
    return RawData(name, samples, encoded.values, encoded.task, encoded.classes, rows, groups=groups, notes=notes)


def _samples(
    features: Mapping[str, np.ndarray], name: str, options: Options
) -> tuple[TableSamples | TextSamples, tuple[str, ...]]:
    """Return the feature columns, or the one that holds texts, and notes on them."""
    text = options.text_column
    if text is None:
        samples = TableSamples(features, name)
        return samples, samples.missing(options.preprocessing.columns) if options.preprocessing else ()
    others = [column for column in features if column != text]
    notes = (f"columns left aside beside the text {text!r}: {', '.join(others)}",) if others else ()
    return TextSamples(as_texts(features[text]), name, text), notes


def _target_columns(columns: Mapping[str, np.ndarray], options: Options) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the target columns and a note where they were guessed."""
    if options.without_targets or (options.target == NO_TARGET and NO_TARGET not in columns):
        return (), ()
    if options.target is not None:
        names = (options.target,) if options.target in columns else tuple(t.strip() for t in options.target.split(","))
        for name in names:
            _refuse_unknown(name, columns, "target")
        return names, ()
    taken = {options.group_by, options.text_column}
    if options.preprocessing:
        taken |= {column.name for column in options.preprocessing.columns}
    free = [name for name in columns if name not in taken]
    named = next((name for name in free if name.lower() in TARGET_NAMES), None)
    if named is not None or not free:
        return ((named,), ()) if named is not None else ((), ("no column is left for a target: unlabelled",))
    return (free[-1],), (f"the last column, {free[-1]!r}, is taken as the target (name another with target)",)


def _groups(columns: Mapping[str, np.ndarray], group_by: str) -> np.ndarray:
    texts = as_texts(columns[group_by])
    missing = [row for row, text in enumerate(texts) if text is None]
    if missing:
        raise DataError(f"group_by={group_by!r} has no value in row {missing[0]} (from 0; {len(missing)} such rows)")
    return texts.astype(str)


def _refuse_unknown(name: str, columns: Mapping[str, np.ndarray], setting: str) -> None:
    if name not in columns:
        raise UsageError(f"{setting}={name!r}: there is no such column; {suggest(name, columns)}")


def _checked(path: Path, lines: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """Return the column names and the rows, every row of the right length."""
    if not lines:
        raise DataError(f"{path} is empty: expected a line of column names and rows")
    names, records = [name.strip() for name in lines[0]], [line for line in lines[1:] if line]
    if all(read_number(name) is not None for name in names):
        raise DataError(f"{path} begins with numbers: expected a first line that names the columns")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{path} has two columns called {twice!r}: rename one")
    for row, record in enumerate(records):
        if len(record) != len(names):
            raise DataError(f"{path}: row {row} (from 0) has {len(record)} cells, and there are {len(names)} columns")
    return names, records


def _typed(cells: list[str]) -> np.ndarray:
    """Return cells as int64 or float64 where all that are not missing are numbers, else as strings."""
    texts = [None if cell.strip().lower() in MISSING_SPELLINGS else cell.strip() for cell in cells]
    numbers = [np.nan if text is None else read_number(text) for text in texts]
    if any(number is None for number in numbers):
        return as_objects(texts)
    if all(isinstance(number, int) and abs(number) < 2**53 for number in numbers):
        return np.asarray(numbers, np.int64)
    return np.asarray(numbers, np.float64)


def _stacked(targets: list[np.ndarray]) -> np.ndarray:
    return targets[0] if len(targets) == 1 else np.stack(targets, axis=1)
