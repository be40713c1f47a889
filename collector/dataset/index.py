"""``index.json``: which parts make up the dataset, and what is known of every file.

``columns`` tells by which tables and columns the parts were written: those of another release lack
a column or have one too many, and ``collect`` reads every block file again.

The parts and the index are enough to read the dataset. A reader takes the parts of its table, and
leaves out the rows of the attempts that ``superseded`` lists as [campaign, block, attempt]: parts
are never rewritten because a later attempt arrived.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from collector.dataset.durable import write_whole
from collector.dataset.errors import DatasetError
from collector.schema import TABLES, VERSION

INDEX_NAME: Final = "index.json"
PARTS_FOLDER: Final = "parts"

_NAMED: Final = [[table, [[c.name, c.kind] for c in cs]] for table, cs in TABLES.items()]
COLUMNS: Final = hashlib.sha256(json.dumps(_NAMED).encode()).hexdigest()[:16]

FileState = Literal["good", "quarantined", "duplicate"]
Attempt = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class Part:
    """One Parquet file: rows of ``table`` from the block files whose hashes are in ``blocks``."""

    table: str
    campaign: str
    file: str
    sha256: str
    rows: int
    blocks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a blocks folder; size and time say whether it must be read again.

    ``block`` and ``attempt`` are those of its header, null where that could not be believed.
    A ``duplicate`` has the bytes of another file, and no rows of its own.
    """

    campaign: str
    name: str
    bytes: int
    mtime_ns: int
    sha256: str | None
    state: FileState
    block: int | None = None
    attempt: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Index:
    """What ``index.json`` holds. ``plans``: campaign -> hash of the plan the files were read by."""

    generation: int = 0
    parts: tuple[Part, ...] = ()
    superseded: tuple[Attempt, ...] = ()
    plans: Mapping[str, str] = field(default_factory=dict)
    files: tuple[FileEntry, ...] = ()
    columns: str = COLUMNS

    def same_content(self, other: Index) -> bool:
        """Whether both describe the same dataset; the generation apart."""
        mine = (self.parts, self.superseded, dict(self.plans), self.files, self.columns)
        others = (other.parts, other.superseded, dict(other.plans), other.files, other.columns)
        return mine == others

    def files_of(self, campaign: str) -> dict[str, FileEntry]:
        """What is known of a campaign's files, by name."""
        return {entry.name: entry for entry in self.files if entry.campaign == campaign}

    def to_json(self) -> bytes:
        """One part or file a line: a person can read it, and the C encoder writes it."""
        lines = [
            f'{{"schema": {VERSION},',
            f' "generation": {self.generation},',
            f' "columns": {json.dumps(self.columns)},',
            f' "plans": {json.dumps(self.plans, sort_keys=True)},',
            f' "superseded": {json.dumps(self.superseded)},',
            f' "parts": {_listed(asdict(part) for part in self.parts)},',
            f' "files": {_listed(asdict(entry) for entry in self.files)}}}',
        ]
        return ("\n".join(lines) + "\n").encode()

    def save(self, folder: Path) -> None:
        """Replace ``folder``/index.json atomically. Raises ``OSError``."""
        write_whole(folder / INDEX_NAME, self.to_json())


def _listed(items: Iterable[Mapping[str, Any]]) -> str:
    return "[" + ",".join(f"\n  {json.dumps(item)}" for item in items) + "]"


def load_index(folder: Path) -> Index | None:
    """The index of the dataset in ``folder``; None if nothing was collected yet.

    Raises ``DatasetError`` if it is no index of this schema.
    """
    path = folder / INDEX_NAME
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}") from None
    try:
        found = json.loads(data)
        if found.get("schema") != VERSION:
            raise ValueError(f"schema {found.get('schema')!r}, not {VERSION}")
        return Index(
            generation=int(found["generation"]),
            parts=tuple(
                Part(**{**part, "blocks": tuple(part["blocks"])}) for part in found["parts"]
            ),
            superseded=tuple(
                (str(campaign), int(block), int(attempt))
                for campaign, block, attempt in found["superseded"]
            ),
            plans=dict(found["plans"]),
            files=tuple(FileEntry(**entry) for entry in found["files"]),
            columns=str(found.get("columns", "")),
        )
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise DatasetError(
            f"{path}: no index of a dataset ({error}); move the folder away and run "
            "'collect --rebuild': everything is made again from the block files"
        ) from None
