"""Where a system job runs and where not, host by host, from what Nomad's API says.

Nomad places a system job once on every host. Its evaluations name one host without room at most
and count the others, and ``nomad job run`` names none: so each host on which the job does not run
is asked about by a dry run of the job that is pinned to it. Pure: answers in, one ``Placement`` a
host out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

# Keys of Nomad's Resources by the dimension that it calls exhausted, with the unit.
ASKED: Final = {
    "memory": ("MemoryMB", "MB"),
    "disk": ("DiskMB", "MB"),
    "cpu": ("CPU", "of CPU, where 100000 is one core"),
}


@dataclass(frozen=True)
class Placement:
    """One host's part in a system job; ``why_not`` is None where it runs."""

    job: str
    host: str
    why_not: str | None


def pinned(job: Mapping[str, Any], node: str) -> dict[str, Any]:
    """Return the job as it would be for the node of this id alone."""
    only = {"LTarget": "${node.unique.id}", "RTarget": node, "Operand": "="}
    return {**job, "Constraints": [*(job["Constraints"] or []), only]}


def placements(
    job: Mapping[str, Any],
    nodes: Iterable[Mapping[str, Any]],
    allocations: Iterable[Mapping[str, Any]],
    dry_run: Callable[[str], Mapping[str, Any]],
) -> list[Placement]:
    """Say for every host of the job's datacenters whether the job runs there, and if not, why.

    ``job`` is an entry of ``/v1/jobs``, ``nodes`` is ``/v1/nodes``, ``allocations`` is
    ``/v1/job/ID/allocations``; ``dry_run`` gives the answer of ``/v1/job/ID/plan`` for the job
    pinned to the node of that id. Sorted by host.
    """
    newest: dict[str, Mapping[str, Any]] = {}
    for allocation in sorted(allocations, key=lambda one: int(one["CreateIndex"])):
        newest[allocation["NodeID"]] = allocation
    return [
        Placement(
            job["ID"], node["Name"], _why_not(job["ID"], node, newest.get(node["ID"]), dry_run)
        )
        for node in sorted(nodes, key=lambda one: str(one["Name"]))
        if any(fnmatchcase(node["Datacenter"], pattern) for pattern in job["Datacenters"])
    ]


def _why_not(
    job: str,
    node: Mapping[str, Any],
    allocation: Mapping[str, Any] | None,
    dry_run: Callable[[str], Mapping[str, Any]],
) -> str | None:
    """Return None where the job runs, else the reason."""
    if node["Status"] != "ready":
        return f"the host is {node['Status']}"
    if allocation is not None and allocation["DesiredStatus"] == "run":
        state = allocation["ClientStatus"]
        return None if state == "running" else f"{job} is {state}{_failed(allocation)}"
    if node["SchedulingEligibility"] != "eligible":
        return "the host is drained, or not eligible"
    answer = dry_run(node["ID"])
    if failures := answer.get("FailedTGAllocs"):
        return f"no room for {job}: {_exhausted(failures.values())}"
    groups = ((answer.get("Annotations") or {}).get("DesiredTGUpdates") or {}).values()
    if any(group["Place"] for group in groups):
        return f"{job} is not placed yet"
    return f"a constraint of {job} leaves this host out"


def _failed(allocation: Mapping[str, Any]) -> str:
    states = (allocation["TaskStates"] or {}).items()
    failed = sorted(name for name, task in states if task["Failed"])
    return f": task {', '.join(failed)} failed" if failed else ""


def _exhausted(failures: Iterable[Mapping[str, Any]]) -> str:
    """Name the exhausted dimensions, and what the job asks for of them."""
    reasons = [
        f"{dimension} exhausted{_ask(dimension, metrics)}"
        for metrics in failures
        for dimension in sorted(metrics.get("DimensionExhausted") or {})
    ]
    return ", ".join(reasons) or "Nomad does not say of what"


def _ask(dimension: str, metrics: Mapping[str, Any]) -> str:
    if dimension not in ASKED:
        return ""
    key, unit = ASKED[dimension]
    asked = sum(task[key] for task in (metrics.get("ResourcesExhausted") or {}).values())
    return f" (it asks for {asked} {unit})" if asked else ""
