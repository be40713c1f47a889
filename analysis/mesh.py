"""What a service mesh costs: the sidecars' settings, CPU by role, and the latency that they add.

An arm is a mesh arm where its deployments have sidecars, and a direct arm where they have neither
these nor bridges (plain relays, socat's).
The latency added is the difference of the two arms' quantile within each block, as one value a
run: the median of the differences with its order-statistic interval. A quantile q of a run counts
only where the tool's histogram has 100 / (1 - q) samples: 200 for the median, 10,000 for p99.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from analysis.contrast import Cell, cells_of, differences
from analysis.cpu import BRIDGE, cpu_by_role
from analysis.environment import parsed
from analysis.estimate import median_interval
from analysis.plan import Plan
from analysis.proofs import Proof

SETTINGS: Final = ("version", "concurrency", "access_log", "tracing", "ciphers")
WHERE: Final = "host"  # of a sidecar, and no setting
SETTING_OF: Final = {"sidecar_workers": "concurrency"}  # jobs' variables that set one
MEDIAN: Final = "latency_p50_s"
TAIL: Final = "latency_p99_s"
QUANTILES: Final = {MEDIAN: 0.5, TAIL: 0.99}


@dataclass(frozen=True, slots=True)
class Settings:
    """One sidecar of an arm in one variant: each setting's values, as JSON, over the blocks."""

    variant: str
    arm: str
    task: str
    values: Mapping[str, tuple[str, ...]]

    def shown(self, key: str) -> str:
        """The values of one setting for a person."""
        texts = [_plain(text) for text in self.values.get(key, ())]
        return "; ".join(texts) or "not said"


@dataclass(frozen=True, slots=True)
class Added:
    """Latency of a mesh arm less that of a direct one: seconds; None where n allows no number.

    ``blocks`` are those in which both arms had a value; ``n`` independent units of them.
    """

    cell: Cell
    arm: str
    direct: str
    sidecars: int
    quantile: float
    delta_s: float | None
    low_s: float | None
    high_s: float | None
    n: int
    blocks: int


@dataclass(frozen=True)
class Mesh:
    """Everything that the section shows; ``cpu`` as ``cpu_by_role`` gives it."""

    proofs: tuple[Proof, ...]
    settings: tuple[Settings, ...]
    cpu: pd.DataFrame
    added: tuple[Added, ...]
    warnings: tuple[str, ...]


def find_mesh(
    plan: Plan,
    good: pd.DataFrame,
    tables: Mapping[str, pd.DataFrame],
    proofs: tuple[Proof, ...],
) -> Mesh | None:
    """The mesh of a campaign; None where it has neither sidecars nor proofs.

    ``good``: the rows that are compared; ``tables``: bindings, containers, histograms.
    """
    settings = tuple(_settings(tables["bindings"], good))
    if not settings and not proofs:
        return None
    tasks = {one.arm: frozenset[str]() for one in settings}
    for one in settings:
        tasks[one.arm] |= {one.task}
    bridged = tables["containers"]["container"].astype("str").str.startswith(BRIDGE)
    runs = tables["containers"].loc[bridged & tables["containers"]["measured"].eq(True), "run"]
    relayed = frozenset(good.loc[good["run"].isin(runs), "arm"])
    return Mesh(
        proofs=proofs,
        settings=settings,
        cpu=cpu_by_role(good, tables["containers"], tasks),
        added=tuple(_added(plan, _with_enough(good, tables["histograms"]), settings, relayed)),
        warnings=tuple(setting_warnings(settings, plan.factor)),
    )


def _plain(text: str) -> str:
    value = json.loads(text)
    if isinstance(value, list):
        return ", ".join(str(item) for item in value) or "none"
    return value if isinstance(value, str) else "not said" if value is None else text


def _settings(bindings: pd.DataFrame, good: pd.DataFrame) -> Iterator[Settings]:
    variant_of = dict(zip(good["block"], good["variant"].fillna(""), strict=True))
    found: dict[tuple[str, str, str], dict[str, dict[str, None]]] = {}
    columns = (bindings[name] for name in ("block", "arm", "sidecars"))
    for block, arm, text in zip(*columns, strict=True):
        sidecars = parsed(text)
        if block not in variant_of or not isinstance(sidecars, dict):
            continue
        for task, facts in sidecars.items():
            own = found.setdefault((str(variant_of[block]), str(arm), str(task)), {})
            known: dict[str, Any] = facts if isinstance(facts, dict) else {}
            for key in (*SETTINGS, *sorted(known.keys() - set(SETTINGS))):
                value = json.dumps(known.get(key), sort_keys=True, ensure_ascii=False)
                own.setdefault(key, {})[value] = None  # a set that keeps its order
    for (variant, arm, task), values in sorted(found.items()):
        yield Settings(variant, arm, task, {key: tuple(own) for key, own in values.items()})


