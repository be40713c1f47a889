"""How far an arm goes: its knee, and what more instances bring that are asked for meanwhile.

The knee is the least concurrency that reaches ``NEAR`` of the peak: from there on more callers get
longer waits and no more answers. In a closed loop the wait past it is concurrency over peak
(Little's law), whatever the transport.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pandas as pd

from analysis.contrast import Cell, cells_of
from analysis.metric import PRIMARY, is_primary

NEAR: Final = 0.95
LEVELS: Final = 3  # with two concurrencies there is a slope and no knee


@dataclass(frozen=True, slots=True)
class Knee:
    """One arm over the concurrencies of a closed loop, medians over runs.

    ``cell`` is the one at the knee. ``peak_rps`` was reached with ``peak_at`` connections, and
    ``most`` are the most that were tried; the latencies are medians of the runs' p50 and p99 at the
    knee and at the most. ``knee`` is None where the most tried is what reached it first: the arm
    may go further.
    """

    cell: Cell
    arm: str
    peak_rps: float
    peak_at: int
    knee: int | None
    most: int
    most_rps: float
    p50_knee_s: float | None
    p50_most_s: float | None
    p99_knee_s: float | None
    p99_most_s: float | None


@dataclass(frozen=True, slots=True)
class Grown:
    """One arm that grew in one cell: seconds from asking, medians over ``n`` runs with the range.

    ``running``: of the runs, how many had every new instance running by their end; ``served``: how
    many had each of them called.
    """

    cell: Cell
    arm: str
    n: int
    running: int
    running_s: float | None
    served: int
    served_s: float | None
    served_least_s: float | None
    served_most_s: float | None


def find_knees(good: pd.DataFrame) -> Iterator[Knee]:
    """Yield every arm's (copy a) knee, where a closed loop was tried at three concurrencies."""
    closed = good[
        (good["copy"] == "a") & (good["offered"].fillna("") == "") & good[PRIMARY].notna()
    ]
    by_place: dict[Cell, dict[int, pd.DataFrame]] = {}
    for cell, rows in cells_of(closed):
        if not is_primary(cell.tool, PRIMARY):
            continue
        place = dataclasses.replace(cell, concurrency=0)
        by_place.setdefault(place, {})[cell.concurrency] = rows
    for place, levels in by_place.items():
        for arm in sorted(set().union(*(rows["arm"] for rows in levels.values()))):
            own = {c: rows[rows["arm"] == arm] for c, rows in sorted(levels.items())}
            own = {c: rows for c, rows in own.items() if len(rows)}
            if len(own) >= LEVELS:
                yield _knee(place, str(arm), own)


def _knee(place: Cell, arm: str, levels: dict[int, pd.DataFrame]) -> Knee:
    rates = {c: float(rows[PRIMARY].median()) for c, rows in levels.items()}
    peak_at = max(rates, key=lambda c: rates[c])
    most = max(rates)
    reached = min(c for c, rate in rates.items() if rate >= NEAR * rates[peak_at])
    knee, last = levels[reached], levels[most]
    return Knee(
        cell=dataclasses.replace(place, concurrency=reached),
        arm=arm,
        peak_rps=rates[peak_at],
        peak_at=peak_at,
        knee=None if reached == most else reached,
        most=most,
        most_rps=rates[most],
        p50_knee_s=_median(knee["latency_p50_s"]),
        p50_most_s=_median(last["latency_p50_s"]),
        p99_knee_s=_median(knee["latency_p99_s"]),
        p99_most_s=_median(last["latency_p99_s"]),
    )


def find_grown(good: pd.DataFrame) -> Iterator[Grown]:
    """Yield every arm that asked for more instances while it was measured."""
    for cell, rows in cells_of(good[good["scaled_to"].notna()]):
        for arm, own in rows.groupby("arm", sort=True):
            running, served = own["scale_running_s"].dropna(), own["scale_served_s"].dropna()
            yield Grown(
                cell=cell,
                arm=str(arm),
                n=len(own),
                running=len(running),
                running_s=_median(running),
                served=len(served),
                served_s=_median(served),
                served_least_s=float(served.min()) if len(served) else None,
                served_most_s=float(served.max()) if len(served) else None,
            )


def _median(values: pd.Series) -> float | None:
    known = values.dropna().astype("float64")
    return float(known.median()) if len(known) else None
