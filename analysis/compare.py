"""Every arm against one baseline, in any dataset of the schema or in a plain CSV: verdicts alone.

One metric at a time. What a cell holds constant (``contrast``) stays apart, and so does each value
of the columns that the caller names; the rest is the rule of ``verdict``.
"""

from __future__ import annotations

import difflib
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis import __version__
from analysis.change import listed
from analysis.contrast import (
    BLOCK,
    CELL,
    UNIFORM,
    Cell,
    cells_of,
    pair,
    require_uniform,
    with_cpu_per_work,
)
from analysis.dataset import campaigns_by_age, good_runs, open_dataset, where
from analysis.errors import AnalysisError, UnknownNameError
from analysis.estimate import Floats, median_interval, noise_floor
from analysis.noise import baseline_of, comparable_history, matching_history, twin
from analysis.plain import read_plain
from analysis.verdict import Contrast, Verdict, judge_all
from collector.schema import GOOD, TABLES

DERIVED = {
    "cpu_per_request_s": ("containers_cpu_s", "requests", "transfer_bytes"),
    "cpu_per_mb_s": ("containers_cpu_s", "requests", "transfer_bytes"),
}


@dataclass(frozen=True, slots=True)
class Figures:
    """One arm's runs in one cell: their median with its 95 % interval (None below 6 runs)."""

    arm: str
    median: float
    low: float | None
    high: float | None
    runs: int


@dataclass(frozen=True, slots=True)
class Table:
    """One cell: the arms' own figures in the metric's unit, baseline first, and the verdicts."""

    cell: Cell
    by: tuple[tuple[str, str], ...]
    arms: tuple[Figures, ...]
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class Judged:
    """A table and what is behind it: each arm's log ratios, what the cell's runs have in common."""

    table: Table
    units: Mapping[str, Floats]
    held: Mapping[str, str]

    @property
    def key(self) -> tuple[Cell, tuple[tuple[str, str], ...]]:
        """What tells it from the others of its source."""
        return self.table.cell, self.table.by


@dataclass(frozen=True, slots=True)
class Comparisons:
    """What was compared (``source``, with its ``campaign`` if it has one) and what came out."""

    source: str
    campaign: str | None
    baseline: str
    metric: str
    tables: tuple[Table, ...]
    analysis: str = __version__


def compare(
    source: str, baseline: str, metric: str, by: Sequence[str] = (), *, emulated: bool = False
) -> Comparisons:
    """Judge every arm of ``source`` against ``baseline``.

    ``source``: a lab's state directory, with ``@CAMPAIGN`` behind it if it is not to be the newest;
    or a CSV (``plain``). Raises ``AnalysisError`` and its kinds.
    """
    campaign, found = judge(source, baseline, metric, by, emulated=emulated)
    tables = tuple(one.table for one in found)
    return Comparisons(str(path_of(source)[0]), campaign, baseline, metric, tables)


def judge(
    source: str, baseline: str, metric: str, by: Sequence[str], *, emulated: bool
) -> tuple[str | None, list[Judged]]:
    """The campaign that ``source`` is, None for a CSV, and its tables; else as ``compare``."""
    path, campaign = path_of(source)
    if path.is_file():
        if campaign is not None:
            raise UnknownNameError(f"{path} is a CSV and has no campaigns: leave @{campaign} away")
        rows = history = read_plain(path, metric, by)
    else:
        rows, history, campaign = _of_dataset(path, metric, by, campaign, emulated=emulated)
    arms = sorted(rows["arm"].unique())
    if baseline not in arms:
        near = difflib.get_close_matches(baseline, arms, 1)
        raise UnknownNameError(
            f"{source}: no arm {baseline!r} among {', '.join(arms)}"
            + (f"; is {near[0]!r} meant?" if near else "")
        )
    return campaign, [
        _judged(cell, split, cell_rows, history, metric, baseline)
        for split, own in _split(rows, by)
        for cell, cell_rows in cells_of(own)
    ]


def path_of(source: str) -> tuple[Path, str | None]:
    """``FOLDER@CAMPAIGN`` -> both; the campaign is None where none is named."""
    path, at, campaign = source.rpartition("@")
    return (Path(path), campaign) if at and not Path(source).exists() else (Path(source), None)


