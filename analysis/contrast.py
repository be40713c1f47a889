"""Cells, and the paired log ratios of two arms within a cell.

A cell is what a comparison holds constant: topology host and its peer, load host, variant, tool,
concurrency. In a block every arm runs once, so a pair is two runs of one block. A unit of inference
is a pair of deployments: blocks that share both deployments give one unit, the median of their log
ratios.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass
from typing import Final

import numpy as np
import pandas as pd

from analysis.errors import MixedComparisonError
from analysis.estimate import Floats
from analysis.metric import MB, ONE_WAY, words_of

CELL: Final = ["host", "load_host", "variant", "tool", "concurrency", "peer", "offered"]
BLOCK: Final = ["campaign", "block", "attempt"]
UNIFORM: Final = (
    "profile",
    "placement",
    "arch",
    "kind",
    "emulated",
    "conditions",
    "tool_version",
)


@dataclass(frozen=True, slots=True, order=True)
class Setting:
    """What a cell holds constant besides its hosts."""

    variant: str
    tool: str
    concurrency: int
    offered: str = ""

    @property
    def label(self) -> str:
        """``wrk, 16 connections, keepalive=true``, ``h2load, 64 connections, 70 % of peak``.

        Empty where no tool is named.
        """
        if not self.tool:
            return self.variant
        flows = f"{words_of(self.tool).flow}{'s' * (self.concurrency != 1)}"
        text = f"{self.tool}, {self.concurrency} {flows}"
        return ", ".join(filter(None, (text, self.offered, self.variant)))


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One (topology host, load host, variant, tool, concurrency, peer, offered load).

    No peer is empty, and so is what a closed loop offers.
    """

    host: str
    load_host: str
    variant: str
    tool: str
    concurrency: int
    peer: str = ""
    offered: str = ""

    @property
    def label(self) -> str:
        """What a reader needs to tell cells apart: ``lab-2, wrk, 16 connections, ...``."""
        return ", ".join(filter(None, (self.where, self.setting.label)))

    @property
    def where(self) -> str:
        """``lab-2``, with a far end ``lab-2 and lab-3``."""
        return f"{self.host} and {self.peer}" if self.peer else self.host

    @property
    def setting(self) -> Setting:
        """The cell without its hosts."""
        return Setting(self.variant, self.tool, self.concurrency, self.offered)


@dataclass(frozen=True, slots=True)
class Pairs:
    """Log ratios arm / baseline, or differences: ``units`` one an independent unit.

    ``blocks`` pairs are behind them.

    ``unpaired`` counts blocks in which only one of the two gave a usable value.
    """

    units: Floats
    blocks: int
    unpaired: int


def with_cpu_per_work(runs: pd.DataFrame) -> pd.DataFrame:
    """``runs`` with ``cpu_per_request_s`` and ``cpu_per_mb_s``: containers_cpu_s over requests, and
    over MB of payload; null where either is.
    """
    requests, megabytes = runs["requests"].astype("float64"), _megabytes(runs)
    cpu = runs["containers_cpu_s"].astype("float64")
    return runs.assign(
        cpu_per_request_s=cpu / requests.where(requests > 0),
        cpu_per_mb_s=cpu / megabytes.where(megabytes > 0),
    )


def _megabytes(runs: pd.DataFrame) -> pd.Series:
    return runs["transfer_bytes"].astype("float64") / MB


def work_done(runs: pd.DataFrame) -> pd.Series:
    """What CPU is divided by: the run's requests, its MB one way; null where there are none."""
    one_way = runs["tool"].isin(ONE_WAY)
    work = runs["requests"].astype("float64").where(~one_way, _megabytes(runs))
    return work.where(work > 0)


def cells_of(runs: pd.DataFrame) -> Iterator[tuple[Cell, pd.DataFrame]]:
    """Each cell with its rows, in a fixed order; sizes and rates by their number."""
    found: list[tuple[Cell, pd.DataFrame]] = []
    for key, rows in runs.groupby(CELL, sort=True, dropna=False):
        host, load_host, variant, tool, concurrency, *others = key
        name, far, offered = ("" if pd.isna(value) else str(value) for value in (variant, *others))
        named = (str(host), str(load_host), name, str(tool), int(concurrency))
        found.append((Cell(*named, far, offered), rows))
    yield from sorted(found, key=lambda one: (*astuple(one[0])[:-1], by_number(one[0].offered)))


