"""What the analysis needs of a campaign's ``plan.json``: the question, the contrasts, the slots.

A dataset without its plan (runs that were handed over alone) can be analysed too: then every arm is
compared with the arm that has a copy b, and nothing is said of what was planned.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from analysis.errors import BadDatasetError
from analysis.noise import baseline_of
from collector.schema import GOOD, INVALID, QUARANTINED, SUPERSEDED, VERSION

BLOCK_NAME: Final = r"^b(\d{4,9})-a\d+\.jsonl$"


@dataclass(frozen=True, slots=True)
class PlannedBlock:
    """A block's place in the plan; its ``cell`` is told by its hosts, its variant and its load."""

    tranche: int
    cell: tuple[object, ...]
    runs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """The question and what was declared."""

    question: str
    baseline: str
    contrasts: tuple[tuple[str, str], ...]
    also_differs: Mapping[str, str]
    factor: str
    blocks: Mapping[int, PlannedBlock]
    planned: bool
    failures: bool = False


@dataclass(frozen=True, slots=True)
class Account:
    """planned = good + invalid + quarantined + missing + not needed; superseded apart.

    ``planned`` is None where there is no plan to count from. ``reasons`` counts the runs that are
    not good by (state, first word of each reason).
    """

    planned: int | None
    good: int
    invalid: int
    quarantined: int
    missing: int
    not_needed: int
    superseded: int
    reasons: tuple[tuple[str, str, int], ...]

    @property
    def line(self) -> str:
        """The sum in one line."""
        planned = "not known (no plan.json)" if self.planned is None else str(self.planned)
        return (
            f"{planned} planned = {self.good} good + {self.invalid} invalid + "
            f"{self.quarantined} quarantined + {self.missing} missing + "
            f"{self.not_needed} not needed; {self.superseded} superseded apart"
        )


def campaign_folder(state: Path, campaign: str) -> Path:
    """``<state>/results/campaigns/<campaign>``."""
    return state / "results" / "campaigns" / campaign


def read_plan(folder: Path, runs: pd.DataFrame) -> Plan:
    """The plan in a campaign's folder, else one inferred from its ``runs``.

    Raises ``BadDatasetError`` for a plan that is not of this schema, or where no baseline shows.
    """
    path = folder / "plan.json"
    if not path.is_file():
        return _infer(runs, path)
    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
        if plan["schema"] != VERSION:
            raise BadDatasetError(f"{path}: schema {plan['schema']!r}, expected {VERSION}")
        return _from_json(plan)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadDatasetError(
            f"{path}: not a plan of schema {VERSION} ({error!r}): plans never change once written; "
            "restore it from where the campaign was exported"
        ) from error


def _from_json(plan: dict[str, Any]) -> Plan:
    return Plan(
        question=str(plan["question"]),
        baseline=str(plan["baseline"]),
        contrasts=tuple((str(arm), str(base)) for arm, base in plan["contrasts"]),
        also_differs={
            str(name): str(arm["also_differs"])
            for name, arm in plan["arms"].items()
            if arm.get("also_differs")
        },
        factor=str(plan.get("factor") or ""),
        blocks={int(block["block"]): _planned_block(block) for block in plan["blocks"]},
        planned=True,
        failures=bool(plan.get("failures")),
    )


def _planned_block(block: dict[str, Any]) -> PlannedBlock:
    load = block["load"]
    where = (block["host"], block.get("peer"), block["load_host"], block["variant"])
    return PlannedBlock(
        tranche=int(block["tranche"]),
        cell=(*where, load["tool"], load["concurrency"], load.get("offered", "")),
        runs=tuple(str(run["run"]) for run in block["runs"]),
    )


def _infer(runs: pd.DataFrame, path: Path) -> Plan:
    baseline = baseline_of(runs)
    if baseline is None:
        raise BadDatasetError(
            f"{path}: absent, and the runs do not show which arm is the baseline (one arm with a "
            "copy b): put the campaign's plan.json back"
        )
    arms = sorted(set(runs["arm"].dropna()) - {baseline})
    contrasts = tuple((arm, baseline) for arm in arms)
    return Plan("", baseline, contrasts, {}, "", {}, planned=False)


def account(plan: Plan, runs: pd.DataFrame, files: pd.DataFrame, finished: bool) -> Account:
    """Every slot once, by its last attempt. ``runs`` and ``files``: all states, of one campaign.

    A slot without a run is quarantined where its block's file is. ``finished``: the campaign ended;
    what was planned of a cell past the last tranche that it was measured in was not needed.
    """
    runs = runs.drop_duplicates(["run", "attempt"])  # a run of several cells counts once
    last = runs[runs["state"] != SUPERSEDED]
    states = last.groupby("state")["run"].nunique()
    seen = set(last["run"])
    refused = quarantined_blocks(files)
    absent = [
        number for number, block in plan.blocks.items() for run in block.runs if run not in seen
    ]
    needed: dict[tuple[object, ...], int] = {}
    for number in {int(number) for number in last["block"].unique()} | refused:
        if block := plan.blocks.get(number):
            needed[block.cell] = max(block.tranche, needed.get(block.cell, 1))
    in_files = sum(number in refused for number in absent)
    beyond = [b for b in map(plan.blocks.__getitem__, absent) if b.tranche > needed.get(b.cell, 1)]
    not_needed = len(beyond) if finished else 0
    reasons = _reasons(last[last["state"] != GOOD])
    return Account(
        planned=sum(len(block.runs) for block in plan.blocks.values()) if plan.planned else None,
        good=int(states.get(GOOD, 0)),
        invalid=int(states.get(INVALID, 0)),
        quarantined=int(states.get(QUARANTINED, 0)) + in_files,
        missing=len(absent) - not_needed - in_files,
        not_needed=not_needed,
        superseded=int((runs["state"] == SUPERSEDED).sum()),
        reasons=reasons + (((QUARANTINED, "file", in_files),) if in_files else ()),
    )


def quarantined_blocks(files: pd.DataFrame) -> set[int]:
    """Blocks whose file is quarantined: by its header, else by its name, ``b0001-a1.jsonl``."""
    own = files[files["state"] == QUARANTINED]
    named = own["name"].astype("str").str.extract(BLOCK_NAME, expand=False).astype("float64")
    numbers = own["block"].astype("float64").fillna(named)
    return {int(number) for number in numbers.dropna()}


def _reasons(rows: pd.DataFrame) -> tuple[tuple[str, str, int], ...]:
    """(state, reason's name, runs): ``errors: 12 of ...`` counts under ``errors``."""
    counts: dict[tuple[str, str], int] = {}
    for state, text in zip(rows["state"], rows["reasons"], strict=True):
        reasons = ["no reason given"] if pd.isna(text) else str(text).split("; ")
        for name in {reason.split(":")[0].split(" ")[0].strip() or reason for reason in reasons}:
            counts[str(state), name] = counts.get((str(state), name), 0) + 1
    return tuple((state, name, n) for (state, name), n in sorted(counts.items()))
