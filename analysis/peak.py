"""How much each arm can serve at most: what an open loop's rate is a share of.

The peak of an arm on its hosts is the largest median throughput over the closed-loop cells of an
experiment's newest campaign that has good runs there: it serves no more than when all that is asked
is the next request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from analysis.dataset import Dataset, campaigns_by_age, good_runs
from analysis.metric import OF_CELLS, PRIMARY

PLACE: Final = ["experiment", "host", "peer", "variant", "arm"]
NEEDED: Final = [*PLACE, "campaign", "tool", "concurrency", "offered", "started_wall_s", PRIMARY]


@dataclass(frozen=True, slots=True)
class Peak:
    """``peak_rps`` of one arm: the median of ``runs`` runs of ``campaign`` at one load."""

    experiment: str
    host: str
    peer: str
    variant: str
    arm: str
    peak_rps: float
    tool: str
    concurrency: int
    runs: int
    campaign: str


def peaks(dataset: Dataset) -> list[Peak]:
    """Return the peak of every arm on every host of every experiment, as far as measured."""
    runs = good_runs(dataset.runs(columns=NEEDED))
    runs = runs[(runs["offered"] == "") & runs[PRIMARY].notna() & ~runs["tool"].isin(OF_CELLS)]
    age = {name: number for number, name in enumerate(campaigns_by_age(runs))}
    found = []
    for place, rows in runs.groupby(PLACE, sort=True):
        campaign = max(rows["campaign"].unique(), key=lambda name: age[name])
        loads = rows[rows["campaign"] == campaign].groupby(["tool", "concurrency"])[PRIMARY]
        tool, concurrency = loads.median().idxmax()
        own = loads.get_group((tool, concurrency))
        experiment, host, peer, variant, arm = map(str, place)
        found.append(
            Peak(
                experiment, host, peer, variant, arm,
                float(own.median()), str(tool), int(concurrency), len(own), str(campaign),
            )
        )  # fmt: skip
    return found
