"""A batch of block files -> Parquet parts. Runs in a worker process; memory bounded by the batch.

A batch is cut by bytes, not by the number of CPUs, so that the same files give the same parts
everywhere.
"""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from collector.blockfile import BlockFileError
from collector.dataset.durable import sha256_of, write_whole
from collector.dataset.errors import DatasetError
from collector.dataset.index import PARTS_FOLDER, FileEntry, Part
from collector.dataset.planned import PLAN_NAME, Planned, read_plan
from collector.dataset.read import BlockRows, read_block
from collector.dataset.scan import Candidate, entry_of, reason_of
from collector.dataset.tables import PART_TABLES, RowError, block_tables, parquet_bytes

BATCH_BYTES: Final = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Batch:
    """Files of one campaign that become one part a table."""

    campaign_folder: Path
    campaign: str
    plan_sha256: str
    files: tuple[Candidate, ...]

    @property
    def bytes(self) -> int:
        """Size of the files together."""
        return sum(one.bytes for one in self.files)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a batch became: its parts, and an entry for each of its files."""

    parts: tuple[Part, ...]
    files: tuple[FileEntry, ...]


def cut(
    campaign_folder: Path, planned: Planned, candidates: Iterable[Candidate]
) -> Iterator[Batch]:
    """Cut candidates, in the order of block and attempt, into batches of about ``BATCH_BYTES``."""
    files: list[Candidate] = []
    size = 0
    for one in sorted(candidates, key=lambda one: (one.block, one.attempt)):
        if files and size + one.bytes > BATCH_BYTES:
            yield Batch(campaign_folder, planned.campaign, planned.sha256, tuple(files))
            files, size = [], 0
        files.append(one)
        size += one.bytes
    if files:
        yield Batch(campaign_folder, planned.campaign, planned.sha256, tuple(files))


def leave_interrupts_to_the_parent() -> None:
    """Ctrl-C reaches every process of the terminal; only the one that can clean up acts on it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def make_parts(batch: Batch, dataset: Path | None) -> Outcome:
    """Read a batch and write its parts below ``dataset``; with None nothing is written.

    A file that cannot be believed is an entry with its reason. Raises ``DatasetError`` if the
    plan changed meanwhile, ``OSError`` if the parts cannot be written.
    """
    planned = _plan(batch.campaign_folder / PLAN_NAME, batch.plan_sha256)
    entries: list[FileEntry] = []
    tables: dict[str, list[Any]] = {table: [] for table in PART_TABLES}
    for one in batch.files:
        try:
            rows = read_block(one.path, planned)
            made = _tables(one, rows)
        except (BlockFileError, OSError) as error:
            sha256 = None if isinstance(error, OSError) else sha256_of(one.path)
            reason = reason_of(one.name, error)
            entries.append(entry_of(one, batch.campaign, sha256, "quarantined", reason))
            continue
        entries.append(entry_of(one, batch.campaign, rows.sha256, "good"))
        for table, content in made.items():
            tables[table].append(content)
    blocks = tuple(entry.sha256 for entry in entries if entry.state == "good" and entry.sha256)
    parts = tuple(_parts(tables, batch.campaign, blocks, dataset))
    return Outcome(parts, tuple(entries))


@lru_cache(maxsize=2)
def _plan(path: Path, sha256: str) -> Planned:
    planned = read_plan(path)
    if planned.sha256 != sha256:
        raise DatasetError(f"{path}: changed while it was read; run collect again")
    return planned


def _tables(one: Candidate, rows: BlockRows) -> dict[str, Any]:
    try:
        return block_tables(rows)
    except RowError as error:
        # Rows of runs know their line; the others come from the header.
        line = rows.runs[error.row]["line"] if error.table == "runs" else 1
        raise BlockFileError(one.path, line, str(error)) from None


def _parts(
    tables: dict[str, list[Any]], campaign: str, blocks: tuple[str, ...], dataset: Path | None
) -> Iterator[Part]:
    for table, contents in tables.items():
        if not any(content.num_rows for content in contents):
            continue
        data, rows = parquet_bytes(table, contents)
        yield write_part(dataset, Part(table, campaign, "", "", rows, blocks), data)


def write_part(dataset: Path | None, part: Part, data: memoryview) -> Part:
    """Write a part under the hash of its content; returns it with name and hash."""
    sha256 = hashlib.sha256(data).hexdigest()
    name = f"{PARTS_FOLDER}/{part.table}-{sha256}.parquet"
    if dataset is not None:
        write_whole(dataset / name, data)
    return Part(part.table, part.campaign, name, sha256, part.rows, part.blocks)
