"""The dataset's folder: collect block files into it, read its tables, verify it.

``collect`` reads what is new, writes parts under the hash of their content, and then replaces the
index. Until that last step a reader sees the dataset as it was, and after an error (a full disk,
an interrupt) still does. A file is counted once however often it is collected; a part is made
again only if one of the block files behind it changed or went.
"""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from collector.dataset.batch import (
    Batch,
    Outcome,
    cut,
    leave_interrupts_to_the_parent,
    make_parts,
)
from collector.dataset.campaign_parts import file_rows, rows_part, superseded_attempts
from collector.dataset.durable import TEMPORARY
from collector.dataset.errors import DatasetBusyError, DatasetError
from collector.dataset.index import (
    COLUMNS,
    INDEX_NAME,
    PARTS_FOLDER,
    FileEntry,
    Index,
    Part,
    load_index,
)
from collector.dataset.planned import PLAN_NAME, Planned, read_plan
from collector.dataset.proofs import PROOFS_NAME, Proofs, read_proofs
from collector.dataset.proofs import TABLE as PROOFS_TABLE
from collector.dataset.scan import Candidate, Scan, scan_blocks
from collector.dataset.tables import PART_TABLES

LOCK_WAIT_S: Final = 30.0
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Places:
    """Where things lie below a state folder."""

    state: Path

    @property
    def campaigns(self) -> Path:
        """One folder a campaign."""
        return self.state / "results" / "campaigns"

    @property
    def dataset(self) -> Path:
        """Index and parts."""
        return self.state / "results" / "dataset"


@dataclass(slots=True)
class _Campaign:
    folder: Path
    planned: Planned
    scan: Scan = field(default_factory=Scan)
    proofs: Proofs = field(default_factory=Proofs)


def _nothing(done: int, total: int) -> None:
    """No progress is shown."""


def collect(places: Places, *, rebuild: bool = False, progress: Progress = _nothing) -> Index:
    """Bring the dataset up to date with the campaigns' block files; returns the new index.

    With ``rebuild`` every file is read again and every part written anew, few and large; so it is
    where the dataset was written by a release with other columns. Raises
    ``DatasetError`` (unreadable plan or index, no space left) and ``DatasetBusyError``; the old
    dataset is intact then.
    """
    dataset = places.dataset
    try:
        (dataset / PARTS_FOLDER).mkdir(parents=True, exist_ok=True)
        with FileLock(dataset / "lock", timeout=LOCK_WAIT_S):
            return _collect(places, rebuild, progress)
    except Timeout:
        raise DatasetBusyError(
            f"{dataset}: another collect has been writing for {LOCK_WAIT_S:.0f} s; try again"
        ) from None
    except OSError as error:
        hint = "; free some space and run collect again" if error.errno == errno.ENOSPC else ""
        where = error.filename or dataset
        raise DatasetError(f"{where}: {error.strerror}{hint}. The dataset is as it was") from error


def _collect(places: Places, rebuild: bool, progress: Progress) -> Index:
    old = load_index(places.dataset) or Index()
    fresh = rebuild or old.columns != COLUMNS
    base = Index(generation=old.generation) if fresh else old
    campaigns = [_look(folder, base) for folder in campaign_folders(places)]
    kept = _usable_parts(places.dataset, base, campaigns)
    batches = [batch for one in campaigns for batch in cut(one.folder, one.planned, one.scan.new)]
    try:
        outcomes = list(run_batches(batches, places.dataset, progress))
        made = _assemble(places.dataset, base, campaigns, kept, outcomes)
        new = old if made.same_content(old) else made
        if new is made or not (places.dataset / INDEX_NAME).exists():
            new.save(places.dataset)
    except BaseException:
        _sweep(places.dataset, (old,))
        raise
    _sweep(places.dataset, (old, new))
    return new


def campaign_folders(places: Places) -> list[Path]:
    """The campaigns' folders, by name; a name that begins with a dot is an import under way."""
    if not places.campaigns.is_dir():
        return []
    return sorted(path for path in places.campaigns.iterdir() if _is_campaign(path))


def _is_campaign(path: Path) -> bool:
    if path.name.startswith(".") or path.is_symlink() or not path.is_dir():
        return False
    # A campaign that ended before its plan was written holds nothing; one with blocks does.
    blocks = path / "blocks"
    return (path / PLAN_NAME).exists() or (blocks.is_dir() and any(blocks.iterdir()))


def campaign_plan(folder: Path) -> Planned:
    """A campaign's plan, checked against its folder's name. Raises ``DatasetError``."""
    planned = read_plan(folder / PLAN_NAME)
    if planned.campaign != folder.name:
        raise DatasetError(
            f"{folder / PLAN_NAME}: is the plan of {planned.campaign!r}; give the folder that name"
        )
    return planned


