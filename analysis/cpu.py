"""CPU time per unit of work by container: says why an arm is faster, less noisy than throughput.

Per run: each measured container's CPU / requests (transactions; for stream per MB of payload; for
runs of several cells per run);
``idle arms`` are the containers of the other deployments of the block; ``unattributed`` is the
hosts' CPU less every container's (soft interrupts and the like, slightly negative at times by the
clock tick). The load generator stands apart where it is on another host; one that runs inside is
the container ``load`` and a part like the others, but no part of ``containers together``. Per arm:
the median over blocks of each, so that the parts' medians need not add up to the median of the
total.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pandas as pd

from analysis.contrast import CELL, work_done
from analysis.metric import OF_CELLS, words_of

IDLE: Final = "idle arms"
UNATTRIBUTED: Final = "unattributed"
TOTAL: Final = "containers together"
LOAD: Final = "load generator"
APART: Final = (TOTAL, LOAD)  # not slices of the stack

APPLICATION: Final = "application"
CALLER: Final = "load or proxy"
LOAD_TASK: Final = "load"  # of a tool that runs inside
CALLERS: Final = frozenset({LOAD_TASK, "proxy"})  # tasks at the near end of the path
HOSTS: Final = "hosts together"
BRIDGE: Final = "bridge-"  # tasks that relay without a mesh

_RUN: Final = ["run", "attempt", *CELL, "arm"]


def cpu_by_container(runs: pd.DataFrame, containers: pd.DataFrame) -> pd.DataFrame:
    """Median CPU seconds a unit of work, by cell, arm and part.

    ``runs``: good runs; ``containers``: that table. Columns: the cell's, ``arm``, ``part``,
    ``cpu_s``, ``n`` (runs with a value) and ``per`` (request, transaction, MB, run). Only copy a.
    """
    chosen = _chosen(runs)
    joined = _joined(chosen, containers)
    outside = chosen[chosen["inside"].map(lambda value: value is not True and value != 1)]
    return _medians(
        _summed(joined, joined["container"]),
        _column(chosen, UNATTRIBUTED, "unattributed_cpu_s"),
        _column(outside, LOAD, "load_cpu_s"),
        _column(chosen, TOTAL, "containers_cpu_s"),
    )


def cpu_by_role(
    runs: pd.DataFrame, containers: pd.DataFrame, sidecars: Mapping[str, frozenset[str]]
) -> pd.DataFrame:
    """The same by role: application, load or proxy, each sidecar and bridge by its name.

    ``sidecars``: arm -> the tasks that are its sidecars. Beside them the idle arms, what is
    unattributed, and ``hosts together``: all that the topology's hosts used.
    """
    chosen = _chosen(runs)
    joined = _joined(chosen, containers)
    names = zip(joined["arm"], joined["container"], strict=True)
    roles = [_role(str(task), sidecars.get(str(arm), frozenset())) for arm, task in names]
    return _medians(
        _summed(joined, pd.Series(roles, index=joined.index, dtype="object")),
        _column(chosen, UNATTRIBUTED, "unattributed_cpu_s"),
        _column(chosen, HOSTS, "host_cpu_s"),
    )


def _role(task: str, sidecars: frozenset[str]) -> str:
    if task in sidecars or task.startswith(BRIDGE):
        return task
    return CALLER if task in CALLERS else APPLICATION


def _chosen(runs: pd.DataFrame) -> pd.DataFrame:
    own = runs.assign(work=work_done(runs))
    return own[(own["copy"] == "a") & own["work"].notna()]


def _joined(chosen: pd.DataFrame, containers: pd.DataFrame) -> pd.DataFrame:
    """Containers with the run that they belong to; those without a counter are left out.

    A container's counter is of a whole run: no part of it is a cell's (``cells.whole_runs``).
    """
    chosen = chosen[~chosen["tool"].isin(OF_CELLS)]
    wanted = containers[["run", "attempt", "container", "measured", "cpu_s"]]
    joined = wanted.merge(chosen[[*_RUN, "work"]], on=["run", "attempt"], how="inner")
    return joined[joined["cpu_s"].notna()]


def _summed(joined: pd.DataFrame, names: pd.Series) -> pd.DataFrame:
    """One row a run and part; the containers of waiting deployments are one part."""
    measured = joined["measured"].astype("boolean").fillna(False)
    value = joined["cpu_s"] / joined["work"]
    parts = joined.assign(part=names.where(measured, IDLE), value=value)
    groups = parts.groupby([*_RUN, "part"], sort=False, dropna=False)
    return groups["value"].sum().reset_index()


def _column(chosen: pd.DataFrame, part: str, column: str) -> pd.DataFrame:
    value = chosen[column].astype("float64") / chosen["work"]
    return chosen[_RUN].assign(part=part, value=value)


def _medians(*by_run: pd.DataFrame) -> pd.DataFrame:
    frame = pd.concat([one for one in by_run if len(one)] or [by_run[0]], ignore_index=True)
    frame = frame[frame["value"].notna()]
    table = frame.groupby([*CELL, "arm", "part"], dropna=False)["value"].agg(["median", "size"])
    table = table.reset_index().rename(columns={"median": "cpu_s", "size": "n"})
    return table.assign(per=[words_of(str(tool)).cpu_per for tool in table["tool"]])
