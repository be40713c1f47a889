"""System calls a request, by arm and container: what each way asks of the kernel.

They are of one run an arm in each cell, apart from what is timed: the tracer slows what it counts,
and a slower server finds more to do at each wake-up, so waits (epoll_wait) are fewer than they are
untraced. A request that had begun when the load ended has calls and is not counted, so the figures
are up to concurrency over requests too high.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from analysis.contrast import Cell, cells_of
from analysis.environment import parsed

RUN = ["run", "attempt"]


@dataclass(frozen=True, slots=True)
class Calls:
    """One container of an arm in one cell: each system call's number a request, the largest first.

    ``requests`` are those of the traced runs together, both copies of the baseline's.
    """

    cell: Cell
    arm: str
    container: str
    requests: int
    each: dict[str, float]

    @property
    def total(self) -> float:
        """All of them, a request."""
        return sum(self.each.values())


def find_calls(good: pd.DataFrame, containers: pd.DataFrame) -> Iterator[Calls]:
    """Yield the containers of every arm whose system calls were counted."""
    counted = containers[containers["measured"].eq(True) & containers["calls"].notna()]
    for cell, rows in cells_of(good[good["traced_requests"].fillna(0) > 0]):
        joined = rows[[*RUN, "arm", "traced_requests"]].merge(counted, on=RUN)
        for (arm, container), own in joined.groupby(["arm", "container"], sort=True):
            requests = int(own["traced_requests"].sum())
            sums: dict[str, int] = {}
            for text in own["calls"]:
                found = parsed(text)
                for name, number in (found if isinstance(found, dict) else {}).items():
                    sums[str(name)] = sums.get(str(name), 0) + int(number)
            ordered = sorted(sums.items(), key=lambda item: (-item[1], item[0]))
            each = {name: number / requests for name, number in ordered}
            yield Calls(cell, str(arm), str(container), requests, each)