def _look(folder: Path, index: Index) -> _Campaign:
    planned = campaign_plan(folder)
    # Files were judged against the plan: with another one none of that holds.
    same_plan = index.plans.get(planned.campaign) == planned.sha256
    known = index.files_of(planned.campaign) if same_plan else {}
    known.pop(PROOFS_NAME, None)  # lies beside the blocks, and is read anew each time
    scan = scan_blocks(folder / "blocks", planned, known)
    return _Campaign(folder, planned, scan, read_proofs(folder, planned.campaign))


def _usable_parts(dataset: Path, index: Index, campaigns: list[_Campaign]) -> list[Part]:
    """Parts all of whose block files are still there; the files of the others are read again."""
    held = {(entry.campaign, entry.sha256) for one in campaigns for entry in one.scan.kept}
    broken: set[tuple[str, ...]] = set()
    for part in index.parts:
        whole = all((part.campaign, block) in held for block in part.blocks)
        if part.table in PART_TABLES and not (whole and (dataset / part.file).is_file()):
            broken.add(part.blocks)
    usable = [p for p in index.parts if p.table in PART_TABLES and p.blocks not in broken]
    covered = {(part.campaign, block) for part in usable for block in part.blocks}
    for one in campaigns:
        again = [e for e in one.scan.kept if (e.campaign, e.sha256) not in covered]
        one.scan.kept = [e for e in one.scan.kept if (e.campaign, e.sha256) in covered]
        one.scan.new.extend(_candidate(one.folder / "blocks", entry) for entry in again)
    return usable


def _candidate(folder: Path, entry: FileEntry) -> Candidate:
    if entry.block is None or entry.attempt is None:
        raise DatasetError(f"index.json: {entry.name} is good but names no block; rebuild")
    path = folder / entry.name
    return Candidate(entry.name, path, entry.bytes, entry.mtime_ns, entry.block, entry.attempt)


def run_batches(
    batches: list[Batch], dataset: Path | None, progress: Progress
) -> Iterator[Outcome]:
    """Make the parts of every batch, on every usable CPU; outcomes in the order of the batches."""
    total = sum(batch.bytes for batch in batches)
    workers = min(len(os.sched_getaffinity(0)), len(batches))
    if workers <= 1:
        done = 0
        for batch in batches:
            yield make_parts(batch, dataset)
            done += batch.bytes
            progress(done, total)
        return
    # Arrow has threads of its own by now, and a plain fork copies their locks as they are.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["collector.dataset.batch"])
    pool = ProcessPoolExecutor(workers, context, leave_interrupts_to_the_parent)
    try:
        futures = {pool.submit(make_parts, batch, dataset): batch for batch in batches}
        done = 0
        for future in as_completed(futures):
            future.result()
            done += futures[future].bytes
            progress(done, total)
        yield from [future.result() for future in futures]
    except BrokenProcessPool:
        raise DatasetError(
            "a reading process was killed, perhaps for want of memory; run collect again"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _assemble(
    dataset: Path,
    base: Index,
    campaigns: list[_Campaign],
    kept: list[Part],
    outcomes: list[Outcome],
) -> Index:
    entries: list[FileEntry] = [entry for outcome in outcomes for entry in outcome.files]
    for one in campaigns:
        entries += one.scan.kept + one.scan.settled
        entries += [one.proofs.entry] if one.proofs.entry else []
    entries.sort(key=lambda entry: (entry.campaign, entry.name))
    superseded = superseded_attempts(entries)
    parts = kept + [part for outcome in outcomes for part in outcome.parts]
    for one in campaigns:
        mine = [entry for entry in entries if entry.campaign == one.planned.campaign]
        rows = {"files": file_rows(mine, superseded), PROOFS_TABLE: list(one.proofs.rows)}
        for table, of_table in rows.items():
            if of_table:
                parts.append(rows_part(dataset, table, one.planned.campaign, of_table))
    return Index(
        generation=base.generation + 1,
        parts=tuple(parts),
        superseded=tuple(sorted(superseded)),
        plans={one.planned.campaign: one.planned.sha256 for one in campaigns},
        files=tuple(entries),
    )


def _sweep(dataset: Path, indexes: tuple[Index, ...]) -> None:
    """Remove parts that neither the index nor the one before lists: a reader may still hold it."""
    listed = {part.file for index in indexes for part in index.parts}
    for path in (dataset / PARTS_FOLDER).iterdir():
        ours = path.suffix == ".parquet" or path.name.endswith(TEMPORARY)
        if ours and f"{PARTS_FOLDER}/{path.name}" not in listed:
            with contextlib.suppress(OSError):
                path.unlink()


def by_blocks(index: Index) -> Mapping[tuple[str, tuple[str, ...]], list[Part]]:
    """Parts of the same block files together: what one batch became."""
    groups: dict[tuple[str, tuple[str, ...]], list[Part]] = {}
    for part in index.parts:
        if part.table in PART_TABLES:
            groups.setdefault((part.campaign, part.blocks), []).append(part)
    return groups
