"""Across hosts: does the ratio of two arms differ between architectures?

Input: the contrasts of a campaign with their verdicts, its runs, its bindings. Output: a page a
pair of architectures, or, where all hosts are of one, a page for those; none for a single host.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from analysis.between import effect_of
from analysis.contrast import Cell, cells_of
from analysis.environment import parsed
from analysis.hosts import SIDECARS, UNKNOWN, Comparison, Group, HostRatio, compare_hosts
from analysis.images import Image, read_images
from analysis.verdict import Contrast, Verdict
from collector.schema import GOOD

REFERENCE: Final = "x86_64"


@dataclass(frozen=True, slots=True)
class Served:
    """What an emulated host shows: of its ``runs`` (last attempts) of an arm so many had answers.

    ``good``: those whose figures hold besides, which slowness alone may keep them from.
    """

    host: str
    arm: str
    runs: int
    answered: int
    good: int


@dataclass(frozen=True, slots=True)
class Page:
    """Two groups, the reference last, or one. ``hosts``: by group, with far ends.

    Nothing is compared where a group of emulated hosts has nothing to compare: ``left_out``, it was
    not asked for; ``failed``, those of its hosts that have no good run, asked for or not.
    """

    groups: tuple[Group, ...]
    hosts: Mapping[Group, tuple[str, ...]]
    left_out: bool
    failed: tuple[str, ...]
    comparisons: tuple[Comparison, ...]
    served: tuple[Served, ...]
    images: tuple[Image, ...]

    @property
    def title(self) -> str:
        """``aarch64 against x86_64``, ``hosts of x86_64``."""
        names = [group.label for group in self.groups]
        return " against ".join(names) if len(names) == 2 else f"hosts of {names[0]}"

    @property
    def emulated(self) -> tuple[str, ...]:
        """The emulated hosts, or hosts with an emulated far end, those named beside them."""
        return tuple(h for group in self.groups if group.emulated for h in self.hosts[group])


def find_across(
    judged: Sequence[tuple[Contrast, Verdict]],
    good: pd.DataFrame,
    runs: pd.DataFrame,
    bindings: pd.DataFrame,
) -> tuple[Page, ...]:
    """The pages of a campaign.

    ``good``: the rows that are compared; ``runs``: last attempts in every state, and of emulated
    hosts that were not asked for too.
    """
    far = {peer: arch for peer, facts in _facts(bindings, "peer") if (arch := facts.get("arch"))}
    groups = {cell: _group(rows, far) for cell, rows in cells_of(runs)}
    hosts: dict[Group, tuple[str, ...]] = {}
    for cell, group in groups.items():
        hosts[group] = tuple(sorted({*hosts.get(group, ()), cell.where}))
    chosen = _chosen(hosts)
    if not chosen:
        return ()
    measured = {groups[cell] for cell, _ in cells_of(good)}
    sound = {groups[cell] for cell, _ in cells_of(runs[runs["state"] == GOOD])}
    rows, machines = _with_sidecars(good, bindings), _machines(bindings)
    ratios = [
        HostRatio(groups[verdict.cell], verdict, effect_of(contrast.pairs.units))
        for contrast, verdict in judged
    ]
    images = read_images(bindings)
    pages = []
    for page in chosen:
        absent = [group for group in page if group.emulated and group not in measured]
        ends = {end for group in page for end in group.ends}
        pages.append(
            Page(
                groups=page,
                hosts={group: hosts[group] for group in page},
                left_out=any(group in sound for group in absent),
                failed=tuple(h for group in absent if group not in sound for h in hosts[group]),
                comparisons=() if absent else tuple(compare_hosts(page, ratios, rows, machines)),
                served=tuple(_served(page, groups, runs)),
                images=tuple(image for image in images if image.arch in ends),
            )
        )
    return tuple(pages)


def _chosen(hosts: Mapping[Group, Sequence[str]]) -> list[tuple[Group, ...]]:
    """The pairs of different architectures; where there is none, each group of several hosts."""
    order = sorted(hosts, key=lambda group: (group.ends == (REFERENCE,), group))
    pairs: list[tuple[Group, ...]] = [
        pair for pair in itertools.combinations(order, 2) if pair[0].ends != pair[1].ends
    ]
    return pairs or [(group,) for group in order if len(hosts[group]) > 1]


def _facts(bindings: pd.DataFrame, whose: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(host or peer, facts), each distinct text once; ``whose`` is the column of its name."""
    column = "peer_environment" if whose == "peer" else "environment"
    rows = bindings[[whose, column]].dropna().drop_duplicates()
    for name, text in rows.itertuples(index=False, name=None):
        facts = parsed(text)
        if isinstance(facts, dict):
            yield str(name), facts


def _group(rows: pd.DataFrame, far: Mapping[str, Any]) -> Group:
    first = rows.iloc[0]
    near = UNKNOWN if pd.isna(first["arch"]) else str(first["arch"])
    ends = dict.fromkeys((near, str(far.get(str(first["peer"]), near))))
    return Group(tuple(ends), bool(rows["emulated"].eq(True).any()))


def _with_sidecars(good: pd.DataFrame, bindings: pd.DataFrame) -> pd.DataFrame:
    """``good`` with the versions of each deployment's sidecars; empty for one without."""
    versions = {}
    columns = (bindings[name] for name in ("block", "deployment", "sidecars"))
    for block, deployment, text in zip(*columns, strict=True):
        sidecars = parsed(text)
        known = sidecars.values() if isinstance(sidecars, dict) else ()
        found = {str(one.get("version")) for one in known if isinstance(one, dict)}
        versions[block, deployment] = ", ".join(sorted(found))
    keys = zip(good["block"], good["deployment"], strict=True)
    return good.assign(**{SIDECARS: [versions.get(key, "") for key in keys]})


def _machines(bindings: pd.DataFrame) -> dict[str, set[str]]:
    """Host -> its boot ids: virtual hosts of one machine have that machine's."""
    found: dict[str, set[str]] = {}
    for host, facts in _facts(bindings, "host"):
        if facts.get("boot_id"):
            found.setdefault(host, set()).add(str(facts["boot_id"]))
    return found


def _served(
    page: tuple[Group, ...], groups: Mapping[Cell, Group], runs: pd.DataFrame
) -> Iterator[Served]:
    emulated = {cell.host for cell, group in groups.items() if group in page and group.emulated}
    own = runs[runs["host"].isin(emulated)].drop_duplicates(["run", "attempt"])
    for (host, arm), rows in own.groupby(["host", "arm"], sort=True):
        answered = rows["exit_code"].eq(0) & rows["requests"].gt(0)
        good = rows["state"] == GOOD
        yield Served(str(host), str(arm), len(rows), int(answered.sum()), int(good.sum()))
