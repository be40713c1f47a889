"""The sum that must hold: planned = good + invalid + quarantined + missing + not needed.

Over a campaign's slots, each once, by the last attempt at its block; superseded attempts apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from collector.blockfile import BLOCK_NAME
from collector.dataset.errors import DatasetError
from collector.dataset.index import FileEntry, Index
from collector.dataset.load import load_table
from collector.dataset.planned import Planned
from collector.dataset.store import Places
from collector.schema import GOOD, INVALID, QUARANTINED

FINISHED: Final = "finished"
MISSING: Final = "missing"
NOT_NEEDED: Final = "not needed"
STATES: Final = (GOOD, INVALID, QUARANTINED, MISSING, NOT_NEEDED)
_COLUMNS: Final = ("run", "block", "attempt", "state", "reasons")


class AccountError(DatasetError):
    """The sum does not hold: a slot was counted twice, or a row has no slot."""


@dataclass(frozen=True, slots=True)
class Account:
    """Slots of a campaign by state; ``reasons``: (state, first word of the reason) -> slots."""

    campaign: str
    planned: int
    counts: Mapping[str, int]
    reasons: Mapping[tuple[str, str], int]
    superseded: int
    files_quarantined: int

    def __post_init__(self) -> None:
        total = sum(self.counts[state] for state in STATES)
        if total != self.planned:
            raise AccountError(f"{self.line()}: the sum does not hold, {total} slots were counted")

    @property
    def clean(self) -> bool:
        """Whether nothing is quarantined, neither run nor file."""
        return not self.counts[QUARANTINED] and not self.files_quarantined

    def line(self) -> str:
        """The sum, on one line."""
        terms = " + ".join(f"{self.counts[state]} {state}" for state in STATES)
        apart = f"; {self.superseded} superseded apart" if self.superseded else ""
        return f"{self.campaign}: {self.planned} planned = {terms}{apart}"


def account(places: Places, index: Index, planned: Planned) -> Account:
    """Count a campaign's slots. Raises ``AccountError`` if the dataset and the plan disagree."""
    entries = [entry for entry in index.files if entry.campaign == planned.campaign]
    last = _last_attempts(entries)
    state_of: dict[str, str] = {}
    reasons: Counter[tuple[str, str]] = Counter()
    superseded = 0
    for run, block, attempt, state, reason in _rows(places.dataset, index, planned.campaign):
        if attempt != last.get(block, (0, ""))[0]:
            superseded += 1
            continue
        if run in state_of:
            raise AccountError(f"{planned.campaign}: run {run} is counted twice; rebuild")
        state_of[run] = state
        if state != GOOD:
            reasons[state, _first_word(reason)] += 1
    needed = _finished(places.campaigns / planned.campaign, last, planned)
    counts = Counter(_slot_states(planned, state_of, last, needed))
    unknown = state_of.keys() - {run for b in planned.blocks.values() for run in b.slots}
    if unknown:
        raise AccountError(f"{planned.campaign}: run {min(unknown)} is not in the plan; rebuild")
    in_rows = sum(n for (state, _), n in reasons.items() if state == QUARANTINED)
    if in_files := counts[QUARANTINED] - in_rows:
        reasons[QUARANTINED, "file"] += in_files
    return Account(
        campaign=planned.campaign,
        planned=planned.slots,
        counts={state: counts[state] for state in STATES},
        reasons=dict(reasons),
        superseded=superseded,
        files_quarantined=sum(entry.state == "quarantined" for entry in entries),
    )


def _first_word(reason: str | None) -> str:
    """The stable word that a reason begins with: a gate's name or the parser's."""
    return (reason or "unknown").split(maxsplit=1)[0].rstrip(":;")


def _rows(
    dataset: Path, index: Index, campaign: str
) -> Iterable[tuple[str, int, int, str, str | None]]:
    # The states as judged: superseded rows are told by their attempt here.
    plain = Index(parts=index.parts)
    table = load_table(dataset, plain, "runs", campaign=campaign, columns=_COLUMNS)
    return zip(*(table[name].to_pylist() for name in _COLUMNS), strict=True)


def _last_attempts(entries: Iterable[FileEntry]) -> dict[int, tuple[int, str]]:
    """Block -> (last attempt, state of its file).

    A quarantined file counts for its block by its header, or, where that cannot be believed and
    nothing else is there, by its name.
    """
    last: dict[int, tuple[int, str]] = {}
    named: dict[int, tuple[int, str]] = {}
    for entry in entries:
        if entry.state == "duplicate":
            continue
        if entry.block is None or entry.attempt is None:
            if match := BLOCK_NAME.fullmatch(entry.name):
                named[int(match[1])] = (int(match[2]), QUARANTINED)
            continue
        before = last.get(entry.block, (0, ""))
        # Of two files for one attempt (a conflict) the one that was believed decides.
        if (entry.attempt, entry.state == "good") >= (before[0], before[1] == "good"):
            last[entry.block] = (entry.attempt, entry.state)
    return {**named, **last}


def _finished(
    folder: Path, last: Mapping[int, Any], planned: Planned
) -> Mapping[tuple[object, ...], int] | None:
    """Cell -> the last tranche that it needed; None while the campaign is not finished."""
    if not (folder / FINISHED).exists():
        return None
    needed: dict[tuple[object, ...], int] = {}
    for block in (planned.blocks[number] for number in last if number in planned.blocks):
        needed[block.cell] = max(block.tranche, needed.get(block.cell, 1))
    return needed


def _slot_states(
    planned: Planned,
    state_of: Mapping[str, str],
    last: Mapping[int, tuple[int, str]],
    needed: Mapping[tuple[object, ...], int] | None,
) -> Iterable[str]:
    for number, block in planned.blocks.items():
        broken = last.get(number, (0, ""))[1] == QUARANTINED
        extra = needed is not None and block.tranche > needed.get(block.cell, 1)
        absent = QUARANTINED if broken else NOT_NEEDED if extra else MISSING
        for run in block.slots:
            yield state_of.get(run, absent)
