"""The verdict on one contrast: different, equivalent or inconclusive.

* different: Holm-adjusted p < 0.05 and the 95 % interval lies wholly outside the margin;
* equivalent: the 90 % interval lies wholly inside it (two one-sided tests at 5 %);
* inconclusive: neither.

The 95 % interval contains the 90 % interval, so the first two cannot both hold. The margin is
symmetric in log units: 2 % means a ratio between 1/1.02 and 1.02.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from analysis import __version__
from analysis.contrast import Cell, Pairs
from analysis.estimate import (
    ALPHA,
    Location,
    hodges_lehmann,
    holm,
    least_units,
    signed_rank_p,
    units_for_margin,
    win_fraction,
)
from analysis.noise import LEAST_MARGIN, Twin

Word = Literal["different", "equivalent", "inconclusive"]


@dataclass(frozen=True, slots=True)
class Contrast:
    """What is asked: one metric of two arms in one cell, and the noise floor there (log units)."""

    cell: Cell
    metric: str
    arm: str
    baseline: str
    pairs: Pairs
    floor: float | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to a ``Contrast``. Ratios are arm / baseline; None where n allows no number.

    ``margin`` and ``noise_floor`` are ratios less one (0.02 is 2 %). ``tests`` is the size of the
    Holm family. ``blocks_needed`` is a total, given only when inconclusive and when more blocks
    than were run should settle it. ``analysis`` is the version that said so.
    """

    cell: Cell
    metric: str
    arm: str
    baseline: str
    word: Word
    reason: str
    ratio: float | None
    low: float | None
    high: float | None
    low90: float | None
    high90: float | None
    n: int
    blocks: int
    unpaired: int
    win_fraction: float | None
    p: float | None
    p_adjusted: float | None
    tests: int
    margin: float
    noise_floor: float | None
    blocks_needed: int | None
    analysis: str = __version__


def judge_all(contrasts: Sequence[Contrast]) -> list[Verdict]:
    """One verdict a contrast, in order.

    The Holm family is the declared contrasts of one metric in one cell, as the plan counts them
    when it says how many blocks suffice: each cell answers a question of its own.
    """
    adjusted: dict[int, float] = {}
    family: dict[tuple[Cell, str], list[int]] = {}
    for index, contrast in enumerate(contrasts):
        family.setdefault((contrast.cell, contrast.metric), []).append(index)
    for indexes in family.values():
        # A contrast without pairs was declared all the same: it stays in the family, at p = 1.
        raw = [signed_rank_p(contrasts[index].pairs.units) for index in indexes]
        adjusted.update(zip(indexes, holm(raw), strict=True))
    return [
        _judge(contrast, adjusted[index], len(family[contrast.cell, contrast.metric]))
        for index, contrast in enumerate(contrasts)
    ]


def judge_twin(twin: Twin) -> Verdict:
    """The A/A gate's verdict: the baseline's copy b against a, by the fixed 2 % margin, alone."""
    contrast = Contrast(twin.cell, twin.metric, twin.baseline, twin.baseline, twin.pairs, None)
    return _judge(contrast, signed_rank_p(twin.pairs.units), 1)


def _judge(contrast: Contrast, p_adjusted: float, tests: int) -> Verdict:
    units = contrast.pairs.units
    delta = max(math.log1p(LEAST_MARGIN), contrast.floor or 0.0)
    known = units.size > 0
    at95 = hodges_lehmann(units) if known else Location(math.nan, None, None, None, 0)
    at90 = hodges_lehmann(units, 2 * ALPHA) if known else at95
    word, reason = decide(at95, at90, delta, p_adjusted, tests)
    return Verdict(
        cell=contrast.cell,
        metric=contrast.metric,
        arm=contrast.arm,
        baseline=contrast.baseline,
        word=word,
        reason=reason,
        ratio=math.exp(at95.value) if known else None,
        low=_ratio(at95.low),
        high=_ratio(at95.high),
        low90=_ratio(at90.low),
        high90=_ratio(at90.high),
        n=int(units.size),
        blocks=contrast.pairs.blocks,
        unpaired=contrast.pairs.unpaired,
        win_fraction=win_fraction(units) if known else None,
        p=signed_rank_p(units) if known else None,
        p_adjusted=p_adjusted if known else None,
        tests=tests,
        margin=math.expm1(delta),
        noise_floor=None if contrast.floor is None else math.expm1(contrast.floor),
        blocks_needed=_needed(contrast, delta, tests) if word == "inconclusive" else None,
    )


def _ratio(log_ratio: float | None) -> float | None:
    return None if log_ratio is None else math.exp(log_ratio)


def decide(
    at95: Location, at90: Location, delta: float, p_adjusted: float, tests: int
) -> tuple[Word, str]:
    """The rule: the word, and why. Intervals, and the margin ``delta``, in log units."""
    if at95.n == 0:
        return "inconclusive", "no block has a good run of both arms"
    if at95.beyond(delta):
        if p_adjusted < ALPHA:
            return "different", "the 95 % interval lies wholly outside the margin"
        return "inconclusive", _holm_reason(at95.n, tests)
    if at90.within(delta):
        return "equivalent", "the 90 % interval lies wholly inside the margin"
    if at95.low is None:
        return "inconclusive", f"n = {at95.n} has no 95 % interval, which takes 6"
    return "inconclusive", "the interval crosses the edge of the margin"


def _holm_reason(n: int, tests: int) -> str:
    least = least_units(tests)
    if n < least:
        return (
            f"outside the margin, but n = {n} cannot survive Holm over {tests}, which takes {least}"
        )
    return f"outside the margin, but not significant after Holm over {tests}"


def _needed(contrast: Contrast, delta: float, tests: int) -> int | None:
    """Total blocks for a half-width of the margin, and no fewer than Holm asks.

    None where that many were run already: then the effect lies near the margin's edge, and no
    number of blocks promises to settle on which side.
    """
    by_spread = units_for_margin(contrast.pairs.units, delta) or 0
    total = max(by_spread, least_units(tests))
    return total if total > contrast.pairs.units.size else None
