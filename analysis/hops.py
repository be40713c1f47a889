"""What one more service costs in a chain: a ledger of time and CPU a hop, by arm.

A chain of ``services=N`` is measured at several lengths, one connection, so that a request's time
is what its hops take one after the other. Through the runs of an arm goes a line (least squares):
its slope is the cost of one more service. The parts are slopes too, of differences within blocks,
which know nothing of what a block's runs have in common: ``serialisation`` is what handing over
JSON costs more than handing over the object (arms with the paths ``encoded`` and ``call``),
``transport`` what an arm costs more than handing over JSON within a process: connection, HTTP and
the other process. ``application`` is the slope of ``call``. Intervals are 95 %, of the slope
(Student's t on n - 2 degrees of freedom; scipy.stats.linregress).

A line is a poor summary where the eighth service costs another amount than the second. ``steps``
has what one more service costs between one length and the next: the difference of the means over
that of the lengths, with Welch's 95 % interval (scipy.stats.ttest_ind), since runs of two lengths
are of different blocks.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import pandas as pd
from scipy import stats

from analysis.contrast import BLOCK, Cell, cells_of

LENGTH: Final = re.compile(r"(?:^|,)services=(\d+)(?=,|$)")
APPLICATION, SERIALISED = "call", "encoded"
WHOLE: Final = "whole"
METRICS: Final = ("latency_mean_s", "cpu_per_request_s")
LEAST_LENGTHS: Final = 3  # through two points goes every line


@dataclass(frozen=True, slots=True)
class Slope:
    """Seconds a hop, with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Hop:
    """One arm's cost of one more service, in one place, by one metric.

    ``cell`` is without the length. ``parts``: ``whole`` and what it consists of, as far as there
    were arms to tell. ``off``: the largest distance of a length's mean from the line, as a share of
    that mean: what a line does not explain. ``steps``: from one length to the next.
    """

    cell: Cell
    arm: str
    metric: str
    n: int
    lengths: tuple[int, ...]
    means: tuple[float, ...]
    parts: Mapping[str, Slope]
    off: float
    steps: Mapping[tuple[int, int], Slope]

    def share(self, part: str) -> float | None:
        """A part over the whole; None where it is not known, or the whole is lost in noise."""
        own, whole = self.parts.get(part), self.parts[WHOLE].value
        return None if own is None or whole <= 0 else own.value / whole


def find_hops(good: pd.DataFrame, paths: Mapping[str, str]) -> Iterator[Hop]:
    """Yield every arm's hop by time and by CPU. ``paths``: arm to the value of its ``path``."""
    variants = good["variant"].fillna("").astype("str")
    lengths = variants.str.extract(LENGTH, expand=False).astype("float64")
    chains = good[lengths.notna() & (good["concurrency"] == 1) & (good["copy"] == "a")]
    chains = chains.assign(
        length=lengths[chains.index],
        variant=variants[chains.index].str.replace(LENGTH, "", n=1, regex=True),
    )
    arms = {path: arm for arm, path in paths.items()}
    for cell, rows in cells_of(chains):
        for metric in METRICS:
            wide = rows.pivot_table(metric, [*BLOCK, "length"], "arm").reset_index("length")
            for arm in sorted(set(wide.columns) - {"length"}):
                own = wide[["length", arm]].dropna()
                if own["length"].nunique() >= LEAST_LENGTHS:
                    place = dataclasses.replace(cell, variant=cell.variant.strip(","))
                    yield _hop(place, str(arm), metric, wide, arms)


def _hop(cell: Cell, arm: str, metric: str, wide: pd.DataFrame, arms: Mapping[str, str]) -> Hop:
    own = wide[["length", arm]].dropna()
    means = own.groupby("length")[arm].mean()
    line = stats.linregress(own["length"], own[arm])
    off = (means - (line.intercept + line.slope * means.index)).abs() / means
    application, serialised = arms.get(APPLICATION, ""), arms.get(SERIALISED, "")
    steps = {
        "application": (application, None),
        "serialisation": (serialised, application),
        "transport": (arm, serialised),
    }
    known = {WHOLE: _slope(wide, arm, None)}
    if arm not in (application, serialised):
        known |= {name: _slope(wide, one, other) for name, (one, other) in steps.items()}
    return Hop(
        cell=cell,
        arm=arm,
        metric=metric,
        n=len(own),
        lengths=tuple(int(length) for length in means.index),
        means=tuple(map(float, means)),
        parts={name: slope for name, slope in known.items() if slope is not None},
        off=float(off.max()),
        steps=_steps({int(length): rows[arm] for length, rows in own.groupby("length")}),
    )


def _steps(by_length: Mapping[int, pd.Series]) -> dict[tuple[int, int], Slope]:
    """One more service between each length and the next; none where a length has but one run."""
    found = {}
    for short, long in pairwise(sorted(by_length)):
        before, after = by_length[short], by_length[long]
        if min(len(before), len(after)) > 1:
            between = stats.ttest_ind(after, before, equal_var=False).confidence_interval(0.95)
            more = float(after.mean() - before.mean())
            each = (value / (long - short) for value in (more, between.low, between.high))
            found[short, long] = Slope(*map(float, each))
    return found


def _slope(wide: pd.DataFrame, arm: str, less: str | None) -> Slope | None:
    """Slope of an arm, or of its difference from another one in the same blocks."""
    if arm not in wide or (less is not None and less not in wide):
        return None
    values = wide[arm] - (0.0 if less is None else wide[less])
    known = values.notna()
    lengths = wide["length"][known]
    if lengths.nunique() < LEAST_LENGTHS:
        return None
    line = stats.linregress(lengths, values[known])
    half = float(stats.t.ppf(0.975, len(lengths) - 2)) * line.stderr
    return Slope(float(line.slope), float(line.slope - half), float(line.slope + half))
