"""Tables (.csv, .parquet, data frames): which columns are target, group and features."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from reuse.data.column_types import NUMBER, TEXT, TIME, as_text_column, typed
from reuse.data.csv_files import CsvFile
from reuse.data.frames import as_frame, laid_out
from reuse.data.preprocessing import Column
from reuse.data.raw import Options, RawData
from reuse.data.tables import TableSamples, as_texts
from reuse.data.targets import encode_targets
from reuse.data.text import TextSamples
from reuse.errors import DataError, UsageError
from reuse.menus import suggest

TARGET_NAMES = ("target", "label", "class", "y")
NO_TARGET = "none"


def read_csv(path: Path, options: Options) -> RawData:
    """Return a .csv file as a data set; its first line names the columns."""
    texts = [name for name, kind in _known_kinds(options).items() if kind == TEXT]
    return source_of_table(CsvFile.open(path).read(texts), str(path), options)


def read_parquet(path: Path, options: Options) -> RawData:
    """Return a .parquet file as a data set."""
    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as parquet ({error})") from error
    return source_of_table(frame, str(path), options)


def source_of_table(frame: Any, name: str, options: Options, *, notes: tuple[str, ...] = ()) -> RawData:
    """Return a table as a data set.

    The target is `options.target`, else a column called target, label, class or y, else the last. With a preprocessing
    from elsewhere its columns are features, of the types that they were fitted as, and never guessed to be the target.

    Args:
        frame: a data frame of any library.
        name: what the user called it.
        options: `target` (several separated by commas, "none" for no target, unless a column is called so),
            `without_targets`, `group_by`, and `text`: the one column that is read, as a text.
        notes: what the reader has to say.

    Raises:
        UsageError: there is no such column.
        DataError: no rows, no feature columns, or a missing target.
    """
    columns = dict(laid_out(as_frame(frame, name)).items())
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
    encoded = encode_targets(_stacked({target: typed(target, columns[target]) for target in targets}), targets)
    notes = (*notes, encoded.note) if encoded.note else notes
    return RawData(name, samples, encoded.values, encoded.task, encoded.classes, rows, groups=groups, notes=notes)


def _known_kinds(options: Options) -> dict[str, str]:
    """Return the types that columns were fitted as."""
    columns = options.preprocessing.columns if options.preprocessing else ()
    known = {column.name: _kind(column) for column in columns}
    return known | {name: TEXT for name in (options.text_column, options.group_by) if name is not None}


def _kind(column: Column) -> str:
    return TIME if column.is_time else NUMBER if column.is_numeric else TEXT


def _samples(
    features: Mapping[str, pd.Series], name: str, options: Options
) -> tuple[TableSamples | TextSamples, tuple[str, ...]]:
    """Return the feature columns, or the one that holds texts, and notes on them."""
    text = options.text_column
    if text is None:
        known = _known_kinds(options)
        used = {n: v for n, v in features.items() if n in known} if options.preprocessing else features
        samples = TableSamples({n: typed(n, v, known.get(n)) for n, v in used.items()}, name)
        return samples, samples.missing(options.preprocessing.columns) if options.preprocessing else ()
    others = [column for column in features if column != text]
    notes = (f"columns left aside beside the text {text!r}: {', '.join(others)}",) if others else ()
    return TextSamples(as_texts(typed(text, features[text], TEXT)), name, text), notes


def _target_columns(columns: Mapping[str, pd.Series], options: Options) -> tuple[tuple[str, ...], tuple[str, ...]]:
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


def _groups(columns: Mapping[str, pd.Series], group_by: str) -> np.ndarray:
    texts = as_text_column(typed(group_by, columns[group_by]))
    missing = np.flatnonzero(texts.isna())
    if len(missing):
        raise DataError(f"group_by={group_by!r} has no value in row {missing[0]} (from 0; {len(missing)} such rows)")
    found: np.ndarray = texts.to_numpy(str)
    return found


def _refuse_unknown(name: str, columns: Mapping[str, pd.Series], setting: str) -> None:
    if name not in columns:
        raise UsageError(f"{setting}={name!r}: there is no such column; {suggest(name, columns)}")


def _stacked(targets: Mapping[str, pd.Series]) -> np.ndarray:
    arrays = [values.to_numpy() if values.dtype.kind in "if" else as_texts(values) for values in targets.values()]
    return arrays[0] if len(arrays) == 1 else np.stack(arrays, axis=1)
