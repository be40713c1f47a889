"""What each container of an arm used: memory by kind, bytes over networks and block devices.

Memory is as it was after a run: what the processes hold (``own``), page cache with shared memory
and the kernel's part stand apart, since a container that has read a large file is not a large
program. Bytes are a unit of work. A network's bytes are its namespace's, which the tasks of an
allocation may share, so they are not added up; those of a container on the host's own network are
nobody's. Everything else adds up to the arm (``TOGETHER``), without a load generator inside. An arm
that grew is left out: its new instances are not known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pandas as pd

from analysis.contrast import Cell, cells_of, work_done
from analysis.cpu import LOAD_TASK
from analysis.metric import OF_CELLS

TOGETHER: Final = "together"
MEMORY: Final = ("memory_anonymous_bytes", "memory_cache_bytes", "memory_kernel_bytes")
BLOCKS: Final = ("read_bytes", "written_bytes")
NETWORK: Final = ("received_bytes", "sent_bytes", "loopback_bytes")
LIMIT: Final = "memory_limit_hits"
_RUN: Final = ["run", "attempt"]
_ALL: Final = (*MEMORY, LIMIT, *BLOCKS, *NETWORK)


@dataclass(frozen=True, slots=True)
class Used:
    """One container of an arm in one cell, or all ``TOGETHER``: medians over ``n`` runs.

    Bytes; None where no host said it. ``hits``: how often a run met the memory limit; what was
    read, written and sent is a unit of work (a request; for stream a MB).
    """

    cell: Cell
    arm: str
    container: str
    n: int
    own: float | None
    cache: float | None
    kernel: float | None
    hits: float | None
    read: float | None
    written: float | None
    received: float | None
    sent: float | None
    loopback: float | None


def find_used(good: pd.DataFrame, containers: pd.DataFrame) -> Iterator[Used]:
    """Yield the containers of every arm, both copies of the baseline together.

    ``good``: runs; ``containers``: that table. Counters are of whole runs: no part is a cell's
    (``cells.whole_runs`` are taken).
    """
    whole = good[~good["tool"].isin(OF_CELLS) & good["scaled_to"].isna()]
    measured = containers.loc[containers["measured"].eq(True), [*_RUN, "container", *_ALL]]
    for cell, rows in cells_of(whole):
        own = rows.assign(work=work_done(rows))[[*_RUN, "arm", "inside", "work"]].merge(
            measured, on=_RUN
        )
        own = own.astype(dict.fromkeys(_ALL, "float64"))
        for name in (*BLOCKS, *NETWORK):
            own[name] = own[name] / own["work"]
        known = own[own[list(_ALL)].notna().any(axis=1)]
        for arm, of_arm in known.groupby("arm", sort=True):
            found = [
                _used(cell, str(arm), str(task), of_task)
                for task, of_task in of_arm.groupby("container", sort=True)
            ]
            yield from found
            parts = of_arm[~(of_arm["inside"].eq(True) & of_arm["container"].eq(LOAD_TASK))]
            number = parts["container"].nunique()
            if number > 1:
                sums = parts.groupby(_RUN)[list(_ALL)].sum(min_count=number)
                yield _used(cell, str(arm), TOGETHER, sums.assign(**dict.fromkeys(NETWORK)))


def _used(cell: Cell, arm: str, container: str, runs: pd.DataFrame) -> Used:
    return Used(cell, arm, container, len(runs), *(_median(runs[name]) for name in _ALL))


def _median(values: pd.Series) -> float | None:
    known = values.dropna()
    return float(known.median()) if len(known) else None
