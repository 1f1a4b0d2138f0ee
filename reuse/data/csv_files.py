"""Tables in text files (.csv, .tsv, compressed too), read by pandas; codes such as `01` stay what they are."""

from __future__ import annotations

import bz2
import csv
import gzip
import itertools
import lzma
import math
import re
import warnings
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from io import BufferedReader, TextIOWrapper
from pathlib import Path
from typing import Any

import numpy as np

from reuse.data.block_columns import BlockColumn
from reuse.data.column_types import MISSING_SPELLINGS, is_number
from reuse.data.freed_memory import give_back
from reuse.data.large_numbers import EXACT
from reuse.data.letters import composed
from reuse.data.table_libraries import pd
from reuse.errors import DataError
from reuse.files import BoundedReader, UnfitFileError, check_fits, open_regular
from reuse.units import format_count, verb_of

DELIMITERS = ",;\t|"
COMPRESSIONS: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
QUOTED = re.compile(r'"[^"]*"')
SEPARATOR_LINE = re.compile(r"\s*sep=(.)\s*$", re.IGNORECASE)  # Excel's
CODE = r"\s*[+-]?0\d+\s*$"
SCANNED_BYTES, CHUNK_ROWS = 1 << 18, 1 << 14
LINES_OF_A_RECORD = 20
LONG_LINE = 1 << 20
CELL_BYTES, COLUMN_BYTES = 64, 1 << 13  # that a cell takes as a text, and a column beside its values


