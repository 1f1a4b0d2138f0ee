"""Tables of pictures: a column of paths to image files, or of the pictures themselves, beside columns of labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image

from reuse.data.column_types import as_written
from reuse.data.image_formats import is_image
from reuse.data.image_reading import read_images
from reuse.data.images import ImageFile, ImageSamples
from reuse.data.picture_lists import are_pictures, as_image_files, is_embedded
from reuse.data.raw import Options
from reuse.data.table_libraries import pd
from reuse.data.table_roles import named_columns
from reuse.data.tables import as_texts
from reuse.errors import DataError
from reuse.units import format_count

Columns: TypeAlias = "Mapping[str, pd.Series]"


def picture_column(columns: Columns, options: Options, name: str) -> str | None:
    """Return the column whose values are pictures or called like some; None without one, or where none is wanted.

    Raises:
        DataError: there are several.
    """
    if options.kind not in (None, "images") or options.text_column is not None:
        return None
    ignored = named_columns(options.ignore, columns, "ignore")
    folder = _folder_of(name)
    found = [column for column in columns if column not in ignored and _holds_pictures(columns[column], folder)]
    if len(found) > 1:
        listed = ", ".join(map(repr, found))
        raise DataError(f"{name} has several columns of pictures ({listed}): say with ignore which are not meant")
    return found[0] if found else None


def options_of_pictures(columns: Columns, pictures: str, options: Options) -> Options:
    """Return options in which the targets are chosen among the columns beside the pictures.

    Where no target is named and all of them hold only 0 and 1, all are.
    """
    rest = [name for name in columns if name not in (pictures, options.group_by, options.split_column)]
    if not rest:
        return replace(options, without_targets=True)
    if options.target is None and len(rest) > 1 and all(_is_yes_or_no(columns[name]) for name in rest):
        return replace(options, target=",".join(rest))
    return options


def read_pictures(columns: Columns, pictures: str, name: str, options: Options) -> ImageSamples:
    """Return the pictures of a column; relative paths begin at the table's file, else in the working folder.

    Raises:
        DataError: a row without a picture, or pictures that cannot be read.
    """
    values = columns[pictures]
    held = list(values) if _holds_embedded(values) else list(as_texts(as_written(pictures, values)))
    missing = [row for row, picture in enumerate(held) if _is_missing(picture)]
    if missing:
        raise DataError(
            f"{name}: column {pictures!r} has no picture in row {missing[0]} (from 0; "
            f"{format_count(len(missing), 'such row')}): fill "
            "it in or remove the row"
        )
    return read_images(as_image_files(held, _folder_of(name)), name, options)


def _folder_of(table: str) -> Path | None:
    return Path(table).parent if Path(table).is_file() else None


def _holds_pictures(values: pd.Series, folder: Path | None) -> bool:
    """Return whether values are pictures, or name files that are images: by how they are called, or by content."""
    if _holds_embedded(values):
        return True
    if values.dtype.kind not in "OUT" and not isinstance(values.dtype, pd.StringDtype | pd.CategoricalDtype):
        return False
    known = values.notna().to_numpy()
    first = values.iloc[int(known.argmax())] if known.any() else None
    if not isinstance(first, str | Path) or not (are_pictures([str(first)]) or "/" in str(first)):
        return False  # most columns of texts: nothing of them is copied
    held = [str(value) if isinstance(value, Path) else value for value in values[known]]
    if are_pictures([str(first)]):
        return are_pictures(held)
    return all(isinstance(value, str) for value in held) and all(map(_is_image_file, as_image_files(held, folder)))


def _holds_embedded(values: pd.Series) -> bool:
    """Return whether values are pictures themselves; the first tells, so that a damaged one is named by its row."""
    if values.dtype.kind != "O" or isinstance(values.dtype, pd.StringDtype | pd.CategoricalDtype):
        return False
    first = next((value for value in values if not _is_missing(value)), None)
    if not is_embedded(first):
        return False
    form = Image.Image if isinstance(first, Image.Image) else type(first)  # Pillow has a class for each format
    return all(isinstance(value, form) for value in values if not _is_missing(value))


def _is_missing(picture: object) -> bool:
    if isinstance(picture, Mapping):
        return picture.get("bytes") is None and picture.get("path") is None
    return picture is None or picture is pd.NA or (isinstance(picture, float) and picture != picture)


def _is_image_file(file: ImageFile) -> bool:
    return isinstance(file.content, Path) and file.content.is_file() and is_image(file.name, file.content)


def _is_yes_or_no(values: pd.Series) -> bool:
    return values.dtype.kind in "biuf" and bool(np.isin(values.to_numpy(), (0, 1)).all())
