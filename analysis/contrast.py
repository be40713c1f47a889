"""Cells, and the paired log ratios of two arms within a cell.

A cell is what a comparison holds constant: topology host, load host, variant, tool, concurrency. In
a block every arm runs once, so a pair is two runs of one block. A unit of inference is a pair of
deployments: blocks that share both deployments give one unit, the median of their log ratios.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from analysis.errors import MixedComparisonError
from analysis.estimate import Floats

CELL: Final = ["host", "load_host", "variant", "tool", "concurrency"]
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
class Cell:
    """One (topology host, load host, variant, tool, concurrency)."""

    host: str
    load_host: str
    variant: str
    tool: str
    concurrency: int

    @property
    def label(self) -> str:
        """What a reader needs to tell cells apart: ``lab-2, wrk, 16 connections, ...``."""
        plural = "connection" if self.concurrency == 1 else "connections"
        text = f"{self.host}, {self.tool}, {self.concurrency} {plural}"
        return f"{text}, {self.variant}" if self.variant else text


@dataclass(frozen=True, slots=True)
class Pairs:
    """Log ratios arm / baseline: ``units`` one an independent unit, ``blocks`` pairs behind them.

    ``unpaired`` counts blocks in which only one of the two gave a usable value.
    """

    units: Floats
    blocks: int
    unpaired: int


def with_cpu_per_request(runs: pd.DataFrame) -> pd.DataFrame:
    """``runs`` with ``cpu_per_request_s`` (containers_cpu_s / requests); null where either is."""
    requests = runs["requests"].astype("float64")
    cpu = runs["containers_cpu_s"].astype("float64")
    return runs.assign(cpu_per_request_s=cpu / requests.where(requests > 0))


def cells_of(runs: pd.DataFrame) -> Iterator[tuple[Cell, pd.DataFrame]]:
    """Each cell with its rows, in a fixed order."""
    for key, rows in runs.groupby(CELL, sort=True, dropna=False):
        host, load_host, variant, tool, concurrency = key
        name = "" if pd.isna(variant) else str(variant)
        yield Cell(str(host), str(load_host), name, str(tool), int(concurrency)), rows


def require_uniform(cell: Cell, rows: pd.DataFrame, arms: tuple[str, ...]) -> None:
    """Raise ``MixedComparisonError`` naming every column and value in which ``arms`` are mixed."""
    compared = rows[rows["arm"].isin(arms)]
    mixed = []
    for column in UNIFORM:
        values = compared[column].map(lambda value: "unknown" if pd.isna(value) else str(value))
        if values.nunique() > 1:
            by_value = compared.groupby(values)["arm"].unique()
            found = (f"{value or 'none'} ({', '.join(sorted(a))})" for value, a in by_value.items())
            mixed.append(f"{column}: {' and '.join(found)}")
    if mixed:
        raise MixedComparisonError(
            f"cell {cell.label}: {' against '.join(arms)} is no comparison, its runs differ in "
            + "; ".join(mixed)
            + ". Measure the arms again under the same conditions, or declare an experiment whose "
            "arms share them."
        )


def pair(rows: pd.DataFrame, metric: str, arm: str, baseline: str, copy: str = "a") -> Pairs:
    """Log ratios of ``arm``'s copy ``copy`` over ``baseline``'s copy ``a``, within blocks.

    ``rows``: good runs of one cell. A value that is null or not positive has no logarithm: its
    block is counted as unpaired.
    """
    of_arm, of_base = _usable(rows, metric, arm, copy), _usable(rows, metric, baseline, "a")
    units: dict[tuple[str, str, str], list[float]] = {}
    common = sorted(of_arm.keys() & of_base.keys())
    for block in common:
        (deployment, value), (other, base) = of_arm[block], of_base[block]
        units.setdefault((block[0], deployment, other), []).append(math.log(value / base))
    medians = np.array([np.median(units[key]) for key in sorted(units)], dtype=np.float64)
    return Pairs(medians, len(common), len(of_arm.keys() ^ of_base.keys()))


def _usable(
    rows: pd.DataFrame, metric: str, arm: str, copy: str
) -> dict[tuple[str, int, int], tuple[str, float]]:
    """(campaign, block, attempt) -> (deployment, value), where the value has a logarithm."""
    own = rows[(rows["arm"] == arm) & (rows["copy"] == copy)]
    keys = zip(*(own[column].tolist() for column in BLOCK), strict=True)
    values = zip(own["deployment"].astype(str), own[metric].astype("float64"), strict=True)
    return {key: value for key, value in zip(keys, values, strict=True) if value[1] > 0}
