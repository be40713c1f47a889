"""One run as it was: from the dataset to the line of its block file, for a person.

What a tool printed is shown with its control characters escaped; extracted files have names that
the data cannot choose.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from collector.blockfile import BlockFileError, read_lines
from collector.dataset.errors import DatasetError
from collector.dataset.fields import FieldError, content, mapping, maybe_mapping
from collector.dataset.index import Index
from collector.dataset.load import load_table
from collector.dataset.output import BlobError, file_bytes
from collector.dataset.store import Places
from collector.schema import RECORD, RUNS, SUPERSEDED

# \N is not in the pattern: newline and tab stay, everything else that moves a cursor does not.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_ROLE: Final = re.compile(r"[a-z][a-z0-9_]{0,30}")
RUN_ID: Final = re.compile(r"[0-9a-f]{4,64}")


@dataclass(frozen=True, slots=True)
class Shown:
    """One attempt at a run: its row, its body, and the block file that holds it."""

    row: dict[str, Any]
    body: dict[str, Any]
    path: Path
    attempts: int

    @property
    def measure(self) -> dict[str, Any]:
        """The measured invocation."""
        return mapping(self.body, "measure")

    def stdout(self) -> bytes:
        """What the tool printed."""
        return content(self.measure, "stdout", "stdout_b64")

    def files(self) -> dict[str, bytes]:
        """Fixed name -> bytes of everything that the run left."""
        found = {
            "stdout.txt": self.stdout(),
            "stderr.txt": content(self.measure, "stderr", "stderr_b64"),
            "run.json": (json.dumps(self.body, indent=2, sort_keys=True) + "\n").encode(),
        }
        listed = maybe_mapping(self.measure, "files") or {}
        for number, role in enumerate(sorted(listed), start=1):
            name = role if _ROLE.fullmatch(role) else str(number)
            found[f"file-{name}"] = file_bytes(mapping(listed, role), self.path)
        return found


def find_run(places: Places, index: Index, run: str) -> Shown:
    """The last attempt at ``run`` (an id, or the beginning of only one).

    Raises ``DatasetError`` if there is none, several, or its block file is no longer whole.
    """
    if not RUN_ID.fullmatch(run):
        raise DatasetError(f"{run!r:.80}: no run id; expected 4 or more of 0-9 and a-f")
    table = load_table(places.dataset, index, "runs", columns=("run",))
    ids = {one for one in table["run"].to_pylist() if one.startswith(run)}
    if len(ids) != 1:
        found = f"{len(ids)} runs begin so" if ids else "no such run in the dataset"
        raise DatasetError(f"{run}: {found}; 'collect' reads new block files")
    whole = load_table(places.dataset, index, "runs")
    rows = list(_rows(whole, ids.pop()))
    row = max(rows, key=lambda row: (row["state"] != SUPERSEDED, row["attempt"]))
    path = _path(places, index, row)
    try:
        bodies = (body for line, body in read_lines(path) if line == row["line"])
        body = next(bodies, None)
    except (BlockFileError, OSError) as error:
        raise DatasetError(f"{error}") from None
    if body is None or body.get("run") != row["run"]:
        raise DatasetError(f"{path}: line {row['line']} is not run {row['run']}; rebuild")
    return Shown(row, body, path, len(rows))


def _rows(table: Any, run: str) -> Iterator[dict[str, Any]]:
    for place, found in enumerate(table["run"].to_pylist()):
        if found == run:
            yield from table.slice(place, 1).to_pylist()


def _path(places: Places, index: Index, row: dict[str, Any]) -> Path:
    for entry in index.files:
        if entry.state == "good" and entry.sha256 == row["block_sha256"]:
            return places.campaigns / entry.campaign / "blocks" / entry.name
    raise DatasetError(f"{row['block_file']}: is gone; run 'collect'")


def describe(shown: Shown) -> str:
    """The run for a terminal: what was called, when, how it ended, figures, output."""
    row, measure = shown.row, shown.measure
    argv = measure.get("argv")
    argv = argv if isinstance(argv, list) else [argv]
    lines = [
        f"run        {row['run']}, attempt {row['attempt']} of {shown.attempts} on record",
        f"state      {row['state']}" + (f": {row['reasons']}" if row["reasons"] else ""),
        f"warnings   {row['warnings'] or 'none'}",
        f"slot       {row['campaign']} block {row['block']} position {row['position']}: "
        f"{row['arm']}/{row['copy']} {row['variant']} on {_hosts(row)} from {row['load_host']}",
        f"file       {shown.path}:{row['line']}",
        f"argv       {json.dumps(argv)}",
        f"exit code  {row['exit_code']}",
        f"started    {_moment(row['started_wall_s'])}",
        f"times      warm-up {_number(row['warmup_s'])} s, "
        f"measured {_number(row['measured_s'])} s, overhead {_number(row['overhead_s'])} s",
        "",
    ]
    figures = {column.name for column in RECORD}
    for column in RUNS:
        measured = column.name in figures or column.unit not in ("", "s")
        measured = measured or column.name.endswith("_cpu_s")
        if measured and row[column.name] is not None:
            lines.append(f"{column.name:26} {_number(row[column.name]):>16} {column.unit}".rstrip())
    lines += ["", "stdout", shown.stdout().decode("utf-8", "backslashreplace").rstrip("\n")]
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", "\n".join(lines)) + "\n"


def _hosts(row: dict[str, Any]) -> str:
    return f"{row['host']} and {row['peer']}" if row["peer"] else str(row["host"])


def _moment(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    return datetime.fromtimestamp(seconds, UTC).isoformat(sep=" ", timespec="milliseconds")


def _number(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "unknown" if value is None else str(value)


def extract(shown: Shown, folder: Path) -> list[Path]:
    """Write the run's files below ``folder``; refuses to overwrite. Raises ``DatasetError``."""
    try:
        files = shown.files()
        folder.mkdir(parents=True, exist_ok=True)
        present = [name for name in files if os.path.lexists(folder / name)]
        if present:
            raise DatasetError(f"{folder / present[0]}: is there already; name another folder")
        for name, data in files.items():
            with (folder / name).open("xb") as stream:
                stream.write(data)
    except (FieldError, BlobError) as error:
        raise DatasetError(f"{shown.path}: {error}") from None
    except OSError as error:
        raise DatasetError(f"{error.filename or folder}: {error.strerror}") from None
    return [folder / name for name in files]
