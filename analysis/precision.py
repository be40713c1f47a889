"""How precise a campaign is by now, cell by cell: what decides whether a further tranche is run.

A campaign stops by precision and never by p: who stops at p < 0.05 finds a difference sooner or
later. The limits are half-widths of the 95 % interval of a contrast's log ratio.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import pandas as pd

from analysis.change import listed
from analysis.contrast import CELL, Cell, cells_of, pair
from analysis.dataset import Dataset, find_campaign, good_runs
from analysis.estimate import Floats, hodges_lehmann
from analysis.metric import (
    EXCHANGES,
    OF_CELLS,
    OPEN_LOOP,
    Metric,
    metric_of,
    metrics_of,
    primary_of,
)
from analysis.plan import Plan, campaign_folder, read_plan

KINDS: Final = ("wrk", OPEN_LOOP, EXCHANGES)  # each is precise in something else
NEEDED: Final = [
    *CELL, "campaign", "experiment", "block", "attempt", "tranche", "state", "arm", "copy",
    "deployment", "started_wall_s",
    *(metric.name for tool in KINDS for metric in metrics_of(tool) if metric.precise),
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Width:
    """One contrast on one metric: ``half_width`` in log units, None below 6 units."""

    arm: str
    baseline: str
    metric: str
    n: int
    half_width: float | None
    limit: float

    @property
    def reached(self) -> bool:
        """Whether it is as precise as was asked for."""
        return self.half_width is not None and self.half_width <= self.limit


@dataclass(frozen=True, slots=True)
class CellPrecision:
    """A cell's contrasts. ``precise``: further blocks would settle nothing that was asked."""

    cell: Cell
    precise: bool
    widths: tuple[Width, ...]


@dataclass(frozen=True, slots=True)
class Precision:
    """A campaign's cells, by what its first ``tranches`` tranches measured."""

    campaign: str
    tranches: int
    cells: tuple[CellPrecision, ...]


def precision(
    dataset: Dataset, experiment: str, campaign: str | None = None, tranches: int | None = None
) -> Precision:
    """Look at the first ``tranches`` of a campaign (default: all of the experiment's newest).

    Emulated hosts are cells like any other: how much they are worth is not asked here. A cell
    without a good run is not listed. Raises ``AnalysisError`` and its kinds.
    """
    runs = dataset.runs(columns=NEEDED)
    chosen = find_campaign(runs, experiment, campaign)
    runs = runs[runs["campaign"] == chosen]
    plan = read_plan(campaign_folder(dataset.state, chosen), runs)
    last = int(runs["tranche"].max()) if tranches is None else tranches
    good = good_runs(runs[runs["tranche"] <= last])
    return Precision(chosen, last, tuple(_cells(plan, good)))


def stopping(plan: Plan, good: pd.DataFrame) -> tuple[str, ...]:
    """How each cell ended, in words; nothing where one tranche was all that was planned."""
    if all(block.tranche == 1 for block in plan.blocks.values()):
        return ()
    caps = Counter(block.cell for block in plan.blocks.values())
    return tuple(_ended(one, caps) for one in _cells(plan, good))


def _ended(one: CellPrecision, caps: Mapping[tuple[object, ...], int]) -> str:
    cell = one.cell
    where = (cell.host, cell.peer or None, cell.load_host, cell.variant)
    cap = caps[(*where, cell.tool, cell.concurrency, cell.offered)]
    n = max(width.n for width in one.widths)
    if one.precise:
        return f"{cell.label}: precise after {n} of at most {cap} blocks"
    wide = listed(
        f"{width.arm} / {width.baseline} on {metric_of(cell.tool, width.metric).label}"
        for width in one.widths
        if not width.reached
    )
    return f"{cell.label}: not precise at n = {n}, of at most {cap} blocks: {wide}"


def _cells(plan: Plan, good: pd.DataFrame) -> Iterator[CellPrecision]:
    found: dict[Cell, list[Width]] = {}
    for cell, rows in cells_of(good):
        found.setdefault(_planned(cell), []).extend(
            one
            for metric in metrics_of(cell.tool)
            if metric.precise and (metric == primary_of(cell.tool) or rows[metric.name].gt(0).any())
            for arm, base in plan.contrasts
            for one in [width(pair(rows, metric.name, arm, base).units, arm, base, metric)]
            # Of a run's parts some are beyond a mechanism's limit: no further block has them.
            if one.n or cell.tool not in OF_CELLS
        )
    for cell, widths in found.items():
        yield CellPrecision(cell, all(one.reached for one in widths), tuple(widths))


def _planned(cell: Cell) -> Cell:
    """The cell as it was planned and is measured further, of whose runs this one may be a part."""
    whole = cell.tool.partition("-")[0]
    return replace(cell, tool=whole, offered="") if cell.tool in OF_CELLS else cell


def width(units: Floats, arm: str, baseline: str, metric: Metric) -> Width:
    """How precisely ``units``, log ratios of one contrast, are known by now."""
    at = hodges_lehmann(units) if units.size else None
    half = None
    if at is not None and at.low is not None and at.high is not None:
        half = (at.high - at.low) / 2
    return Width(arm, baseline, metric.name, int(units.size), half, metric.precise or math.inf)
