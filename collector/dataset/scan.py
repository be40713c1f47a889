"""What lies in a campaign's blocks folder, and which of it must be read.

Looks at names, sizes, times and first lines only. A file already known by name, size and time is
not opened again (``collect --verify`` and ``--rebuild`` read everything). Files that are no block
files are quarantined here; links, devices and folders are never opened. Names that end in
``.part`` are still being written or fetched, and are left alone.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from collector.blockfile import (
    BLOB_NAME,
    BlockFileError,
    block_name,
    read_header,
)
from collector.dataset.durable import sha256_of
from collector.dataset.errors import DatasetError
from collector.dataset.fields import FieldError
from collector.dataset.header import check_identity
from collector.dataset.index import FileEntry, FileState
from collector.dataset.planned import Planned

FILE_CAP: Final = 256 * 1024 * 1024
UNFINISHED: Final = ".part"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A block file to be read, with the identity that its header claims."""

    name: str
    path: Path
    bytes: int
    mtime_ns: int
    block: int
    attempt: int

    @property
    def canonical(self) -> bool:
        """Whether the name is the one that the contract gives to this block and attempt."""
        return self.name == f"{block_name(self.block, self.attempt)}.jsonl"


@dataclass(slots=True)
class Scan:
    """``kept`` is known and unchanged; ``new`` must be read; ``settled`` needs no reading."""

    kept: list[FileEntry] = field(default_factory=list)
    new: list[Candidate] = field(default_factory=list)
    settled: list[FileEntry] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Found:
    path: Path
    name: str
    bytes: int
    mtime_ns: int
    regular: bool


def scan_blocks(folder: Path, planned: Planned, known: Mapping[str, FileEntry]) -> Scan:
    """Sort the files of ``folder`` (it may not exist yet) by what has to be done with them."""
    scan = Scan()
    candidates: list[Candidate] = []
    for found in _list(folder):
        entry = known.get(found.name)
        if entry is not None and entry.state == "good" and _unchanged(entry, found):
            scan.kept.append(entry)
            continue
        try:
            candidates.append(_identify(found, planned))
        except (BlockFileError, FieldError, OSError) as error:
            scan.settled.append(_foreign(found, planned.campaign, error))
    _keep_moved(scan, candidates, known)
    _resolve(scan, candidates, folder, planned.campaign)
    return scan


def _list(folder: Path) -> Iterable[_Found]:
    try:
        paths = sorted(folder.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise DatasetError(f"{folder}: {error.strerror}") from None
    for path in paths:
        if path.suffix == UNFINISHED or BLOB_NAME.fullmatch(path.name):
            continue
        facts = path.lstat()
        regular = stat.S_ISREG(facts.st_mode)
        yield _Found(path, path.name, facts.st_size, facts.st_mtime_ns, regular)


def _unchanged(entry: FileEntry, found: _Found) -> bool:
    same = (entry.bytes, entry.mtime_ns) == (found.bytes, found.mtime_ns)
    return same and found.regular


def _identify(found: _Found, planned: Planned) -> Candidate:
    if not found.regular:
        raise FieldError("no regular file: links, devices and folders are not read")
    if found.bytes > FILE_CAP:
        raise FieldError(f"{found.bytes} bytes; at most {FILE_CAP} are read")
    try:
        header = read_header(found.path)
    except BlockFileError:
        if found.path.suffix == ".jsonl":
            raise
        raise FieldError("no block file: expected a name such as b0001-a1.jsonl") from None
    block, attempt = check_identity(header, planned)
    return Candidate(found.name, found.path, found.bytes, found.mtime_ns, block, attempt)


def _keep_moved(scan: Scan, candidates: list[Candidate], known: Mapping[str, FileEntry]) -> None:
    """A known file under a new name or time (copied, restored, touched) is not read again."""
    held = {(entry.block, entry.attempt) for entry in scan.kept}
    good = {
        (entry.block, entry.attempt): entry for entry in known.values() if entry.state == "good"
    }
    for one in sorted(candidates, key=_order):
        identity = (one.block, one.attempt)
        entry = good.get(identity)
        if entry is None or identity in held or entry.bytes != one.bytes:
            continue
        if sha256_of(one.path) == entry.sha256:
            scan.kept.append(replace(entry, name=one.name, mtime_ns=one.mtime_ns))
            held.add(identity)
            candidates.remove(one)


def _order(one: Candidate) -> tuple[bool, str]:
    return not one.canonical, one.name


def reason_of(name: str, error: Exception) -> str:
    """``file:line: reason``, as the table ``files`` states it."""
    if isinstance(error, BlockFileError):
        return f"{name}:{error.line}: {error.reason}"
    text = error.strerror if isinstance(error, OSError) else str(error)
    return f"{name}:1: {text}"


def _resolve(scan: Scan, candidates: list[Candidate], folder: Path, campaign: str) -> None:
    """One file for each (block, attempt): what is known first, then the contract's name."""
    owners: dict[tuple[int | None, int | None], tuple[str, str | None]] = {
        (entry.block, entry.attempt): (entry.name, entry.sha256) for entry in scan.kept
    }
    for one in sorted(candidates, key=_order):
        owner = owners.get((one.block, one.attempt))
        if owner is None:
            owners[one.block, one.attempt] = (one.name, None)
            scan.new.append(one)
            continue
        name, known = owner
        sha256 = sha256_of(one.path)
        if sha256 == (known or sha256_of(folder / name)):
            scan.settled.append(entry_of(one, campaign, sha256, "duplicate"))
            continue
        reason = (
            f"{one.name}:1: conflict: block {one.block} attempt {one.attempt} is already known "
            f"from {name}, with other bytes"
        )
        scan.settled.append(entry_of(one, campaign, sha256, "quarantined", reason))


def entry_of(
    one: Candidate, campaign: str, sha256: str | None, state: FileState, reason: str | None = None
) -> FileEntry:
    """The index's entry for a candidate that was looked at."""
    return FileEntry(
        campaign=campaign,
        name=one.name,
        bytes=one.bytes,
        mtime_ns=one.mtime_ns,
        sha256=sha256,
        state=state,
        block=one.block,
        attempt=one.attempt,
        reason=reason,
    )


def _foreign(found: _Found, campaign: str, error: Exception) -> FileEntry:
    readable = found.regular and found.bytes <= FILE_CAP
    return FileEntry(
        campaign=campaign,
        name=found.name,
        bytes=found.bytes,
        mtime_ns=found.mtime_ns,
        sha256=sha256_of(found.path) if readable and not isinstance(error, OSError) else None,
        state="quarantined",
        reason=reason_of(found.name, error),
    )
