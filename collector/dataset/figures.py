"""A run's columns from its times and counters; null where one of them is not known."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from collector.dataset.counters import (
    NS,
    Observed,
    cpu_of_all_ns,
    grown,
    growth_of,
    host_cpu,
    network,
    own_network,
)
from collector.dataset.fields import (
    Body,
    as_json,
    mapping,
    maybe_mapping,
    maybe_number,
    maybe_text,
    maybe_whole,
    refuse,
    text,
    whole,
)
from collector.dataset.header import Container, Deployment, Header

Row = dict[str, Any]
NETWORK: Final = {
    "connections_opened": "ActiveOpens",
    "listen_overflows": "ListenOverflows",
    "retransmits": "RetransSegs",
}
# What a container's cgroup, and its network namespace, count up.
_OWN: Final = ("memory_limit_hits", "read_bytes", "written_bytes")
_NETWORK: Final = ("received_bytes", "sent_bytes", "loopback_bytes")
_MEMORY: Final = (
    "memory_bytes", "memory_anonymous_bytes", "memory_cache_bytes", "memory_kernel_bytes",
)  # fmt: skip
_THROUGH: Final = ("read_bytes", "written_bytes", "links_bytes")
_UNKNOWN: Final[tuple[Body, Body]] = ({}, {})


def _spent_ns(body: Body | None, begin: str, end: str) -> int | None:
    if body is None:
        return None
    first, last = maybe_whole(body, begin), maybe_whole(body, end)
    return None if first is None or last is None else last - first


def times(body: Body, measure: Body) -> Row:
    """Columns of a run's times, from the monotonic clock, and how it ended."""
    warmup = maybe_mapping(body, "warmup")
    warmup_ns = _spent_ns(warmup, "started_monotonic_ns", "ended_monotonic_ns")
    measured_ns = _spent_ns(measure, "started_monotonic_ns", "ended_monotonic_ns")
    run_ns = _spent_ns(body, "began_monotonic_ns", "finished_monotonic_ns")
    started = maybe_whole(measure, "started_wall_ns")
    overhead_ns = None
    # A run without warm-up has no such time to take away; one whose warm-up is unknown has.
    if run_ns is not None and measured_ns is not None and (warmup is None or warmup_ns is not None):
        overhead_ns = run_ns - measured_ns - (warmup_ns or 0)
    return {
        "started_wall_s": None if started is None else started / NS,
        "warmup_s": None if warmup_ns is None else warmup_ns / NS,
        "measured_s": None if measured_ns is None else measured_ns / NS,
        "overhead_s": None if overhead_ns is None else overhead_ns / NS,
        "exit_code": whole(measure, "exit_code"),
    }


def growth(body: Body) -> Row:
    """Columns of an arm that was told to grow as the measured part began; null for any other."""
    scaled = maybe_mapping(body, "scaled") or {}
    return {
        "scaled_to": maybe_whole(scaled, "to"),
        "scale_running_s": maybe_number(scaled, "running_s"),
        "scale_served_s": maybe_number(scaled, "served_s"),
    }


def spans(body: Body) -> Row:
    """The column of one request's spans, as JSON; null where none was kept."""
    listed = (maybe_mapping(body, "spans") or {}).get("spans") or []
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise refuse("spans", "a list of objects", listed)
    return {"spans": as_json([_span(one) for one in listed]) if listed else None}


def _span(one: Body) -> Row:
    return {
        "span": text(one, "span"),
        "parent": maybe_text(one, "parent"),
        "service": text(one, "service"),
        "kind": text(one, "kind"),
        "start_us": maybe_number(one, "start_us"),
        "duration_us": maybe_number(one, "duration_us"),
    }


def counters(
    row: Row, measure: Body, header: Header, deployment: Deployment, observed: Observed
) -> Row:
    """CPU, steal, throttling and network columns of a run; ``row`` has its times and record.

    An inside tool shares the topology's CPUs by design: its CPU is the container ``load``'s, which
    is no part of ``containers_cpu_s``, and it has no cores of its own to have a share of.
    """

    def own(key: str) -> int | None:
        # Of an arm that grew the new instances are not bound, and a part is no figure of the whole.
        whole = row["scaled_to"] is None
        return growth_of(observed, _places(deployment.topology), key) if whole else None

    mine_ns = own("cpu_ns")
    every_ns, cpu = cpu_of_all_ns(observed, header.cpus), host_cpu(observed, header.cpus)
    load_s = _load_cpu_s(measure, deployment, observed)
    capacity = 0.0 if deployment.inside else (row["measured_s"] or 0.0) * (header.cores or 0)
    known = cpu.busy_s is not None and every_ns is not None
    return {
        "containers_cpu_s": None if mine_ns is None else mine_ns / NS,
        "host_cpu_s": cpu.busy_s,
        "unattributed_cpu_s": (cpu.busy_s or 0.0) - (every_ns or 0) / NS if known else None,
        "load_cpu_s": load_s,
        "load_cpu_share": load_s / capacity if load_s is not None and capacity > 0 else None,
        "steal_share": cpu.steal_share,
        "throttled_count": growth_of(observed, _places(deployment.containers), "throttled_count"),
        "softirq_cpu_s": cpu.softirq_s,
        "context_switches": own("context_switches"),
        **{
            column: _network(observed, header, deployment, name) for column, name in NETWORK.items()
        },
        "little_ratio": _little_ratio(row),
    }


