"""What callers saw fail, for experiments that ask it: how much, of which kind, how long it took.

A share that is zero has no ratio, so failures are described and not contrasted: the median over
blocks with its order-statistic interval. Throughput counts what was answered well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import pandas as pd

from analysis.contrast import Cell, cells_of
from analysis.estimate import Location, median_interval

# What a caller sees, and the column in which wrk counts it; plans take no other tool for this.
KINDS: Final[Mapping[str, str]] = {
    "refused with a status": "errors_status",
    "not connected": "errors_connect",
    "cut off": "errors_read",
    "not sent": "errors_write",
    "answered too late": "errors_timeout",
}
# Never answered, so not among the tool's requests.
UNANSWERED: Final = ("errors_connect", "errors_read", "errors_write")


@dataclass(frozen=True, slots=True)
class Failures:
    """One arm in one cell over ``n`` runs: ``share`` of what was asked for; ``kinds`` its parts.

    ``p50_s`` and ``p99_s`` are medians of the runs' latencies, failures that were answered
    included. ``retransmits`` and ``listen_overflows`` are TCP's counters of hosts and
    the deployment's networks, a run's median; None where no host gave them.
    """

    cell: Cell
    arm: str
    n: int
    share: Location
    kinds: Mapping[str, float]
    p50_s: float | None
    p99_s: float | None
    retransmits: float | None
    listen_overflows: float | None


def well_answered(runs: pd.DataFrame) -> pd.DataFrame:
    """``runs`` with ``throughput_rps`` of those requests alone that got no error for a status."""
    requests = runs["requests"].astype("float64")
    refused = (runs["errors_status"].astype("float64").fillna(0) / requests).where(requests > 0)
    return runs.assign(throughput_rps=runs["throughput_rps"].astype("float64") * (1 - refused))


def find_failures(good: pd.DataFrame) -> Iterator[Failures]:
    """Yield every cell's arms (copy a), in the order of their names."""
    for cell, rows in cells_of(good[good["copy"] == "a"]):
        for arm, own in rows.groupby("arm", sort=True):
            counts = own[list(KINDS.values())].astype("float64").fillna(0)
            asked = own["requests"].astype("float64") + counts[list(UNANSWERED)].sum(axis=1)
            shares = counts.div(asked.where(asked > 0), axis=0).dropna()
            if shares.empty:
                continue
            yield Failures(
                cell=cell,
                arm=str(arm),
                n=len(shares),
                share=median_interval(shares.sum(axis=1).to_numpy()),
                kinds={
                    name: float(shares[column].median())
                    for name, column in KINDS.items()
                    if shares[column].gt(0).any()
                },
                p50_s=_median(own["latency_p50_s"]),
                p99_s=_median(own["latency_p99_s"]),
                retransmits=_median(own["retransmits"]),
                listen_overflows=_median(own["listen_overflows"]),
            )


def _median(values: pd.Series) -> float | None:
    known = values.dropna().astype("float64")
    return float(known.median()) if len(known) else None
