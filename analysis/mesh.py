"""What a service mesh costs: the sidecars' settings, CPU by role, and the latency that they add.

An arm is a mesh arm where its deployments have sidecars, and a direct arm where they have none.
The latency added is the difference of the two arms' quantile within each block, as one value a
run: the median of the differences with its order-statistic interval. A quantile q of a run counts
only where the tool's histogram has 100 / (1 - q) samples: 200 for the median, 10,000 for p99.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from analysis.contrast import Cell, cells_of, differences
from analysis.cpu import cpu_by_role
from analysis.environment import parsed
from analysis.estimate import median_interval
from analysis.plan import Plan
from analysis.proofs import Proof

SETTINGS: Final = ("version", "concurrency", "access_log", "tracing", "ciphers")
WHERE: Final = "host"  # of a sidecar, and no setting
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
    return Mesh(
        proofs=proofs,
        settings=settings,
        cpu=cpu_by_role(good, tables["containers"], tasks),
        added=tuple(_added(plan, good, tables["histograms"], tasks)),
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
            if key in (factor, WHERE) or len({v for one in arms for v in one.values[key]}) == 1:
                continue
            said = ", ".join(f"{one.shown(key)} ({one.arm})" for one in arms)
            where = f"{variant}: " if variant else ""
            yield f"{where}{key} of {task} differs in more than the factor: {said}"


def _added(
    plan: Plan, good: pd.DataFrame, histograms: pd.DataFrame, tasks: Mapping[str, frozenset[str]]
) -> Iterator[Added]:
    enough = _with_enough(good, histograms)
    for cell, rows in cells_of(enough):
        for arm, direct in _mesh_pairs(plan, list(rows["arm"].unique()), tasks):
            for column, quantile in QUANTILES.items():
                if rows[column].notna().any():
                    yield _difference(cell, rows, (arm, direct), column, quantile, len(tasks[arm]))


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


def _mesh_pairs(
    plan: Plan, arms: Sequence[str], tasks: Mapping[str, frozenset[str]]
) -> Iterator[tuple[str, str]]:
    """Each mesh arm with the direct arms that it is declared to be compared with.

    Where none is declared: with the baseline, or, where that is a mesh arm, with every direct arm.
    """
    direct = [arm for arm in arms if arm not in tasks]
    for arm in sorted(arm for arm in arms if arm in tasks):
        declared = [
            other
            for pair in plan.contrasts
            for other in pair
            if arm in pair and other != arm and other in direct
        ]
        default = [plan.baseline] if plan.baseline in direct else sorted(direct)
        for other in dict.fromkeys(declared or default):
            yield arm, other


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
