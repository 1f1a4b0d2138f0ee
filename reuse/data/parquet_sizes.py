"""How much memory a Parquet file takes when it is read, which may be any multiple of what it takes on the disk."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

from reuse.data.table_libraries import pa, pq
from reuse.files import check_fits, room

VALUE_BYTES = 8  # of a number
TEXTS = "BYTE_ARRAY"


def check_parquet(file: BinaryIO) -> None:
    """Raise where the values of a Parquet file would not fit in memory.

    A text that stands in many rows is written once, and read once a row; lists hold more values than there are rows.

    Raises:
        UnfitFileError: the message says how much it would take.
    """
    footer = pq.read_metadata(file)
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    chunks = [group.column(column) for group in groups for column in range(footer.num_columns)]
    values = sum(chunk.num_values for chunk in chunks)
    check_fits(max(values, footer.num_rows * footer.num_columns) * VALUE_BYTES)
    check_fits(sum(chunk.total_uncompressed_size for chunk in chunks))
    columns = sorted({chunk.path_in_schema for chunk in chunks if _repeats_texts(chunk)})
    if columns and _most_bytes(file, columns) > room():  # only then each text is counted
        check_fits(_bytes_of_texts(file, columns))


def _repeats_texts(chunk: pq.ColumnChunkMetaData) -> bool:
    return bool(chunk.physical_type == TEXTS and chunk.has_dictionary_page)


def _most_bytes(file: BinaryIO, columns: list[str]) -> int:
    """Return how many bytes some columns would take if each row held the longest of the texts that are written once."""
    table, total = pq.ParquetFile(file, read_dictionary=columns), 0
    for group in range(table.num_row_groups):
        first = next(table.iter_batches(1, [group], columns), None)
        longest = [int(_lengths(column).max(initial=0)) for column in first.columns] if first else []
        total += table.metadata.row_group(group).num_rows * sum(longest)
    return total


def _bytes_of_texts(file: BinaryIO, columns: list[str]) -> int:
    """Return the bytes of columns of texts, of which each different one is read once."""
    table, total = pq.ParquetFile(file, read_dictionary=columns), 0
    for batch in table.iter_batches(columns=columns):
        total += sum(_bytes_of(column) for column in batch.columns)
    return total


def _bytes_of(column: pa.Array) -> int:
    """Return the bytes of a column's texts, one a row."""
    lengths = _lengths(column)
    rows = column.indices.drop_null().to_numpy() if len(lengths) else []
    return int(np.bincount(rows, minlength=len(lengths)).astype(np.int64) @ lengths) if len(lengths) else 0


def _lengths(column: pa.Array) -> np.ndarray:
    """Return the bytes of each different text of a column; none of lists and others, whose bytes are counted once."""
    from pyarrow import compute

    if not isinstance(column, pa.DictionaryArray):
        return np.zeros(0, np.int64)
    lengths: np.ndarray = compute.fill_null(compute.binary_length(column.dictionary), 0).to_numpy().astype(np.int64)
    return lengths
