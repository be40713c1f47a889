"""Parts that each ``collect`` makes anew, of what it knows of a campaign: files and proofs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from collector.dataset.batch import write_part
from collector.dataset.index import Attempt, FileEntry, Part
from collector.dataset.proofs import PROOFS_NAME
from collector.dataset.tables import from_rows, parquet_bytes
from collector.schema import GOOD, QUARANTINED, SUPERSEDED


def rows_part(dataset: Path | None, table: str, campaign: str, rows: list[dict[str, Any]]) -> Part:
    """A part that is made anew each time, of no block file; with None nothing is written."""
    data, count = parquet_bytes(table, [from_rows(table, rows)])
    return write_part(dataset, Part(table, campaign, "", "", count, ()), data)


def superseded_attempts(entries: Iterable[FileEntry]) -> set[Attempt]:
    """Attempts at a block after which a later one is there."""
    attempts: dict[tuple[str, int], set[int]] = {}
    for entry in entries:
        if entry.block is not None and entry.attempt is not None:
            attempts.setdefault((entry.campaign, entry.block), set()).add(entry.attempt)
    return {
        (campaign, block, attempt)
        for (campaign, block), numbers in attempts.items()
        for attempt in numbers - {max(numbers)}
    }


def file_rows(entries: list[FileEntry], superseded: set[Attempt]) -> list[dict[str, Any]]:
    """Rows of the table ``files``; a duplicate has none."""
    rows = []
    for entry in entries:
        if entry.state == "duplicate":
            continue
        state = GOOD if entry.state == "good" else QUARANTINED
        identified = entry.block is not None and entry.attempt is not None
        kind = "block" if identified else "foreign"
        if not identified and entry.name == PROOFS_NAME:
            kind = "proofs"
        attempt = (entry.campaign, entry.block or 0, entry.attempt or 0)
        if state == GOOD and identified and attempt in superseded:
            state = SUPERSEDED
        rows.append(
            {
                "name": entry.name,
                "kind": kind,
                "campaign": None if kind == "foreign" else entry.campaign,
                "block": entry.block,
                "attempt": entry.attempt,
                "bytes": entry.bytes,
                "sha256": entry.sha256,
                "state": state,
                "reason": entry.reason,
            }
        )
    return rows