def by_number(offered: str) -> tuple[float, str]:
    """A key that puts ``64 B`` before ``4,096 B``."""
    number = re.match(r"[0-9][0-9,]*([.][0-9]+)?", offered)
    return float(number[0].replace(",", "")) if number else 0.0, offered


def require_uniform(cell: Cell, rows: pd.DataFrame, arms: tuple[str, ...]) -> None:
    """Raise ``MixedComparisonError`` naming every column and value in which ``arms`` are mixed."""
    mixed = mixed_values(rows[rows["arm"].isin(arms)], UNIFORM, "arm")
    if mixed:
        raise MixedComparisonError(
            f"cell {cell.label}: {' against '.join(arms)} is no comparison, its runs differ in "
            + "; ".join(mixed)
            + ". Measure the arms again under the same conditions, or declare an experiment whose "
            "arms share them."
        )


def mixed_values(rows: pd.DataFrame, columns: Sequence[str], by: str) -> list[str]:
    """Each column with more than one value: ``placement: hosts (arm-1) and split (lab-2)``.

    ``by``: the column whose values say whose each value is.
    """
    mixed = []
    for column in columns:
        if len(rows[column].unique()) == 1:
            continue
        values = rows[column].map(lambda value: "unknown" if pd.isna(value) else str(value))
        if values.nunique() > 1:
            whose = rows.groupby(values)[by].unique()
            found = (f"{value or 'none'} ({', '.join(sorted(a))})" for value, a in whose.items())
            mixed.append(f"{column}: {' and '.join(found)}")
    return mixed


def pair(rows: pd.DataFrame, metric: str, arm: str, baseline: str, copy: str = "a") -> Pairs:
    """Log ratios of ``arm``'s copy ``copy`` over ``baseline``'s copy ``a``, within blocks.

    ``rows``: good runs of one cell. A value that is null or not positive has no logarithm: its
    block is counted as unpaired.
    """
    ends = ((arm, copy), (baseline, "a"))
    return _paired(rows, metric, ends, lambda value, base: math.log(value / base))


def differences(rows: pd.DataFrame, metric: str, arm: str, baseline: str) -> Pairs:
    """Differences, ``arm``'s value less ``baseline``'s, in the metric's unit; else as ``pair``."""
    return _paired(rows, metric, ((arm, "a"), (baseline, "a")), lambda value, base: value - base)


def _paired(
    rows: pd.DataFrame,
    metric: str,
    ends: tuple[tuple[str, str], tuple[str, str]],
    compare: Callable[[float, float], float],
) -> Pairs:
    of_arm, of_base = (_usable(rows, metric, arm, copy) for arm, copy in ends)
    units: dict[tuple[str, str, str], list[float]] = {}
    common = sorted(of_arm.keys() & of_base.keys())
    for block in common:
        (deployment, value), (other, base) = of_arm[block], of_base[block]
        units.setdefault((block[0], deployment, other), []).append(compare(value, base))
    medians = np.array([statistics.median(units[key]) for key in sorted(units)], dtype=np.float64)
    return Pairs(medians, len(common), len(of_arm.keys() ^ of_base.keys()))


def _usable(
    rows: pd.DataFrame, metric: str, arm: str, copy: str
) -> dict[tuple[str, int, int], tuple[str, float]]:
    """(campaign, block, attempt) -> (deployment, value), where the value has a logarithm."""
    own = rows[(rows["arm"] == arm) & (rows["copy"] == copy)]
    keys = zip(*(own[column].tolist() for column in BLOCK), strict=True)
    values = zip(own["deployment"].astype(str), own[metric].astype("float64"), strict=True)
    return {key: value for key, value in zip(keys, values, strict=True) if value[1] > 0}