def _network(observed: Observed, header: Header, deployment: Deployment, name: str) -> int | None:
    """The hosts' own, and that of the deployment's namespaces; None if a host's is not known."""
    hosts = network(observed, header.cpus, name)
    if hosts is None:
        return None
    return hosts + own_network(observed, _places(deployment.containers), name)


def _places(containers: Iterable[Container]) -> list[tuple[str, str]]:
    return [(container.host, container.id) for container in containers]


def _load_cpu_s(measure: Body, deployment: Deployment, observed: Observed) -> float | None:
    """CPU of the load generator: its process's, or its container's where it runs inside one."""
    if deployment.inside and deployment.containers:
        load = _places(deployment.load)
        spent = growth_of(observed, load, "cpu_ns") if load else None
        return None if spent is None else spent / NS
    user, system = maybe_number(measure, "cpu_user_s"), maybe_number(measure, "cpu_system_s")
    return None if user is None or system is None else user + system


def _little_ratio(row: Row) -> float | None:
    rate, latency, concurrency = (
        row["throughput_rps"],
        row["latency_mean_s"],
        row["concurrency"],
    )
    if rate is None or latency is None or row["offered"]:
        return None  # in an open loop connections are idle between requests
    return float(rate * latency / concurrency)


def container_rows(
    run: str, header: Header, measured: Deployment, observed: Observed, calls: Body
) -> list[Row]:
    """Rows of the table ``containers``: one for each container of every deployment in the block.

    ``calls``: of the measured deployment, task to what its system calls were counted to be.
    """
    rows = []
    afterwards = {
        host: maybe_mapping(taken or {}, "cgroups") or {} for host, taken in observed.after.items()
    }
    for deployment in header.deployments.values():
        for container in deployment.containers:
            seen = observed.windows.get(container.host)
            first, last = (seen.cgroups if seen else {}).get(container.id, _UNKNOWN)
            after = afterwards.get(container.host, {})
            now = maybe_mapping(after, container.id) or {}
            first_net, last_net = (maybe_mapping(one, "net") or {} for one in (first, last))
            rows.append(
                {
                    "run": run,
                    "attempt": header.attempt,
                    "deployment": deployment.job,
                    "container": container.task,
                    "container_id": container.id,
                    "host": container.host,
                    "allocation": container.allocation,
                    "measured": deployment is measured,
                    "cpu_s": _grown_s(first, last, "cpu_ns"),
                    "cpu_user_s": _grown_s(first, last, "cpu_user_ns"),
                    "cpu_system_s": _grown_s(first, last, "cpu_system_ns"),
                    "throttled_count": grown(first, last, "throttled_count"),
                    "throttled_s": _grown_s(first, last, "throttled_ns"),
                    "memory_peak_bytes": maybe_whole(now, "memory_peak_bytes"),
                    **{name: maybe_whole(now, name) for name in _MEMORY},
                    **{name: grown(first, last, name) for name in _OWN},
                    **{name: grown(first_net, last_net, name) for name in _NETWORK},
                    "network": maybe_whole(last_net, "namespace"),
                    "processes": _processes(first, last),
                    "calls": _calls(calls, container.task) if deployment is measured else None,
                }
            )
    return rows


def _processes(before: Body, after: Body) -> str | None:
    """Those there after the run, by name. One that began during it has used all that it says."""
    listed = maybe_mapping(after, "processes")
    if listed is None:
        return None
    earlier, found = maybe_mapping(before, "processes") or {}, dict[str, Row]()
    for key in listed:
        now, then = mapping(listed, key), maybe_mapping(earlier, key) or {"cpu_ns": 0}
        own = found.setdefault(
            text(now, "name"), {"number": 0, "cpu_s": 0.0, "memory_anonymous_bytes": 0}
        )
        own["number"] += 1
        own["cpu_s"] += (whole(now, "cpu_ns") - whole(then, "cpu_ns")) / NS
        own["memory_anonymous_bytes"] += whole(now, "memory_anonymous_bytes")
    return as_json(found)


def host_rows(run: str, header: Header, observed: Observed) -> list[Row]:
    """Rows of the table ``hosts``: one for each of the topology's hosts that was seen."""
    rows = []
    for host in header.cpus:
        seen = observed.windows.get(host)
        first, last = (
            (None, None)
            if seen is None
            else (maybe_mapping(one, "host") for one in (seen.before, seen.after))
        )
        if seen is None or first is None or last is None:
            continue
        rows.append(
            {
                "run": run,
                "attempt": header.attempt,
                "host": host,
                **{name: maybe_whole(last, name) for name in _MEMORY},
                **{name: grown(first, last, name) for name in _THROUGH},
                "complete": seen.settled,
            }
        )
    return rows


def _calls(calls: Body, task: str) -> str | None:
    counted = maybe_mapping(calls, task)
    return None if counted is None else as_json({name: whole(counted, name) for name in counted})


def _grown_s(before: Body, after: Body, key: str) -> float | None:
    delta = grown(before, after, key)
    return None if delta is None else delta / NS
