"""``proofs.json`` of a campaign -> rows of the table ``proofs``.

What the engine made sure of before block 1 of an experiment with a mesh, with what it saw. The
file is small and read whole, whenever the dataset is brought up to date. One that cannot be
believed is an entry of the table ``files`` with its reason, and has no rows.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from collector.dataset.durable import chunks, sha256_of
from collector.dataset.fields import FieldError, maybe_flag, maybe_number, strings, text
from collector.dataset.index import FileEntry
from collector.dataset.tables import RowError, from_rows
from collector.schema import VERSION

PROOFS_NAME: Final = "proofs.json"
PROOFS_LIMIT: Final = 1024 * 1024
COUNT_LIMIT: Final = 1000
TABLE: Final = "proofs"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,79}")

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Proofs:
    """A campaign's proofs, and the index's entry of their file; None where there is no file."""

    rows: tuple[Row, ...] = ()
    entry: FileEntry | None = None


def read_proofs(folder: Path, campaign: str) -> Proofs:
    """Read ``folder``/proofs.json. A file that is refused is an entry with the reason, no error."""
    path = folder / PROOFS_NAME
    try:
        facts = path.lstat()
    except FileNotFoundError:
        return Proofs()
    sha256 = reason = None
    rows: tuple[Row, ...] = ()
    try:
        if not stat.S_ISREG(facts.st_mode):
            raise FieldError("no regular file: links, devices and folders are not read")
        if facts.st_size > PROOFS_LIMIT:
            raise FieldError(f"{facts.st_size} bytes; at most {PROOFS_LIMIT} are read")
        sha256 = sha256_of(path)
        rows = parse_proofs(b"".join(chunks(path)), campaign)
    except OSError as error:
        reason = f"{PROOFS_NAME}:1: {os.strerror(error.errno or 0)}"
    except (FieldError, ValueError, RecursionError) as error:
        reason = f"{PROOFS_NAME}:{getattr(error, 'lineno', 1)}: {error}"
    entry = FileEntry(
        campaign=campaign,
        name=PROOFS_NAME,
        bytes=facts.st_size,
        mtime_ns=facts.st_mtime_ns,
        sha256=sha256,
        state="good" if reason is None else "quarantined",
        reason=reason,
    )
    return Proofs(rows, entry)


def parse_proofs(data: bytes, campaign: str) -> tuple[Row, ...]:
    """The file's bytes -> rows. Raises ``ValueError`` (``FieldError`` is one) saying what is wrong.

    >>> row, = parse_proofs(b'''{"schema": 1, "campaign": "mesh-1", "made_wall_s": 1.5, "proofs": [
    ...     {"name": "no-route", "claim": "No route.", "passed": true, "evidence": ["lab-2: lo"]}
    ... ]}''', "mesh-1")
    >>> row["proof"], row["passed"], row["evidence"]
    ('no-route', True, '["lab-2: lo"]')
    """
    found: Any = json.loads(data)
    if not isinstance(found, dict) or found.get("schema") != VERSION:
        raise FieldError(f"no proofs: expected an object of schema {VERSION}")
    if text(found, "campaign") != campaign:
        raise FieldError(f"belongs to campaign {found['campaign']!r:.120}, not {campaign!r}")
    listed, made = found.get("proofs"), maybe_number(found, "made_wall_s")
    if not isinstance(listed, list) or not 0 < len(listed) <= COUNT_LIMIT:
        raise FieldError(f"'proofs': expected a list of 1 to {COUNT_LIMIT} proofs")
    rows = tuple(_row(item, campaign, made) for item in listed)
    names = [row["proof"] for row in rows]
    if twice := {name for name in names if names.count(name) > 1}:
        raise FieldError(f"proof {min(twice)!r} stands twice")
    try:
        from_rows(TABLE, rows)
    except RowError as error:
        raise FieldError(str(error)) from None
    return rows


def _row(item: Any, campaign: str, made_wall_s: float | None) -> Row:
    if not isinstance(item, dict):
        raise FieldError(f"'proofs': expected objects, found {type(item).__name__}")
    name = text(item, "name")
    if not _NAME.fullmatch(name):
        raise FieldError(f"'name': expected up to 80 of a-z, 0-9 and hyphen, found {name!r:.120}")
    passed = maybe_flag(item, "passed")
    if passed is None:
        raise FieldError(f"proof {name!r}: 'passed': expected true or false, found nothing")
    return {
        "campaign": campaign,
        "proof": name,
        "claim": text(item, "claim"),
        "passed": passed,
        "evidence": json.dumps(strings(item, "evidence"), ensure_ascii=False),
        "made_wall_s": made_wall_s,
    }


def failed(rows: Iterable[Row]) -> Iterator[str]:
    """Each proof that did not hold: its name and its claim."""
    for row in rows:
        if not row["passed"]:
            yield f"{row['proof']}: {row['claim']}"
