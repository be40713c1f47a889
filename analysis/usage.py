"""What each container of an arm used: memory by kind, bytes over networks and block devices.

Memory is as it was after a run: what the processes hold (``own``), page cache and the kernel's part
stand apart, since a container that has read a large file is not a large program. Bytes are a unit
of work. A network's bytes are its namespace's, which the tasks of an allocation may share, so they
are not added up; those of a container on the host's own network are nobody's. Everything else adds
up to the arm (``TOGETHER``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pandas as pd

from analysis.contrast import Cell, cells_of, work_done
from analysis.metric import OF_CELLS

TOGETHER: Final = "together"
MEMORY: Final = ("memory_bytes", "memory_cache_bytes", "memory_kernel_bytes")
BLOCKS: Final = ("read_bytes", "written_bytes")
NETWORK: Final = ("received_bytes", "sent_bytes", "loopback_bytes")
LIMIT: Final = "memory_limit_hits"
_RUN: Final = ["run", "attempt"]
_SAID: Final = (*MEMORY, LIMIT, *BLOCKS, *NETWORK)
_SHOWN: Final = ("own", *MEMORY[1:], LIMIT, *BLOCKS, *NETWORK)


@dataclass(frozen=True, slots=True)
class Used:
    """One container of an arm in one cell, or all ``TOGETHER``: medians over ``n`` runs.

    Bytes; None where no host said it. ``own`` is memory less cache and the kernel's part; ``hits``
    how often a run met the memory limit; what was read, written and sent is a unit of work (a
    request; for stream a MB).
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

    ``good``: runs; ``containers``: that table. Counters are of whole runs: no part is a cell's.
    """
    whole = good[~good["tool"].isin(OF_CELLS)]
    measured = containers.loc[containers["measured"].eq(True), [*_RUN, "container", *_SAID]]
    for cell, rows in cells_of(whole):
        own = rows.assign(work=work_done(rows))[[*_RUN, "arm", "work"]].merge(measured, on=_RUN)
        own = own.astype(dict.fromkeys(_SAID, "float64"))
        # A kernel that does not say its part has it among the processes'.
        kernel = own["memory_kernel_bytes"].fillna(0)
        own["own"] = own["memory_bytes"] - own["memory_cache_bytes"] - kernel
        for name in (*BLOCKS, *NETWORK):
            own[name] = own[name] / own["work"]
        for arm, of_arm in own.groupby("arm", sort=True):
            found = [
                _used(cell, str(arm), str(task), of_task)
                for task, of_task in of_arm.groupby("container", sort=True)
            ]
            if any(one.own is not None for one in found):
                yield from found
                if len(found) > 1:
                    sums = of_arm.groupby(_RUN)[list(_SHOWN)].sum(min_count=len(found))
                    yield _used(cell, str(arm), TOGETHER, sums.assign(**dict.fromkeys(NETWORK)))


def _used(cell: Cell, arm: str, container: str, runs: pd.DataFrame) -> Used:
    return Used(cell, arm, container, len(runs), *(_median(runs[name]) for name in _SHOWN))


def _median(values: pd.Series) -> float | None:
    known = values.dropna()
    return float(known.median()) if len(known) else None