def setting_warnings(settings: Sequence[Settings], factor: str) -> Iterator[str]:
    """A line for each setting in which the arms' sidecars differ and that is not the factor."""
    by_task: dict[tuple[str, str], list[Settings]] = {}
    for one in settings:
        by_task.setdefault((one.variant, one.task), []).append(one)
    for (variant, task), arms in by_task.items():
        keys = dict.fromkeys(key for one in arms for key in one.values)
        for key in keys:
            if (
                key in (SETTING_OF.get(factor, factor), WHERE)
                or len({v for one in arms for v in one.values[key]}) == 1
            ):
                continue
            said = ", ".join(f"{one.shown(key)} ({one.arm})" for one in arms)
            where = f"{variant}: " if variant else ""
            yield f"{where}{key} of {task} differs in more than the factor: {said}"


def _added(
    plan: Plan,
    enough: pd.DataFrame,
    settings: Sequence[Settings],
    relayed: frozenset[str],
) -> Iterator[Added]:
    meshed = {one.arm for one in settings}
    for cell, rows in cells_of(enough):
        arms = set(rows["arm"])
        direct = arms - meshed - relayed
        # A mesh arm may have variants without a sidecar: a chain of one service.
        sidecars = Counter(one.arm for one in settings if one.variant == cell.variant)
        for arm in sorted(arms & sidecars.keys()):
            for other in references(plan, arm, direct):
                compared = rows[rows["arm"].isin((arm, other))]
                for column, quantile in QUANTILES.items():
                    if compared[column].notna().any():
                        ends = (arm, other)
                        yield _difference(cell, rows, ends, column, quantile, sidecars[arm])


def _with_enough(good: pd.DataFrame, histograms: pd.DataFrame) -> pd.DataFrame:
    """``good`` with null for each quantile of which the run's histogram has too few samples."""
    counts = histograms.groupby(["run", "attempt"])["count"].sum().rename("samples").reset_index()
    joined = good.merge(counts, on=["run", "attempt"], how="left")
    recorded = joined["samples"].astype("float64")
    # A tool without a histogram has sorted every latency for its median; its tail is as printed.
    samples = {MEDIAN: recorded.fillna(joined["requests"].astype("float64")), TAIL: recorded}
    for column, quantile in QUANTILES.items():
        least = round(100 / (1 - quantile))
        joined[column] = joined[column].astype("float64").where(samples[column] >= least)
    return joined


def references(plan: Plan, arm: str, direct: Collection[str]) -> list[str]:
    """The direct arms with which a mesh arm is compared, of those that contrasts connect it to.

    The runs of a contrast have one placement, so those along a chain of contrasts have too.
    Those that it is declared against and the baseline; where neither is direct, the nearest ones:
    mesh-unix against mesh-tcp and mesh-tcp against tcp lead from mesh-unix to tcp.
    """
    rings = list(_rings(plan.contrasts, arm))
    reached = {other for ring in rings for other in ring}
    near = [other for other in (rings[0] if rings else ()) if other in direct]
    if plan.baseline in reached and plan.baseline in direct:
        near.append(plan.baseline)
    found = near or next((own for ring in rings if (own := sorted(ring & set(direct)))), [])
    return sorted(set(found))


def _rings(contrasts: Sequence[tuple[str, str]], arm: str) -> Iterator[set[str]]:
    """The arms one contrast away from ``arm``, then two, and so on."""
    seen, ring = {arm}, {arm}
    while ring := {other for pair in contrasts for other in pair if ring & set(pair)} - seen:
        seen |= ring
        yield ring


def _difference(
    cell: Cell,
    rows: pd.DataFrame,
    arms: tuple[str, str],
    column: str,
    quantile: float,
    sidecars: int,
) -> Added:
    arm, direct = arms
    pairs = differences(rows, column, arm, direct)
    at = median_interval(pairs.units) if pairs.units.size else None
    return Added(
        cell=cell,
        arm=arm,
        direct=direct,
        sidecars=sidecars,
        quantile=quantile,
        delta_s=None if at is None else at.value,
        low_s=None if at is None else at.low,
        high_s=None if at is None else at.high,
        n=int(pairs.units.size),
        blocks=pairs.blocks,
    )
