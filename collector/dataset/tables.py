"""Rows -> Arrow tables with the types of ``collector.schema`` -> Parquet bytes.

The same rows give the same bytes, so that a part's name can be the hash of its content.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from collector.dataset.read import BlockRows, HistogramRows
from collector.schema import TABLES, Column

# Read back as plain strings: the file's own dictionary encoding is enough.
_WRITE: Final[Mapping[str, Any]] = {
    "compression": "zstd",
    "compression_level": 3,
    "store_schema": False,
    "write_statistics": True,
}
_TYPES: Final = {
    "string": pa.string(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
}
# What block files become; the other tables are made anew by each collect.
PART_TABLES: Final = (
    "runs",
    "containers",
    "hosts",
    "histograms",
    "cells",
    "cell_histograms",
    "bindings",
)


class RowError(ValueError):
    """A row holds a value that its column cannot: ``row`` from 0, ``column``."""

    def __init__(self, table: str, row: int, column: str, value: object) -> None:
        super().__init__(f"{table}.{column}: cannot hold {value!r:.80}")
        self.table = table
        self.row = row
        self.column = column


def arrow_schema(table: str) -> pa.Schema:
    """The Arrow schema of one of the tables."""
    return pa.schema([pa.field(one.name, _TYPES[one.kind]) for one in TABLES[table]])


def from_rows(table: str, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows of ``table`` (every column a key) -> Arrow. Raises ``RowError``."""
    columns = TABLES[table]
    arrays = [_column(table, column, [row[column.name] for row in rows]) for column in columns]
    return pa.Table.from_arrays(arrays, schema=arrow_schema(table))


def _column(table: str, column: Column, values: list[Any]) -> pa.Array:
    try:
        return pa.array(values, type=_TYPES[column.kind])
    except (pa.ArrowException, OverflowError, UnicodeEncodeError, TypeError, ValueError):
        raise _find(table, column, values) from None


def _find(table: str, column: Column, values: list[Any]) -> RowError:
    for row, value in enumerate(values):
        try:
            pa.array([value], type=_TYPES[column.kind])
        except (pa.ArrowException, OverflowError, UnicodeEncodeError, TypeError, ValueError):
            return RowError(table, row, column.name, value)
    return RowError(table, 0, column.name, values)


def histogram_table(rows: HistogramRows, attempt: int) -> pa.Table:
    """Histograms of a block -> Arrow: one row a value, ``run`` as a dictionary."""
    indices = np.repeat(np.arange(len(rows.runs), dtype=np.int32), rows.lengths)
    runs = pa.DictionaryArray.from_arrays(pa.array(indices), pa.array(rows.runs, pa.string()))
    return pa.table(
        {
            "run": runs,
            "attempt": pa.array(np.full(len(indices), attempt, dtype=np.int64)),
            "value_us": pa.array(np.frombuffer(rows.values_us, dtype=np.int64)),
            "count": pa.array(np.frombuffer(rows.counts, dtype=np.int64)),
        }
    )


def block_tables(rows: BlockRows) -> dict[str, pa.Table]:
    """The tables of one block file. Raises ``RowError``."""
    return {
        "runs": from_rows("runs", rows.runs),
        "containers": from_rows("containers", rows.containers),
        "hosts": from_rows("hosts", rows.hosts),
        "histograms": histogram_table(rows.histograms, rows.attempt),
        "cells": from_rows("cells", rows.cells),
        "cell_histograms": from_rows("cell_histograms", rows.cell_histograms),
        "bindings": from_rows("bindings", rows.bindings),
    }


def parquet_bytes(table: str, tables: Iterable[pa.Table]) -> tuple[memoryview, int]:
    """Tables of several blocks -> one Parquet part: its bytes and its number of rows."""
    joined = pa.concat_tables(list(tables)).unify_dictionaries()
    sink = pa.BufferOutputStream()
    pq.write_table(joined, sink, **_WRITE, **_encodings(table), row_group_size=2**20)
    return memoryview(sink.getvalue()), joined.num_rows


def _encodings(table: str) -> dict[str, Any]:
    if table != "histograms":
        return {"use_dictionary": True}
    # Values ascend within a run: differences are small, a dictionary would not be.
    return {
        "use_dictionary": ["run", "attempt"],
        "column_encoding": {"value_us": "DELTA_BINARY_PACKED", "count": "DELTA_BINARY_PACKED"},
    }
