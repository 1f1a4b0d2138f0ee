"""Letters as they look: composed (NFC), so that names and texts are one whether a program wrote `é` as one or two."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np

from reuse.data.table_libraries import pa, pc, pd


def composed(text: str) -> str:
    """Return a text with its letters composed.

    Example:
        >>> composed("Zu" + chr(0x308) + "rich")
        'Zürich'
    """
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def composed_setting(given: str | Sequence[str] | None) -> str | Sequence[str] | None:
    """Return a setting that names columns, if any, with its letters composed."""
    if given is None or isinstance(given, str):
        return given if given is None else composed(given)
    return [composed(name) for name in given]


def composed_if_apart(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return names composed, or as they are where some are told apart by nothing else."""
    found = tuple(map(composed, names))
    return found if len(set(found)) == len(set(names)) else names


def composed_column(series: pd.Series) -> pd.Series:
    """Return a column of strings and None with its letters composed; most are as they are, and not copied."""
    if isinstance(series.dtype, pd.StringDtype) and series.dtype.storage == "pyarrow":
        return _composed_by_arrow(series)
    if all(map(_is_composed, series)):
        return series
    texts = [composed(text) if isinstance(text, str) else None for text in series]
    return pd.Series(texts, index=series.index, dtype=object)


def _composed_by_arrow(series: pd.Series) -> pd.Series:
    """Return a column that arrow holds, as most are: each text is looked at once.

    Arrow's own `utf8_normalize` leaves letters apart in many versions, such as 16 to 24.
    """
    if series.empty:
        return series
    texts = pa.chunked_array([pa.array(series.array)]).combine_chunks()
    if pc.all(pc.string_is_ascii(texts), min_count=0).as_py():
        return series
    encoded = pc.dictionary_encode(texts)
    different = encoded.dictionary.to_pylist()
    if all(map(_is_composed, different)):
        return series
    values = np.array([*map(composed, different), None], object)
    places = encoded.indices.fill_null(len(different)).to_numpy(zero_copy_only=False)
    return pd.Series(values[places], index=series.index, dtype=object)


def _is_composed(value: object) -> bool:
    return not isinstance(value, str) or value.isascii() or unicodedata.is_normalized("NFC", value)