@dataclass(frozen=True)
class CsvFile:
    """A text file of rows, and how it is written.

    Attributes:
        path: where it lies.
        delimiter: what parts the cells of a row.
        names: the column names, from its first line; "" where a column has none.
        skipped: how many lines stand before the names.
    """

    path: Path
    delimiter: str
    names: tuple[str, ...]
    skipped: int = 0

    @classmethod
    def open(cls, path: Path) -> CsvFile:
        """Return the file, its dialect found in its first lines.

        Cells are separated by whichever of `,` `;` tab and `|` the first line holds most of outside quotes.

        Raises:
            DataError: not text in UTF-8, or no column names.
        """
        try:
            with _text(path) as file:
                record = _first_record(file)
                if any("\0" in line for line in record):
                    raise UnfitFileError("its first line holds characters of number 0, as UTF-16 has: save it as UTF-8")
                first = record[0] if record[1:] and "".join(record).count('"') % 2 else "".join(record)
                separator = SEPARATOR_LINE.match(first)
                delimiter = separator[1] if separator else max(DELIMITERS, key=QUOTED.sub("", first).count)
                lines = _fitting(file if separator else itertools.chain(record, file), delimiter)
                records = (cells for cells in csv.reader(lines, delimiter=delimiter) if cells)
                names = next(records, [])
                check_fits(len(names) * COLUMN_BYTES)
                cells = _num_cells(records)
        except (OSError, EOFError, MemoryError, UnicodeDecodeError, csv.Error, lzma.LZMAError) as error:
            raise _unreadable(path, error) from error
        names = [composed(name.strip()) for name in names]
        _check_names(path, names)
        if cells > len(names) + 1:  # one more, which is empty, pandas leaves out, and of many it makes a column each
            raise _ragged(path, 0, cells, len(names))
        return cls(path, delimiter, tuple(names), int(separator is not None))

    def read(self, texts: Collection[str] = ()) -> pd.DataFrame:
        """Return the rows, each column as numbers or as strings with missing values.

        Args:
            texts: columns that are read as strings, whatever stands in them.

        Raises:
            DataError: not text in UTF-8, or a row of another length.
        """
        columns = self._columns({name: str for name in self.names if name in texts})
        raw = [name for name, values in columns.items() if _is_mixed(values) or _has_lost_digits(values)]
        raw += self._codes([name for name, values in columns.items() if _may_be_codes(values)])
        if raw:  # what pandas took for numbers, and is none for all of the rows
            columns |= self._columns(dict.fromkeys(raw, str), usecols=raw)
        if columns[self.names[-1]].isna().any():  # pandas fills up rows that are too short
            self._refuse_ragged()
        return pd.DataFrame(columns, columns=list(self.names), copy=False)

    def _columns(self, types: dict[str, type], **how: Any) -> dict[str, pd.Series]:
        """Return columns, read block by block; numbers go where the whole column has room, so that none is copied."""
        columns: dict[str, BlockColumn] = {}
        room = self._num_lines
        for chunk in self._chunks(types, **how):
            for name, values in chunk.items():
                columns.setdefault(name, BlockColumn(room)).extend(values)
        whole = {name: columns.pop(name).whole() for name in list(columns)}
        give_back()
        return whole

    @cached_property
    def _num_lines(self) -> int:
        """The lines of the file, of which each row has one at least, but for the last."""
        return sum(block.count(b"\n") for block in _blocks(self.path))

    def _chunks(self, types: dict[str, type], **how: Any) -> Iterator[pd.DataFrame]:
        settings: dict[str, Any] = {
            "sep": self.delimiter,
            "header": 0,
            "names": list(self.names),
            "skiprows": self.skipped,
            "index_col": False,
            "dtype": types,
            "keep_default_na": False,
            "na_values": _missing_spellings(),
            "skipinitialspace": True,
            "encoding": "utf-8",
            "chunksize": CHUNK_ROWS,
        }
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", pd.errors.ParserWarning)
                warnings.simplefilter("ignore", pd.errors.DtypeWarning)  # mixed columns are read once more
                with _binary(self.path) as file, pd.read_csv(file, **settings, **how) as reader:
                    yield from reader
        except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
            self._refuse_ragged()
            raise _unreadable(self.path, error) from error
        except (OSError, EOFError, MemoryError, ValueError) as error:
            raise _unreadable(self.path, error) from error

    def _codes(self, numeric: list[str]) -> list[str]:
        """Return those of the columns of numbers that hold codes such as `01`, which numbers would lose."""
        if not numeric or not _may_hold_codes(self.path, self.delimiter):
            return []
        found: set[str] = set()
        for chunk in self._chunks(dict.fromkeys(numeric, str), usecols=numeric):
            found |= {n for n in numeric if n not in found and chunk[n].str.match(CODE, na=False).any()}
        return [name for name in numeric if name in found]

    def _refuse_ragged(self) -> None:
        """Raise where a row has another number of cells than there are columns."""
        try:
            for row, record in enumerate(self._records(), start=-1):
                if row >= 0 and len(record) != len(self.names):
                    raise _ragged(self.path, row, len(record), len(self.names))
        except (csv.Error, MemoryError, UnfitFileError) as error:  # a cell without an end, or a row
            raise _unreadable(self.path, error) from error

    def _records(self) -> Iterator[list[str]]:
        with _text(self.path) as file:
            for _ in range(self.skipped):
                file.readline()
            yield from (
                record for record in csv.reader(_fitting(file, self.delimiter), delimiter=self.delimiter) if record
            )


def _fitting(lines: Iterable[str], delimiter: str) -> Iterator[str]:
    """Yield lines, none of which holds more cells than memory does."""
    for line in lines:
        if len(line) > LONG_LINE:
            check_fits(line.count(delimiter) * CELL_BYTES)
        yield line


def _num_cells(records: Iterator[list[str]]) -> int:
    """Return how many cells the next row has, 0 where it cannot be told."""
    try:
        return len(next(records, []))
    except csv.Error:
        return 0


def _ragged(path: Path, row: int, cells: int, columns: int) -> DataError:
    return DataError(
        f"{path}: row {row} (from 0) has {format_count(cells, 'cell')}, and there "
        f"{verb_of(columns, 'is', 'are')} {format_count(columns, 'column')}"
    )