def _of_dataset(
    state: Path, metric: str, by: Sequence[str], campaign: str | None, *, emulated: bool
) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """The campaign's good runs, those of the campaigns that its noise is known from, its id."""
    dataset = open_dataset(state)
    numbers = [c.name for c in TABLES["runs"] if c.kind in ("float64", "int64")]
    known = [column.name for column in TABLES["runs"]]
    for name, among in ((metric, [*numbers, *DERIVED]), *((one, known) for one in by)):
        if name not in among:
            near = difflib.get_close_matches(name, among, 1)
            raise UnknownNameError(
                f"{name!r} is no column of runs that can be used so"
                + (f"; is {near[0]!r} meant?" if near else "")
                + " (docs/contracts.md lists them)"
            )
    columns = [
        *CELL, *BLOCK, *UNIFORM, "arm", "copy", "deployment", "started_wall_s", "containers_cpu_s",
        "requests", "transfer_bytes", *by, *([] if metric in DERIVED else [metric]),
    ]  # fmt: skip
    runs = dataset.runs(columns=columns, encoded=True)
    ids = campaigns_by_age(runs)
    chosen = ids[-1] if campaign is None else campaign
    if chosen not in ids:
        raise UnknownNameError(f"{state}: no campaign {chosen!r}; it has {', '.join(ids)}")
    good = with_cpu_per_work(good_runs(runs))
    del runs  # ten million rows are not held twice
    if not emulated:
        good = where(good, ~good["emulated"].eq(True))
    rows = good[good["campaign"] == chosen]
    if rows.empty:
        left = "" if emulated else " on a host that is not emulated (--emulated takes them in)"
        raise AnalysisError(f"{state}: campaign {chosen} has no run of state {GOOD}{left}")
    return rows, comparable_history(good, chosen), chosen


def _split(
    rows: pd.DataFrame, by: Sequence[str]
) -> Iterator[tuple[tuple[tuple[str, str], ...], pd.DataFrame]]:
    if not by:
        yield (), rows
        return
    for values, own in rows.groupby(list(by), sort=True, dropna=False):
        texts = ("none" if pd.isna(value) else str(value) for value in values)
        yield tuple(zip(by, texts, strict=True)), own


def _judged(
    cell: Cell,
    by: tuple[tuple[str, str], ...],
    rows: pd.DataFrame,
    history: pd.DataFrame,
    metric: str,
    baseline: str,
) -> Judged:
    others = sorted(set(rows["arm"]) - {baseline})
    for arm in others:
        require_uniform(cell, rows, (arm, baseline))
    for name, value in by:
        history = history[history[name].astype("str") == value]
    twins = baseline_of(rows) or baseline
    found = twin(cell, rows, matching_history(rows, history, twins), metric, twins)
    seed = int.from_bytes(hashlib.sha256(f"{cell}{by}{metric}".encode()).digest()[:8])
    floor = noise_floor(found.pool, int(found.pairs.units.size), seed)
    pairs = {arm: pair(rows, metric, arm, baseline) for arm in others}
    contrasts = [Contrast(cell, metric, arm, baseline, pairs[arm], floor) for arm in others]
    figures = [_figures(rows, arm, metric) for arm in (baseline, *others)]
    table = Table(
        cell, by, tuple(one for one in figures if one is not None), tuple(judge_all(contrasts))
    )
    return Judged(
        table,
        units={arm: pairs[arm].units for arm in others},
        held={column: listed(sorted(_texts(rows[column]))) for column in UNIFORM},
    )


def _texts(values: pd.Series) -> set[str]:
    return {"unknown" if pd.isna(value) else str(value) for value in values.unique()}


def _figures(rows: pd.DataFrame, arm: str, metric: str) -> Figures | None:
    own = rows[(rows["arm"] == arm) & (rows["copy"] == "a")]
    values = own[metric].astype("float64").dropna()
    values = values[values.map(math.isfinite)]
    if values.empty:
        return None
    at = median_interval(values.to_numpy())
    return Figures(arm, at.value, at.low, at.high, at.n)
