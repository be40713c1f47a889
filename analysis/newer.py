"""Two campaigns: what became of each arm's ratio to the baseline.

Campaigns are days apart and the machine is another one each day, so that figures are not compared:
the baseline was measured beside each arm both times, and the ratio of its ratios is what changed.
The noise floor is that of both, put together as independent errors are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis import __version__
from analysis.compare import Judged, Table, judge, path_of
from analysis.contrast import Cell
from analysis.errors import MixedComparisonError, UnknownNameError
from analysis.estimate import ALPHA, Floats, Location, holm
from analysis.metric import Metric
from analysis.noise import LEAST_MARGIN
from analysis.two_samples import rank_sum_p, shift
from analysis.verdict import Verdict, Word, decide


@dataclass(frozen=True, slots=True)
class Change:
    """One arm: its ratio to the baseline then and now, and the one over the other.

    None where there are too few units for a number. ``margin`` is a ratio less one.
    """

    cell: Cell
    by: tuple[tuple[str, str], ...]
    arm: str
    old: float | None
    new: float | None
    n_old: int
    n_new: int
    word: Word
    ratio: float | None
    low: float | None
    high: float | None
    p: float | None
    p_adjusted: float | None
    tests: int
    margin: float

    def regressed(self, metric: Metric) -> bool:
        """Whether it is different, and for the worse; or gave figures then, and none now."""
        if self.n_old and not self.n_new:
            return True
        if self.word != "different" or self.ratio is None or metric.higher_is_better is None:
            return False
        return (self.ratio < 1) == metric.higher_is_better


@dataclass(frozen=True, slots=True)
class Changes:
    """Every arm that both have; ``gone`` names what only the older has, ``added`` the other.

    The campaigns' ids are None for a CSV.
    """

    old: str
    old_campaign: str | None
    new: str
    new_campaign: str | None
    baseline: str
    metric: str
    changes: tuple[Change, ...]
    gone: tuple[str, ...]
    added: tuple[str, ...]
    analysis: str = __version__


def changes(
    old: str,
    new: str,
    baseline: str,
    metric: str,
    by: Sequence[str] = (),
    *,
    emulated: bool = False,
) -> Changes:
    """Compare two sources, named as for ``compare``.

    Raises ``AnalysisError`` and its kinds: ``UnknownNameError`` where they share no arm of a cell,
    ``MixedComparisonError`` where a cell was measured otherwise (profile, tool version, ...).
    """
    (path_old, id_old, then), (path_new, id_new, now) = (
        _judged(source, baseline, metric, by, emulated=emulated) for source in (old, new)
    )
    if (path_old.resolve(), id_old) == (path_new.resolve(), id_new):
        raise UnknownNameError(
            f"{old} and {new} are the same figures ({id_old or path_old}): "
            "name two campaigns (FOLDER@CAMPAIGN), or two files"
        )
    found: list[Change] = []
    for key in sorted(then.keys() & now.keys()):
        _require_alike(then[key], now[key])
        found += _of_cell(then[key], now[key])
    if not found:
        raise UnknownNameError(
            f"{old} and {new} share no arm but {baseline} on the same host under the same load"
        )
    gone, added = _arms(then) - _arms(now), _arms(now) - _arms(then)
    return Changes(
        old=str(path_old),
        old_campaign=id_old,
        new=str(path_new),
        new_campaign=id_new,
        baseline=baseline,
        metric=metric,
        changes=tuple(found),
        gone=tuple(sorted(gone)),
        added=tuple(sorted(added)),
    )


_Key = tuple[Cell, tuple[tuple[str, str], ...]]


def _judged(
    source: str, baseline: str, metric: str, by: Sequence[str], *, emulated: bool
) -> tuple[Path, str | None, dict[_Key, Judged]]:
    campaign, found = judge(source, baseline, metric, by, emulated=emulated)
    return path_of(source)[0], campaign, {one.key: one for one in found}


def _arms(of: Mapping[_Key, Judged]) -> set[str]:
    return {f"{_label(key)}, {arm}" for key, one in of.items() for arm in one.units}


def _label(key: _Key) -> str:
    cell, by = key
    return ", ".join([cell.label, *(f"{name}={value}" for name, value in by)])


def _require_alike(then: Judged, now: Judged) -> None:
    mixed = [
        f"{name}: {then.held[name]} then, {now.held[name]} now"
        for name in then.held
        if then.held[name] != now.held[name]
    ]
    if mixed:
        raise MixedComparisonError(
            f"cell {then.table.cell.label}: then against now is no comparison, they differ in "
            f"{'; '.join(mixed)}. Measure again under the same conditions"
        )


def _of_cell(then: Judged, now: Judged) -> list[Change]:
    arms = sorted(then.units.keys() & now.units.keys())
    adjusted = holm([rank_sum_p(then.units[arm], now.units[arm]) for arm in arms])
    before, after = ({v.arm: v for v in one.table.verdicts} for one in (then, now))
    return [
        _change(then.table, before[arm], after[arm], then.units[arm], now.units[arm], p, len(arms))
        for arm, p in zip(arms, adjusted, strict=True)
    ]


def margin_of(before: Verdict, after: Verdict) -> float:
    """The margin of a change, in log units: both noise floors together, and no less than 2 %."""
    floor = math.hypot(*(math.log1p(one.noise_floor or 0.0) for one in (before, after)))
    return max(math.log1p(LEAST_MARGIN), floor)


def judge_change(
    old: Floats, new: Floats, delta: float, p_adjusted: float, tests: int
) -> tuple[Word, Location]:
    """The verdict on two samples of log ratios, and the shift between them with its interval."""
    known = bool(old.size and new.size)
    at95 = shift(old, new, ALPHA) if known else Location(math.nan, None, None, None, 0)
    at90 = shift(old, new, 2 * ALPHA) if known else at95
    word, _ = decide(at95, at90, delta, p_adjusted, tests)
    return word, at95


def _change(
    table: Table,
    before: Verdict,
    after: Verdict,
    old: Floats,
    new: Floats,
    p_adjusted: float,
    tests: int,
) -> Change:
    delta = margin_of(before, after)
    known = bool(old.size and new.size)
    word, at95 = judge_change(old, new, delta, p_adjusted, tests)
    return Change(
        cell=table.cell,
        by=table.by,
        arm=before.arm,
        old=before.ratio,
        new=after.ratio,
        n_old=int(old.size),
        n_new=int(new.size),
        word=word,
        ratio=math.exp(at95.value) if known else None,
        low=None if at95.low is None else math.exp(at95.low),
        high=None if at95.high is None else math.exp(at95.high),
        p=rank_sum_p(old, new) if known else None,
        p_adjusted=p_adjusted if known else None,
        tests=tests,
        margin=math.expm1(delta),
    )
