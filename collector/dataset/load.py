"""Reading the dataset back: tables with ``superseded`` laid over them, and one run's raw files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from collector.dataset.errors import DatasetError, DatasetMissingError
from collector.dataset.index import Index, Part, load_index
from collector.dataset.tables import arrow_schema
from collector.schema import SUPERSEDED

# What tells an attempt of a block apart; the tables that have these columns also say their state.
_ATTEMPT: Final = ("campaign", "block", "attempt")


def require_index(dataset: Path) -> Index:
    """The index; raises ``DatasetMissingError`` if nothing was collected yet."""
    index = load_index(dataset)
    if index is None:
        raise DatasetMissingError(f"{dataset}: no dataset yet; run 'python -m collector collect'")
    return index


def load_table(
    dataset: Path,
    index: Index,
    table: str,
    *,
    campaign: str | None = None,
    columns: Sequence[str] | None = None,
) -> pa.Table:
    """One table of the dataset, all its parts. Rows of superseded attempts say so.

    ``columns`` limits what is read. Raises ``DatasetError`` for a part that is missing or broken.
    """
    schema = arrow_schema(table)
    wanted = schema if columns is None else pa.schema([schema.field(name) for name in columns])
    found = [part_table(dataset, index, part, wanted.names) for part in _of(index, table, campaign)]
    return pa.concat_tables(found) if found else wanted.empty_table()


def parts_of(dataset: Path, index: Index, table: str) -> Iterator[pa.Table]:
    """The parts of one table, one after the other: memory is bounded by a part."""
    for part in _of(index, table, None):
        yield part_table(dataset, index, part, arrow_schema(table).names)


def _of(index: Index, table: str, campaign: str | None) -> Iterator[Part]:
    for part in index.parts:
        if part.table == table and campaign in (None, part.campaign):
            yield part


def part_table(dataset: Path, index: Index, part: Part, columns: Sequence[str]) -> pa.Table:
    """One part's columns, ``superseded`` laid over its states."""
    gone = [attempt for attempt in index.superseded if attempt[0] == part.campaign]
    overlay = part.table == "runs" and "state" in columns and gone
    extra = [name for name in _ATTEMPT if name not in columns] if overlay else []
    try:
        found = pq.read_table(dataset / part.file, columns=[*columns, *extra], partitioning=None)
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(f"{dataset / part.file}: {error}; run 'collect --rebuild'") from None
    if overlay:
        found = _overlay(found, gone)
    return found.select(list(columns))


def _overlay(table: pa.Table, gone: Sequence[tuple[str, int, int]]) -> pa.Table:
    keys = pc.binary_join_element_wise(
        pc.cast(table["block"], pa.string()), pc.cast(table["attempt"], pa.string()), "/"
    )
    lost = pc.is_in(keys, value_set=pa.array([f"{block}/{attempt}" for _, block, attempt in gone]))
    state: Any = pc.if_else(lost, pa.scalar(SUPERSEDED), table["state"])
    return table.set_column(table.schema.get_field_index("state"), "state", state)
