"""Is the dataset still what the block files say? Reads everything again and changes nothing.

Each part's bytes are hashed against its name, and made a second time from the block files: the
same files, read by the same release, give the same bytes.
"""

from __future__ import annotations

import os
from pathlib import Path

from collector.dataset.batch import Batch, Outcome
from collector.dataset.campaign_parts import rows_part
from collector.dataset.durable import sha256_of
from collector.dataset.errors import DatasetError
from collector.dataset.index import FileEntry, Index, Part
from collector.dataset.proofs import TABLE as PROOFS_TABLE
from collector.dataset.proofs import read_proofs
from collector.dataset.scan import Candidate
from collector.dataset.store import Places, Progress, by_blocks, run_batches


def verify(places: Places, index: Index, progress: Progress) -> list[str]:
    """What is wrong, one line each; empty if all is well."""
    problems = [problem for part in index.parts if (problem := _check_bytes(places, part))]
    groups = by_blocks(index)
    batches: list[Batch] = []
    expected: list[list[Part]] = []
    for (campaign, blocks), parts in groups.items():
        try:
            batches.append(_batch(places, index, campaign, blocks))
        except DatasetError as error:
            problems.append(str(error))
            continue
        expected.append(parts)
    outcomes = run_batches(batches, None, progress)
    for parts, outcome in zip(expected, outcomes, strict=True):
        problems += _compare(parts, outcome)
    problems += [line for part in index.parts if (line := _check_proofs(places, part))]
    return problems


def _check_proofs(places: Places, part: Part) -> str | None:
    if part.table != PROOFS_TABLE:
        return None
    found = read_proofs(places.campaigns / part.campaign, part.campaign)
    again = rows_part(None, PROOFS_TABLE, part.campaign, list(found.rows))
    if again.sha256 == part.sha256:
        return None
    reason = (found.entry and found.entry.reason) or "proofs.json gives other rows now"
    return f"{part.campaign}: {reason}; run 'collect --rebuild'"


def _check_bytes(places: Places, part: Part) -> str | None:
    path = places.dataset / part.file
    try:
        found = sha256_of(path)
    except OSError as error:
        return f"{path}: {os.strerror(error.errno or 0)}; run 'collect --rebuild'"
    return None if found == part.sha256 else f"{path}: was changed; run 'collect --rebuild'"


def _batch(places: Places, index: Index, campaign: str, blocks: tuple[str, ...]) -> Batch:
    folder = places.campaigns / campaign
    entries = {e.sha256: e for e in index.files if e.campaign == campaign and e.state == "good"}
    missing = [block for block in blocks if block not in entries]
    if missing:
        raise DatasetError(f"{folder}: no block file with the hash {missing[0]}; rebuild")
    files = tuple(_candidate(folder / "blocks", entries[block]) for block in blocks)
    return Batch(folder, campaign, index.plans[campaign], files)


def _candidate(folder: Path, entry: FileEntry) -> Candidate:
    return Candidate(
        name=entry.name,
        path=folder / entry.name,
        bytes=entry.bytes,
        mtime_ns=entry.mtime_ns,
        block=entry.block or 0,
        attempt=entry.attempt or 0,
    )


def _compare(parts: list[Part], outcome: Outcome) -> list[str]:
    broken = [f"{e.campaign}: {e.reason}" for e in outcome.files if e.state != "good"]
    if broken:
        return [f"{line}; run 'collect --rebuild'" for line in broken]
    # A row says the name of its block file, so a renamed file gives other bytes: that is no harm.
    again = {part.table: part for part in outcome.parts}
    return [
        f"{part.file}: the block files give other rows now; run 'collect --rebuild'"
        for part in parts
        if part.table not in again or again[part.table].sha256 != part.sha256
    ]
