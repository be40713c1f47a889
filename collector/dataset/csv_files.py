"""The dataset as CSV, one file a table, for people and spreadsheets.

A spreadsheet reads a cell that begins with = + - @ as a formula, and labels come from outside, so
such strings get an apostrophe in front. Numbers stay as they are. Null is an empty cell, an empty
string two quotes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from collector.dataset.index import Index
from collector.dataset.load import parts_of
from collector.dataset.tables import arrow_schema
from collector.schema import TABLES

# Tab and carriage return are skipped by spreadsheets before they look for a formula.
_FORMULA: Final = r"^([=+\-@\t\r])"


def write_csv(dataset: Path, index: Index, folder: Path) -> list[Path]:
    """Write every table below ``folder``; returns the files. Memory is bounded by a part."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for table in TABLES:
        path = folder / f"{table}.csv"
        with pacsv.CSVWriter(path, arrow_schema(table)) as writer:
            for part in parts_of(dataset, index, table):
                writer.write_table(_safe(part))
        written.append(path)
    return written


def _safe(table: pa.Table) -> pa.Table:
    for place, column in enumerate(table.schema):
        if pa.types.is_string(column.type):
            safe: Any = pc.replace_substring_regex(table[column.name], _FORMULA, r"'\1")
            table = table.set_column(place, column, safe)
    return table
