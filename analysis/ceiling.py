"""What a load generator can do by itself: did it, or the arm, set the figure?

The null server is a proxy without an application (the path ``proxy-alone`` of the experiment
``ceiling``): it answers at once, so what comes out is at least what the generator on that host can
ask for. An arm near it is measured together with its generator.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pandas as pd

from analysis.contrast import Cell, cells_of
from analysis.dataset import campaigns_by_age
from analysis.metric import PRIMARY
from collector.schema import GOOD, INVALID

NULL_SERVER: Final = "proxy-alone"
GENERATORS: Final = ("client_bound ", "little ")  # gates that a saturated generator fails
BOUND: Final = 0.85  # the share of its ceiling from which an arm says as much of the generator
SAME: Final = ("load_host", "tool", "concurrency", "offered")


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The generator of ``cell``: median of ``runs`` runs, and the share that ``arm`` took of it."""

    cell: Cell
    rps: float
    runs: int
    campaign: str
    arm: str
    share: float

    @property
    def bound(self) -> bool:
        """Whether the generator may have set the figure."""
        return self.share > BOUND


def find_ceilings(good: pd.DataFrame, lab: pd.DataFrame) -> Iterator[Ceiling]:
    """Yield the ceiling of each cell of ``good``, where the lab's good runs have one.

    It is of the newest campaign against the null server with the cell's load host, tool and
    concurrency. The share is the fastest arm's median throughput over it. ``lab``: its runs; there
    one counts too that is invalid for being the generator's alone, which is what is asked.
    """
    null = lab[(lab["path"] == NULL_SERVER) & lab[PRIMARY].notna()]
    rows = zip(null["state"], null["reasons"], strict=True)
    null = null[pd.Series([_counts(*row) for row in rows], index=null.index, dtype=bool)]
    age = {name: number for number, name in enumerate(campaigns_by_age(null))}
    for cell, rows in cells_of(good[good["path"] != NULL_SERVER]):
        alike = null
        for column in SAME:
            alike = alike[alike[column] == getattr(cell, column)]
        rates = rows.groupby("arm")[PRIMARY].median().dropna()
        if alike.empty or rates.empty:
            continue
        campaign = max(alike["campaign"].unique(), key=lambda name: age[name])
        own = alike.loc[alike["campaign"] == campaign, PRIMARY]
        fastest = str(rates.idxmax())
        share = float(rates.max() / own.median())
        yield Ceiling(cell, float(own.median()), len(own), str(campaign), fastest, share)


def _counts(state: object, reasons: object) -> bool:
    if state == INVALID:
        return all(why.startswith(GENERATORS) for why in str(reasons).split("; "))
    return state == GOOD
