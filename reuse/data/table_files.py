"""Tables (.csv, .parquet, data frames) as data sets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from reuse.data.arrays import ArraySamples, as_samples
from reuse.data.column_types import NUMBER, TEXT, TIME, as_number_column, kind_of, typed
from reuse.data.csv_files import CsvFile
from reuse.data.file_digests import state_of
from reuse.data.frames import as_frame, laid_out
from reuse.data.freed_memory import give_back
from reuse.data.images import ImageSamples
from reuse.data.parquet_sizes import check_parquet
from reuse.data.picture_tables import options_of_pictures, picture_column, read_pictures
from reuse.data.preprocessing import Column
from reuse.data.raw import IN_ORDER, Options, RawData, Samples
from reuse.data.table_libraries import pd
from reuse.data.table_roles import Roles, encode_columns, groups_of, parts_of, roles_of, weights_of
from reuse.data.tables import TableSamples, as_texts
from reuse.data.targets import Targets
from reuse.data.text import TextSamples
from reuse.errors import DataError, UsageError
from reuse.files import open_regular


def read_csv(path: Path, options: Options) -> RawData:
    """Return a .csv file as a data set; its first line names the columns."""
    texts = {name for name, kind in _known_kinds(options).items() if kind == TEXT}
    if options.task == "classification":
        texts.add(options.target or "")
    before = state_of(path)
    frame = CsvFile.open(path).read(texts)  # which goes through the file several times
    if state_of(path) != before:
        raise DataError(f"{path} was changed while it was read: wait until it is written, and read it again")
    return source_of_table(frame, str(path), options)


def read_parquet(path: Path, options: Options) -> RawData:
    """Return a .parquet file as a data set."""
    try:
        with open_regular(path) as file:
            check_parquet(file)
        frame = pd.read_parquet(path)
    except (OSError, ValueError, MemoryError, NotImplementedError, RecursionError, TypeError, KeyError) as error:
        raise DataError(f"{path} cannot be read as parquet ({' '.join(str(error).split())})") from error
    return source_of_table(frame, str(path), options)


def source_of_table(frame: Any, name: str, options: Options, *, notes: tuple[str, ...] = ()) -> RawData:
    """Return a table as a data set.

    With a preprocessing from elsewhere its columns are features, of the types that they were fitted as.

    Args:
        frame: a data frame of any library.
        name: what the user called it.
        options: which columns are what; see `reuse.data.table_roles`.
        notes: what the reader has to say.

    Raises:
        UsageError: there is no such column.
        DataError: no rows, no feature columns, or targets that cannot be read.
    """
    columns = dict(laid_out(as_frame(frame, name)).items())
    if columns and len(next(iter(columns.values()))) == 0:
        raise DataError(f"{name} has columns and no rows")
    pictures = picture_column(columns, options, name)
    if pictures is not None:
        options = options_of_pictures(columns, pictures, options)
        columns = {pictures: columns.pop(pictures), **columns}  # never the last, which may be taken for the target
    roles = roles_of(columns, options, name)
    _refuse_learned(roles.targets, options)
    samples, more = _samples(columns, roles, name, options, pictures)
    encoded, note = _encoded(columns, roles, options)
    rows = samples.usable()[0] if isinstance(samples, ImageSamples) else np.arange(len(next(iter(columns.values()))))
    groups = None if options.group_by is None else groups_of(columns, options.group_by)
    parts = {} if options.split_column is None else parts_of(columns, options.split_column)
    return RawData(
        name,
        samples,
        encoded.values if encoded else None,
        encoded.task if encoded else "unlabelled",
        encoded.classes if encoded else (),
        rows,
        parts,
        groups,
        (*notes, *roles.notes, *more, *note),
        None if options.sample_weight is None else weights_of(columns, options.sample_weight),
    )


def _refuse_learned(targets: tuple[str, ...], options: Options) -> None:
    """Raise where a target is a feature of the model that is there."""
    expected = {column.name for column in options.preprocessing.columns} if options.preprocessing else set()
    for name in targets:
        if name in expected:
            raise UsageError(
                f"target={name!r} is among the features that the model was made for: train its source with "
                f"target={name!r}, which keeps it out of them, or with ignore={name!r}"
            )


def _encoded(
    columns: Mapping[str, pd.Series], roles: Roles, options: Options
) -> tuple[Targets | None, tuple[str, ...]]:
    """Return the targets, None without any, and a note.

    Where no labels are learned from, or a target was guessed among what a model leaves over, what is wrong is a note.
    """
    if not roles.targets:
        return None, ()
    try:
        encoded = encode_columns(columns, roles.targets, options)
    except DataError as error:
        if options.supervised and (options.target is not None or options.preprocessing is None):
            raise
        return None, (f"labels are not looked at: {error}",)
    finally:
        give_back()
    return encoded, (encoded.note,) if encoded.note else ()


def _known_kinds(options: Options) -> dict[str, str]:
    """Return the types that columns were fitted as."""
    columns = options.preprocessing.columns if options.preprocessing else ()
    known = {column.name: _kind(column) for column in columns}
    return known | {name: TEXT for name in (options.text_column, options.group_by) if name is not None}


def table_of_array(rows: Any, options: Options, name: str) -> TableSamples | None:
    """Return an array `(n, columns)` as the columns that a model was made for, in their order; None for any other."""
    try:
        array = np.asarray(rows)
    except ValueError:  # rows of several lengths, of which the caller knows more
        return None
    expected = options.preprocessing.columns if options.preprocessing else ()
    if array.ndim != 2 or array.shape[1] != len(expected):
        return None
    named = zip(expected, array.T, strict=True)
    return TableSamples({c.name: typed(c.name, pd.Series(list(v)), _kind(c)) for c, v in named}, name)


def _kind(column: Column) -> str:
    return TIME if column.is_time else NUMBER if column.is_numeric else TEXT


def _samples(
    columns: Mapping[str, pd.Series], roles: Roles, name: str, options: Options, pictures: str | None
) -> tuple[Samples, tuple[str, ...]]:
    """Return the feature columns, or the one that holds texts or pictures, and notes on them."""
    text, features = options.text_column or _only_text(columns, roles, options), roles.features
    if pictures is not None:
        images = read_pictures(columns, pictures, name, options)
        aside = [column for column in features if column != pictures]
        notes = (f"columns left aside beside the pictures {pictures!r}: {_listed(aside)}",) if aside else ()
        return images, (*notes, *images.usable()[1])
    if text is not None:
        others = [column for column in features if column != text]
        notes = (f"columns left aside beside the text {text!r}: {_listed(others)}",) if others else ()
        return TextSamples(as_texts(typed(text, columns[text], TEXT)), name, text), notes
    known = _known_kinds(options)
    if options.kind == "vectors":  # a model of arrays knows no names
        matrix = np.column_stack([as_number_column(n, typed(n, columns[n])).to_numpy(np.float64) for n in features])
        return ArraySamples(as_samples(matrix, name), None, name), (IN_ORDER.format(_listed(list(features))),)
    if options.preprocessing is None:
        return TableSamples({n: typed(n, columns[n], known.get(n)) for n in features}, name), ()
    aside = [column for column in features if column not in known and not _is_target(column, options)]
    notes = (f"columns left aside, as the model was made without them: {_listed(aside)}",) if aside else ()
    samples = TableSamples({n: typed(n, columns[n], known[n]) for n in features if n in known}, name)
    return samples, (*notes, *samples.missing(options.preprocessing.columns))


def _only_text(columns: Mapping[str, pd.Series], roles: Roles, options: Options) -> str | None:
    """Return the one column of texts among the features, for a model that reads texts; None for any other model.

    Raises:
        UsageError: there is none, or there are several.
    """
    if options.tokenizing is None or options.preprocessing is not None:
        return None
    texts = [name for name in roles.features if kind_of(typed(name, columns[name])) == TEXT]
    if len(texts) != 1:
        found = f"there are several: {_listed(texts)}" if texts else f"there is none among {_listed([*roles.features])}"
        raise UsageError(f"the model reads a column of texts, and {found}: name one with text")
    return texts[0]


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names))


def _is_target(column: str, options: Options) -> bool:
    return options.target is not None and column in (options.target, *options.target.split(","))
