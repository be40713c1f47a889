"""One contrast over several hosts: each host's ratio, summaries, the ratio of ratios.

Each host's ratio is that of its own verdict. Only ratios are put together, never an absolute value
of two hosts. Hosts are refused as one comparison, with the reason in place of the result, where
they differ in profile, placement, version of the load tool or of the sidecars, or declared faults,
and where some are emulated and some are not.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pandas as pd

from analysis.between import (
    LEAST_HOSTS,
    LEAST_UNITS,
    Estimate,
    RandomEffects,
    average,
    combine,
    difference,
)
from analysis.contrast import Setting, mixed_values
from analysis.estimate import ALPHA, Location, holm
from analysis.verdict import Verdict, Word

UNKNOWN: Final = "unknown"
ALIKE: Final = ("profile", "placement", "tool_version", "conditions", "emulated")
SIDECARS: Final = "sidecar_version"


@dataclass(frozen=True, slots=True, order=True)
class Group:
    """Hosts of one architecture, real or emulated.

    ``ends``: the architecture; two of them where the far end of the topology has another.
    """

    ends: tuple[str, ...]
    emulated: bool

    @property
    def label(self) -> str:
        """``aarch64``, ``x86_64 to aarch64``, ``aarch64 (emulated)``."""
        return " to ".join(self.ends) + (" (emulated)" if self.emulated else "")


@dataclass(frozen=True, slots=True)
class HostRatio:
    """One host's ratio, its own verdict's; ``effect`` is None where that has no interval."""

    group: Group
    verdict: Verdict
    effect: Estimate | None

    @property
    def host(self) -> str:
        """The host of the topology."""
        return self.verdict.cell.host


@dataclass(frozen=True, slots=True)
class RatioOfRatios:
    """The first group's ratio over the second's; None where the hosts allow no number.

    ``margin`` is a ratio less one: the largest of the hosts' own. ``tests`` is the size of the Holm
    family: the declared contrasts of the metric in the setting. ``sample``: the hosts stand for
    hosts like them; else it is a statement on these hosts alone.
    """

    ratio: float
    low: float | None
    high: float | None
    p: float | None
    p_adjusted: float | None
    tests: int
    margin: float
    word: Word
    sample: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """One contrast of one metric in one setting over hosts of one group, or of two.

    ``refused``: why its hosts are not compared, else empty. ``notes``: what a reader should know.
    """

    groups: tuple[Group, ...]
    setting: Setting
    metric: str
    arm: str
    baseline: str
    hosts: tuple[HostRatio, ...]
    summaries: tuple[tuple[Group, RandomEffects], ...] = ()
    ratio: RatioOfRatios | None = None
    refused: str = ""
    notes: tuple[str, ...] = ()


def compare_hosts(
    groups: tuple[Group, ...],
    ratios: Sequence[HostRatio],
    rows: pd.DataFrame,
    machines: Mapping[str, set[str]],
) -> list[Comparison]:
    """One comparison for each contrast, metric and setting of the hosts of ``groups``.

    ``rows``: good runs with the column ``sidecar_version``. ``machines``: host -> boot ids; hosts
    that share one are no sample of hosts.
    """
    asked: dict[tuple[Setting, str, str, str], list[HostRatio]] = {}
    for one in ratios:
        if one.group in groups:
            verdict = one.verdict
            key = (verdict.cell.setting, verdict.metric, verdict.arm, verdict.baseline)
            asked.setdefault(key, []).append(one)
    drafts = []
    for key, hosts in asked.items():
        empty = Comparison(
            groups, *key, tuple(sorted(hosts, key=lambda h: (groups.index(h.group), h.host)))
        )
        drafts.append(_draft(empty, rows, machines))
    return _judged(drafts)


def refusal(comparison: Comparison, rows: pd.DataFrame) -> str:
    """In what the hosts differ that a comparison must hold constant, naming the values; or empty.

    ``rows`` as for ``compare_hosts``.
    """
    setting, names = comparison.setting, {one.host for one in comparison.hosts}
    unsaid = sorted({one.host for one in comparison.hosts if UNKNOWN in one.group.ends})
    own = rows[
        (rows["variant"].fillna("") == setting.variant)
        & (rows["tool"] == setting.tool)
        & (rows["concurrency"] == setting.concurrency)
        & (rows["offered"] == setting.offered)
        & rows["arm"].isin((comparison.arm, comparison.baseline))
        & rows["host"].isin(names)
    ]
    # A direct arm has no sidecars and its mesh arm has: what counts is all of a host's.
    versions = own.groupby("host")[SIDECARS].transform(
        lambda texts: ", ".join(sorted(set(texts) - {""}))
    )
    mixed = mixed_values(own.assign(**{SIDECARS: versions}), (*ALIKE, SIDECARS), "host")
    return "; ".join([*(f"arch: {UNKNOWN} ({', '.join(unsaid)})" for _ in unsaid[:1]), *mixed])


@dataclass(frozen=True, slots=True)
class _Draft:
    """A comparison before Holm: ``value`` is its log ratio of ratios, with ``estimate`` or not."""

    comparison: Comparison
    value: float | None = None
    estimate: Estimate | None = None
    sample: bool = False


def _draft(empty: Comparison, rows: pd.DataFrame, machines: Mapping[str, set[str]]) -> _Draft:
    groups = empty.groups
    refused = refusal(empty, rows)
    if refused:
        return _Draft(dataclasses.replace(empty, refused=refused))
    usable = {g: [h for h in empty.hosts if h.group == g and h.effect] for g in groups}
    effects = {g: [h.effect for h in own if h.effect] for g, own in usable.items()}
    enough = {g: _is_sample(own, machines) for g, own in usable.items()}
    summaries = {g: combine(effects[g]) for g in groups if enough[g]}
    found = dataclasses.replace(
        empty, summaries=tuple(summaries.items()), notes=tuple(_notes(empty, usable, machines))
    )
    if len(groups) == 1:
        return _Draft(found)
    sample = all(enough.values())
    if all(effects.values()):
        first, second = (summaries[g].mean if sample else average(effects[g]) for g in groups)
        estimate = difference(first, second)
        return _Draft(found, estimate.value, estimate, sample)
    known = {
        g: [math.log(h.verdict.ratio) for h in empty.hosts if h.group == g and h.verdict.ratio]
        for g in groups
    }
    if not all(known.values()):
        return _Draft(found)
    first_log, second_log = (sum(known[g]) / len(known[g]) for g in groups)
    return _Draft(found, first_log - second_log)


def _shared(hosts: Sequence[HostRatio], machines: Mapping[str, set[str]]) -> list[tuple[str, str]]:
    """Pairs of hosts that are one machine: of one boot id."""
    return [
        (one.host, other.host)
        for one, other in itertools.combinations(hosts, 2)
        if one.host == other.host or machines.get(one.host, set()) & machines.get(other.host, set())
    ]


def _is_sample(hosts: Sequence[HostRatio], machines: Mapping[str, set[str]]) -> bool:
    return len(hosts) >= LEAST_HOSTS and not _shared(hosts, machines)


def _notes(
    empty: Comparison,
    usable: Mapping[Group, Sequence[HostRatio]],
    machines: Mapping[str, set[str]],
) -> list[str]:
    taken = [host for own in usable.values() for host in own]
    lost = [f"{one.host} (n = {one.verdict.n})" for one in empty.hosts if one not in taken]
    notes = []
    if lost:
        notes.append(
            f"no interval, which takes {LEAST_UNITS} pairs that differ, on {', '.join(lost)}"
        )
    for group in usable:
        if not any(h.group == group and h.verdict.ratio for h in empty.hosts):
            notes.append(f"no ratio was measured on {group.label}")
    if not all(_is_sample(own, machines) for own in usable.values()):
        have = " and ".join(f"{len(own)} of {group.label}" for group, own in usable.items())
        notes.append(
            "host is a fixed factor, so this is of these hosts alone: a summary takes "
            f"{LEAST_HOSTS} machines of each architecture that have an interval, here {have}"
        )
    for one, other in [pair for own in usable.values() for pair in _shared(own, machines)]:
        notes.append(f"one machine: {one} and {other}")
    return notes


def _judged(drafts: Sequence[_Draft]) -> list[Comparison]:
    """Each draft with its word. The family of Holm's adjustment is as within a host."""
    family: dict[tuple[Setting, str], list[int]] = {}
    for index, draft in enumerate(drafts):
        asked = draft.comparison
        family.setdefault((asked.setting, asked.metric), []).append(index)
    adjusted: dict[int, tuple[float, int]] = {}
    for indexes in family.values():
        # A comparison without an interval was declared all the same: it stays in, at p = 1.
        raw = [found.p if (found := drafts[index].estimate) else 1.0 for index in indexes]
        for index, p in zip(indexes, holm(raw), strict=True):
            adjusted[index] = (p, len(indexes))
    return [
        dataclasses.replace(draft.comparison, ratio=_ratio(draft, *adjusted[index]))
        for index, draft in enumerate(drafts)
    ]


def _ratio(draft: _Draft, p_adjusted: float, tests: int) -> RatioOfRatios | None:
    """The rule of a verdict: *different* and *equivalent* cannot both hold."""
    if draft.value is None:
        return None
    hosts = draft.comparison.hosts
    margin = max(one.verdict.margin for one in hosts)
    estimate = draft.estimate
    word: Word = "inconclusive"
    low, high = estimate.interval() if estimate else (None, None)
    if estimate:
        delta = math.log1p(margin)
        at95, at90 = (
            Location(estimate.value, *estimate.interval(alpha), 1 - alpha, len(hosts))
            for alpha in (ALPHA, 2 * ALPHA)
        )
        if at95.beyond(delta) and p_adjusted < ALPHA:
            word = "different"
        elif at90.within(delta):
            word = "equivalent"
    return RatioOfRatios(
        ratio=math.exp(draft.value),
        low=None if low is None else math.exp(low),
        high=None if high is None else math.exp(high),
        p=estimate.p if estimate else None,
        p_adjusted=p_adjusted if estimate else None,
        tests=tests,
        margin=margin,
        word=word,
        sample=draft.sample,
    )
