"""What identical systems show: A/A pairs, the noise floor, and the gate.

The baseline runs twice in every block, as two deployments. Their log ratios b / a, of this campaign
and of up to the last ten before it on the same hosts under the same profile, say how large a
difference means nothing. Pairs are pooled over variants, and only within one metric, tool,
concurrency, offered load, placement and set of conditions: the noise of 64 connections says nothing
of 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from analysis.contrast import Cell, Pairs, pair
from analysis.dataset import Dataset, campaigns_by_age, good_runs, where
from analysis.estimate import Floats
from analysis.metric import EXCHANGES, OPEN_LOOP, PRIMARY, ROUND_TRIPS, primary_of

LEAST_MARGIN: Final = 0.02
HISTORY: Final = 10
NEEDED: Final = [
    "campaign", "block", "attempt", "state", "profile", "tool", "concurrency", "offered",
    "placement", "arm", "copy", "deployment", "emulated", "started_wall_s", PRIMARY,
    *(primary_of(tool).name for tool in (OPEN_LOOP, ROUND_TRIPS, EXCHANGES)),
]  # fmt: skip
LOADS: Final = ["profile", "tool", "concurrency", "offered", "placement"]
SAME: Final = (
    "host",
    "peer",
    "load_host",
    "tool",
    "concurrency",
    "offered",
    "placement",
    "conditions",
    "emulated",
)


@dataclass(frozen=True, slots=True)
class Twin:
    """The baseline's two deployments in one cell, for one metric."""

    cell: Cell
    metric: str
    baseline: str
    pairs: Pairs
    pool: Floats
    campaigns: int


@dataclass(frozen=True, slots=True)
class Known:
    """What a lab knows of its noise: SD of ``pairs`` A/A log ratios; None below two."""

    profile: str
    tool: str
    concurrency: int
    offered: str
    placement: str
    campaigns: int
    pairs: int
    sd: float | None


def known_noise(dataset: Dataset) -> list[Known]:
    """By profile, load and placement, over the last ten campaigns that have A/A pairs.

    Pairs are pooled over hosts and variants: what is asked is how far two looks at one thing lie
    apart.
    """
    runs = good_runs(dataset.runs(columns=NEEDED))
    runs = runs[~runs["emulated"].eq(True)]
    found = []
    for key, rows in runs.groupby(LOADS, sort=True):
        pools: list[Floats] = []
        metric = primary_of(str(key[1])).name
        for campaign in campaigns_by_age(rows):
            own = rows[rows["campaign"] == campaign]
            arm = baseline_of(own)
            units = pair(own, metric, arm, arm, copy="b").units if arm else np.zeros(0)
            if units.size:
                pools.append(units)
        if pools:
            profile, tool, concurrency, offered, placement = key
            recent = pools[-HISTORY:]
            pool = np.concatenate(recent)
            sd = float(pool.std(ddof=1)) if pool.size > 1 else None
            named = (str(profile), str(tool), int(concurrency), str(offered), str(placement))
            found.append(Known(*named, len(recent), int(pool.size), sd))
    return found


def baseline_of(runs: pd.DataFrame) -> str | None:
    """The arm that has a copy b; None where none, or more than one, has."""
    arms = runs.loc[runs["copy"] == "b", "arm"].unique()
    return str(arms[0]) if len(arms) == 1 else None


def comparable_history(runs: pd.DataFrame, campaign: str) -> pd.DataFrame:
    """Good ``runs`` of ``campaign`` and up to ten before it of its profile on its set of hosts."""
    own = runs[runs["campaign"] == campaign]
    hosts = _hosts(own)
    older = []
    for name in campaigns_by_age(runs):
        if name == campaign:
            break
        rows = runs[runs["campaign"] == name]
        if set(rows["profile"]) == set(own["profile"]) and _hosts(rows) == hosts:
            older.append(name)
    return where(runs, runs["campaign"].isin([*older[-HISTORY:], campaign]))


def _hosts(rows: pd.DataFrame) -> frozenset[str]:
    named = (frozenset(rows[column]) for column in ("host", "peer", "load_host"))
    return frozenset[str]().union(*named) - {""}


def matching_history(rows: pd.DataFrame, history: pd.DataFrame, base: str) -> pd.DataFrame:
    """The rows of ``history`` that were measured as the baseline of a cell (``rows``) was."""
    like = rows[rows["arm"] == base].head(1)
    for column in SAME if len(like) else ():
        value = like[column].iloc[0]
        history = history[history[column].isna() if pd.isna(value) else history[column] == value]
    return history


def twin(cell: Cell, rows: pd.DataFrame, matching: pd.DataFrame, metric: str, base: str) -> Twin:
    """A/A pairs of one cell (``rows``: its good runs), and the pool for its noise floor."""
    pooled: list[Floats] = []
    for _, group in matching.groupby("campaign", sort=True):
        arm = baseline_of(group)
        found = pair(group, metric, arm, arm, copy="b").units if arm else np.zeros(0)
        if found.size:
            pooled.append(found)
    pool = np.concatenate(pooled) if pooled else np.zeros(0)
    return Twin(cell, metric, base, pair(rows, metric, base, base, copy="b"), pool, len(pooled))
