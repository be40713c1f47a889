"""What the kernel counted besides, a request: why an arm is faster, as far as counters say.

Soft interrupts are where the network's work is done that no container is charged for; a Unix socket
has none of it. A thread that waits for another leaves its CPU: context switches are the wake-ups
that a hop costs. Connections opened tell whether keepalive held.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pandas as pd

from analysis.contrast import Cell, cells_of, work_done

COUNTERS: Final = (
    "softirq_cpu_s", "context_switches", "connections_opened", "retransmits",
    "listen_overflows", "throttled_count",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Counted:
    """One arm in one cell: medians over ``n`` runs, None where no host gave a counter.

    ``softirq_s``, ``switches`` and ``connections`` are a unit of work (a request; for stream a MB),
    the others a run.
    """

    cell: Cell
    arm: str
    n: int
    softirq_s: float | None
    switches: float | None
    connections: float | None
    retransmits: float | None
    listen_overflows: float | None
    throttled: float | None


def find_counted(good: pd.DataFrame) -> Iterator[Counted]:
    """Yield every cell's arms, both copies of the baseline together, where a counter is known."""
    for cell, rows in cells_of(good):
        for arm, own in rows.groupby("arm", sort=True):
            work = work_done(own)
            softirq, switches, opened, *others = (own[one].astype("float64") for one in COUNTERS)
            each = (values / work for values in (softirq, switches, opened))
            found = [_median(values) for values in (*each, *others)]
            if any(value is not None for value in found):
                yield Counted(cell, str(arm), len(own), *found)


def _median(values: pd.Series) -> float | None:
    known = values.dropna()
    return float(known.median()) if len(known) else None
