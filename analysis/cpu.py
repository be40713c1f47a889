"""CPU time per request by container: says why an arm is faster, with less noise than throughput.

Per run: each measured container's CPU / requests; ``idle arms`` are the containers of the other
deployments of the block; ``unattributed`` is the topology host's CPU less every container's (soft
interrupts and the like, slightly negative at times by the clock tick). The load generator stands
apart: it is on another host. Per arm: the median over blocks of each, so that the parts' medians
need not add up to the median of the total.
"""

from __future__ import annotations

from typing import Final

import pandas as pd

from analysis.contrast import CELL, with_cpu_per_request

IDLE: Final = "idle arms"
UNATTRIBUTED: Final = "unattributed"
TOTAL: Final = "containers together"
LOAD: Final = "load generator"
APART: Final = (TOTAL, LOAD)  # not slices of the stack


def cpu_by_container(runs: pd.DataFrame, containers: pd.DataFrame) -> pd.DataFrame:
    """Median CPU seconds a request, by cell, arm and part.

    ``runs``: good runs; ``containers``: that table. Columns: the cell's, ``arm``, ``part``,
    ``cpu_s`` (per request) and ``n`` (runs with a value). Only copy a of each arm.
    """
    chosen = runs[(runs["copy"] == "a") & (runs["requests"].fillna(0) > 0)]
    keys = ["run", "attempt", *CELL, "arm", "requests"]
    joined = containers.merge(chosen[keys], on=["run", "attempt"], how="inner")
    joined = joined[joined["cpu_s"].notna()]
    measured = joined["measured"].astype("boolean").fillna(False)
    part = joined["container"].where(measured, IDLE)
    joined = joined.assign(part=part, value=joined["cpu_s"] / joined["requests"])
    groups = ["run", "attempt", *CELL, "arm", "part"]
    by_run = joined.groupby(groups, sort=False, dropna=False)["value"].sum().reset_index()
    whole = with_cpu_per_request(chosen)
    for name, column in ((UNATTRIBUTED, "unattributed_cpu_s"), (LOAD, "load_cpu_s")):
        extra = chosen[keys].assign(part=name, value=chosen[column] / chosen["requests"])
        by_run = pd.concat([by_run, extra.drop(columns="requests")], ignore_index=True)
    total = whole[keys].assign(part=TOTAL, value=whole["cpu_per_request_s"])
    by_run = pd.concat([by_run, total.drop(columns="requests")], ignore_index=True)
    by_run = by_run[by_run["value"].notna()]
    table = by_run.groupby([*CELL, "arm", "part"], dropna=False)["value"].agg(["median", "size"])
    return table.reset_index().rename(columns={"median": "cpu_s", "size": "n"})
