"""Does a result agree with itself? Little's law: rate x mean latency = concurrency.

A closed loop that keeps its connections busy satisfies it; a row that does not was measured, read
or printed wrongly. The same check is put to our runs and to published rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pandas as pd

from analysis.contrast import Cell, cells_of
from analysis.metric import OF_CELLS, words_of

TOLERANCE: Final = 0.10
BODY_TOLERANCE: Final = 0.05


@dataclass(frozen=True, slots=True)
class LittleCheck:
    """Median of rate x mean latency / concurrency of one arm; ``holds`` within 10 % of 1."""

    cell: Cell
    arm: str
    ratio: float
    n: int
    holds: bool


def little(throughput_rps: float, latency_mean_s: float, concurrency: float) -> float:
    """Rate x latency / concurrency: 1 when a row agrees with itself."""
    return throughput_rps * latency_mean_s / concurrency


def holds(ratio: float) -> bool:
    """Whether a ``little`` ratio is 1 within 10 %."""
    return abs(ratio - 1) <= TOLERANCE


def check_little(runs: pd.DataFrame) -> list[LittleCheck]:
    """One check a cell and arm (copy a) over its good runs; none without a mean latency.

    None in an open loop either, whose connections are idle between requests, nor of a run's parts,
    in which there is more than what is timed.
    """
    checks = []
    rate = runs["throughput_rps"].astype("float64")
    ratio = rate * runs["latency_mean_s"].astype("float64") / runs["concurrency"]
    ratio = runs["little_ratio"].astype("float64").fillna(ratio)
    chosen = runs.assign(ratio=ratio)[
        (runs["copy"] == "a")
        & (runs["offered"] == "")
        & ~runs["tool"].isin(OF_CELLS)
        & ratio.notna()
    ]
    for cell, rows in cells_of(chosen):
        for arm, own in rows.groupby("arm", sort=True):
            middle = float(own["ratio"].median())
            checks.append(LittleCheck(cell, str(arm), middle, len(own), holds(middle)))
    return checks


def body_warnings(runs: pd.DataFrame) -> list[str]:
    """A warning for each cell whose arms answer with bodies of different length.

    Bytes read a request, medians of good runs, more than 5 % apart.
    """
    warnings = []
    size = runs["transfer_bytes"].astype("float64") / runs["requests"]
    for cell, rows in cells_of(runs.assign(size=size)[size.notna()]):
        sizes = rows.groupby("arm")["size"].median()
        if len(sizes) > 1 and sizes.max() > sizes.min() * (1 + BODY_TOLERANCE):
            work = words_of(cell.tool).work
            warnings.append(
                f"{cell.label}: arms answer with different lengths, {sizes.min():.0f} B a {work} "
                f"({sizes.idxmin()}) to {sizes.max():.0f} B ({sizes.idxmax()})"
            )
    return warnings