def _check_names(path: Path, names: list[str]) -> None:
    if not names:
        raise DataError(f"{path} is empty: expected a line of column names and rows")
    numbers = [name for name in names if is_number(name) and math.isfinite(float(name))]  # no column called nan
    fractions = [name for name in numbers if not name.isdigit()]
    if fractions or len(numbers) == len(names):
        raise DataError(
            f"{path} begins with numbers ({', '.join((fractions or numbers)[:3])}): expected a first line that names "
            "the columns; write one above the rows"
        )
    named = [name for name in names if name]
    if len(set(named)) < len(named):
        twice = next(name for name in named if named.count(name) > 1)
        raise DataError(f"{path} has two columns called {twice!r}: rename one")
    if names.count("") > 1:
        raise DataError(f"{path} has {names.count('')} columns without a name in its first line: name them")


def _first_record(file: TextIOWrapper) -> list[str]:
    """Return the first lines of a file, up to the one that ends a cell in quotes, if one soon does."""
    lines, quotes = [file.readline()], 0
    while (quotes := quotes + lines[-1].count('"')) % 2 and lines[-1] and len(lines) < LINES_OF_A_RECORD:
        lines.append(file.readline())
    return lines


def _text(path: Path) -> TextIOWrapper:
    return TextIOWrapper(_binary(path), encoding="utf-8-sig", newline="")


def _binary(path: Path) -> BufferedReader:
    file, unpack = open_regular(path), COMPRESSIONS.get(path.suffix.lower())
    return BufferedReader(BoundedReader(file if unpack is None else unpack(file), file))


def _unreadable(path: Path, error: Exception) -> DataError:
    advice = ": save it as UTF-8" if isinstance(error, UnicodeError) else ""
    reason = " ".join(str(error).split()) or "there is too little memory"
    return DataError(f"{path} cannot be read as CSV in UTF-8 ({reason}){advice}")


def _is_mixed(series: pd.Series) -> bool:
    """Return whether pandas gave one column several types, or truth values, which are texts with one spelling here."""
    return series.dtype == bool or (series.dtype == object and not series.isna().all())


def _has_lost_digits(values: pd.Series) -> bool:
    """Return whether pandas may have read whole numbers as floats that do not hold them.

    It does where some are missing, or where one block of rows has numbers from 2^63 on.
    """
    is_float = values.dtype.kind == "f" and bool(values.abs().max() > EXACT)
    return is_float and bool((values.dropna() % 1 == 0).all())


def _may_be_codes(values: pd.Series) -> bool:
    """Return whether a column is of numbers that are whole, as far as a look at the first of them tells."""
    return values.dtype.kind in "iu" or (
        values.dtype.kind == "f" and bool((values.iloc[:1000].dropna() % 1 == 0).all())
    )


def _may_hold_codes(path: Path, delimiter: str) -> bool:
    """Return whether a cell begins with 0 and another digit: a look at the bytes, faster than any parser."""
    begins, is_sign = np.zeros(256, bool), np.zeros(256, bool)
    begins[[ord(delimiter), *b'\n\r"']] = is_sign[[*b" +-"]] = True
    last = np.empty(0, np.uint8)
    for block in _blocks(path):
        content = np.concatenate([last, np.frombuffer(block, np.uint8)])
        # A zero with a digit behind it; unsigned, so that what lies below "0" is far above 9.
        zeros = np.flatnonzero((content[2:-1] == ord("0")) & (content[3:] - np.uint8(ord("0")) <= 9)) + 2  # noqa: PLR2004, RUF100
        before, further = content[zeros - 1], content[zeros - 2]
        if (begins[before] | (is_sign[before] & begins[further])).any():
            return True
        last = content[-3:]
    return False


def _blocks(path: Path) -> Iterator[bytes]:
    try:
        with _binary(path) as file:
            while block := file.read(SCANNED_BYTES):
                yield block
    except OSError as error:
        raise _unreadable(path, error) from error


def _missing_spellings() -> list[str]:
    """Return the spellings of what is missing in every case, as pandas compares letter by letter."""
    return sorted({"".join(letters) for spelling in MISSING_SPELLINGS for letters in _cases(spelling)})


def _cases(spelling: str) -> Iterable[tuple[str, ...]]:
    return itertools.product(*({letter.lower(), letter.upper()} for letter in spelling))
