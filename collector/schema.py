"""The one home of every column: name, type, unit, meaning.

This is the only module of ``collector`` that ``analysis`` may import. It imports nothing but the
standard library, so that parsers, which run where nothing is installed, can use it too.

Null is not zero: a column is null where the source does not say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

VERSION: Final = 1

Kind = Literal["string", "int64", "float64", "bool"]
State = Literal["good", "invalid", "quarantined", "superseded"]

GOOD: Final = "good"
INVALID: Final = "invalid"
QUARANTINED: Final = "quarantined"
SUPERSEDED: Final = "superseded"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table. ``unit`` is empty for names and identities."""

    name: str
    kind: Kind
    unit: str
    meaning: str


def _table(*rows: tuple[str, Kind, str, str]) -> tuple[Column, ...]:
    return tuple(Column(*row) for row in rows)


# What a load tool's output says; the parsers' record has exactly these fields, in this order.
RECORD: Final = _table(
    ("tool", "string", "", "load tool that printed the output"),
    ("tool_version", "string", "", "version in the tool's banner; null where it prints none"),
    ("threads", "int64", "", "generator threads"),
    ("connections", "int64", "", "connections asked for (ab: Concurrency Level; stream: flows)"),
    ("duration_s", "float64", "s", "measured time as the tool reports it"),
    ("requests", "int64", "", "completed requests (sysbench: transactions; stream: messages)"),
    ("requests_failed", "int64", "", "ab's Failed requests; null for wrk"),
    ("errors_connect", "int64", "", "failed connects (stream: flows)"),
    ("errors_read", "int64", "", "failed reads (wrk; stream: flows)"),
    ("errors_write", "int64", "", "failed writes (stream: flows)"),
    ("errors_timeout", "int64", "", "replies later than the time limit (wrk)"),
    ("errors_receive", "int64", "", "failed receives (ab)"),
    ("errors_length", "int64", "", "bodies of another length than the first (ab)"),
    ("errors_exception", "int64", "", "exceptions (ab)"),
    ("errors_status", "int64", "", "wrk: status > 399; ab: status outside 200-299"),
    ("errors_corrupt", "int64", "", "messages whose sequence was wrong (stream)"),
    ("errors_ignored", "int64", "", "failed statements that it was told to ignore (sysbench)"),
    ("errors_reconnect", "int64", "", "connections made again after a failure (sysbench)"),
    ("requests_keepalive", "int64", "", "requests on a kept-alive connection (ab -k)"),
    ("unavailable", "string", "", "why the kernel forbids what was to be measured (ipc)"),
    ("throughput_rps", "float64", "1/s", "requests per second, as printed"),
    ("transfer_bytes", "int64", "B", "bytes read (stream: payload received)"),
    ("transfer_bytes_per_s", "float64", "B/s", "transfer rate, as printed"),
    ("document_bytes", "int64", "B", "ab's Document Length; null if Variable"),
    ("latency_mean_s", "float64", "s", "mean latency, recorded samples"),
    ("latency_sd_s", "float64", "s", "standard deviation, recorded samples"),
    ("latency_min_s", "float64", "s", "smallest latency"),
    ("latency_p50_s", "float64", "s", "median latency, recorded samples"),
    ("latency_p75_s", "float64", "s", "75th percentile, recorded samples"),
    ("latency_p90_s", "float64", "s", "90th percentile, recorded samples"),
    ("latency_p95_s", "float64", "s", "95th percentile, recorded samples"),
    ("latency_p99_s", "float64", "s", "99th percentile, recorded samples"),
    ("latency_max_s", "float64", "s", "largest latency"),
    (
        "latency_corrected_mean_s",
        "float64",
        "s",
        "mean by the schedule (h2load), back-filled (wrk)",
    ),
    (
        "latency_corrected_sd_s",
        "float64",
        "s",
        "standard deviation by the schedule (h2load), back-filled (wrk)",
    ),
    (
        "latency_corrected_p50_s",
        "float64",
        "s",
        "median by the schedule (h2load), back-filled (wrk)",
    ),
    (
        "latency_corrected_p75_s",
        "float64",
        "s",
        "75th percentile by the schedule (h2load), back-filled (wrk)",
    ),
    (
        "latency_corrected_p90_s",
        "float64",
        "s",
        "90th percentile by the schedule (h2load), back-filled (wrk)",
    ),
    (
        "latency_corrected_p99_s",
        "float64",
        "s",
        "99th percentile by the schedule (h2load), back-filled (wrk)",
    ),
)

RUNS: Final = (
    _table(
        ("run", "string", "", "id of the slot: hash of campaign, host, block, position, arm, ..."),
        ("attempt", "int64", "", "1 for the first attempt at the block, then 2, ..."),
        ("state", "string", "", "good, invalid (a gate failed), quarantined, superseded"),
        ("reasons", "string", "", "failed gates or why it is quarantined, '; ' between; else null"),
        ("warnings", "string", "", "what a reader should know of a good run, '; ' between"),
        ("campaign", "string", "", "campaign id"),
        ("experiment", "string", "", "experiment name"),
        ("block", "int64", "", "block number, unique in the campaign"),
        ("replicate", "int64", "", "ordinal of the block within its cell"),
        ("tranche", "int64", "", "tranche of the plan that the block belongs to"),
        ("position", "int64", "", "place of the run within its block, from 1"),
        ("variant", "string", "", "levels of the crossed factors, 'keepalive=true'; empty if none"),
        ("arm", "string", "", "arm of the experiment"),
        ("copy", "string", "", "a; the baseline's second deployment is b (A/A)"),
        ("path", "string", "", "named way between proxy and application: tcp-loopback, ..."),
        ("deployment", "string", "", "Nomad job id of the arm's deployment; a program's own"),
        ("host", "string", "", "host of the topology"),
        ("peer", "string", "", "host of its far end; null where the topology has one host"),
        ("load_host", "string", "", "host of the load generator"),
        ("inside", "bool", "", "load tool runs in the deployment, or is the program"),
        ("concurrency", "int64", "", "planned concurrent connections"),
        ("offered", "string", "", "open loop: '70 % of peak', '5000/s'; empty for a closed loop"),
        ("offered_rps", "int64", "1/s", "open loop: requests asked for; null for a closed loop"),
        ("profile", "string", "", "quick, standard, thorough"),
        (
            "placement",
            "string",
            "",
            "same_core, split, shared: CPUs of the path's ends; hosts: machines",
        ),
        ("arch", "string", "", "machine of the topology's host: x86_64, aarch64"),
        ("kind", "string", "", "virtual, bare-metal, cloud"),
        ("emulated", "bool", "", "the topology's host, or its peer, is emulated"),
        ("untested", "bool", "", "the same, with a system on which nobody tried the lab"),
        ("conditions", "string", "", "declared faults in force (loss, delay); empty if none"),
        ("started_wall_s", "float64", "s", "wall clock at the start of the measured part (Unix)"),
        ("warmup_s", "float64", "s", "monotonic time of the discarded warm-up"),
        ("measured_s", "float64", "s", "monotonic time of the measured invocation"),
        ("overhead_s", "float64", "s", "monotonic time of the run that was neither"),
        ("planned_s", "float64", "s", "planned measured time; null where requests were planned"),
        ("exit_code", "int64", "", "exit code of the measured invocation; negative: signal"),
    )
    + RECORD
    + _table(
        ("containers_cpu_s", "float64", "s", "CPU of its containers but an inside tool's load"),
        ("host_cpu_s", "float64", "s", "busy CPU of all CPUs of host and peer, each once"),
        ("unattributed_cpu_s", "float64", "s", "host_cpu_s less every container's CPU, load's too"),
        ("load_cpu_s", "float64", "s", "CPU of the load generator (inside: container load)"),
        ("load_cpu_share", "float64", "1", "load_cpu_s over measured_s x cores; null inside"),
        ("steal_share", "float64", "1", "stolen share of the CPUs of host and peer"),
        (
            "foreign_cpu_share",
            "float64",
            "1",
            "CPU used outside the lab before; host, peer: larger",
        ),
        ("throttled_count", "int64", "", "periods throttled in the deployment's cgroups"),
        (
            "softirq_cpu_s",
            "float64",
            "s",
            "of host_cpu_s, soft interrupts (the network's among them)",
        ),
        (
            "connections_opened",
            "int64",
            "",
            "Tcp ActiveOpens of hosts and the deployment's networks",
        ),
        ("listen_overflows", "int64", "", "TcpExt ListenOverflows of the same"),
        ("retransmits", "int64", "", "Tcp RetransSegs of the same"),
        (
            "context_switches",
            "int64",
            "",
            "of the threads in containers_cpu_s; null if one ended meanwhile",
        ),
        (
            "traced_requests",
            "int64",
            "",
            "requests of the run with system calls counted, else null",
        ),
        ("scaled_to", "int64", "", "instances asked for as the measured part began; else null"),
        ("scale_running_s", "float64", "s", "from there until all ran; null if not by its end"),
        ("scale_served_s", "float64", "s", "from there until each had accepted a connection"),
        (
            "spans",
            "string",
            "",
            "JSON: one request's, each span, parent, service, kind, start_us, duration_us; or null",
        ),
        ("little_ratio", "float64", "1", "throughput x mean latency / concurrency"),
        ("block_file", "string", "", "name of the block file"),
        ("block_sha256", "string", "", "SHA-256 of the whole block file"),
        ("line", "int64", "", "line of the run in the block file, from 1"),
    )
)

CONTAINERS: Final = _table(
    ("run", "string", "", "run id"),
    ("attempt", "int64", "", "attempt"),
    ("deployment", "string", "", "Nomad job id"),
    ("container", "string", "", "task name: proxy, app-0, combined, ..."),
    ("container_id", "string", "", "engine's id"),
    ("host", "string", "", "host that it runs on; its counters are from there"),
    ("allocation", "string", "", "Nomad's id of the allocation that it is a task of"),
    ("measured", "bool", "", "belongs to the deployment under load (else idle beside it)"),
    ("cpu_s", "float64", "s", "CPU during the measured part"),
    ("cpu_user_s", "float64", "s", "of it, user"),
    ("cpu_system_s", "float64", "s", "of it, system"),
    ("throttled_count", "int64", "", "periods throttled"),
    ("throttled_s", "float64", "s", "time throttled"),
    ("memory_bytes", "int64", "B", "memory of the cgroup after the run"),
    ("memory_peak_bytes", "int64", "B", "its peak; null where the kernel does not say"),
    ("memory_anonymous_bytes", "int64", "B", "of memory_bytes, the processes' own"),
    ("memory_cache_bytes", "int64", "B", "of memory_bytes, page cache and shared memory"),
    ("memory_kernel_bytes", "int64", "B", "of memory_bytes, the kernel's for it; null if not said"),
    ("memory_limit_hits", "int64", "", "times that its memory limit was met and pages reclaimed"),
    ("read_bytes", "int64", "B", "read from block devices; null where the kernel does not count"),
    ("written_bytes", "int64", "B", "written to them (cgroup v1: at once, not from the cache)"),
    ("received_bytes", "int64", "B", "came into its network namespace; null if it is the host's"),
    ("sent_bytes", "int64", "B", "went out of it; tasks that share a namespace share the figure"),
    ("loopback_bytes", "int64", "B", "went over its loopback"),
    ("network", "int64", "", "tells its network namespace on its host; null if it is the host's"),
    (
        "processes",
        "string",
        "",
        "JSON: name -> number after the run, cpu_s, memory_anonymous_bytes; null if not measured",
    ),
    ("calls", "string", "", "JSON: system call -> number in the traced run; null without one"),
)

# What the containers on a host used is a part of this.
HOSTS: Final = _table(
    ("run", "string", "", "run id"),
    ("attempt", "int64", "", "attempt"),
    ("host", "string", "", "host of the topology, or its peer"),
    ("memory_bytes", "int64", "B", "memory in use after the run, page cache too"),
    ("memory_anonymous_bytes", "int64", "B", "of memory_bytes, the processes' own"),
    ("memory_cache_bytes", "int64", "B", "of memory_bytes, page cache and shared memory"),
    ("memory_kernel_bytes", "int64", "B", "of memory_bytes, the kernel's; null if not said"),
    ("read_bytes", "int64", "B", "read from block devices; null where the kernel does not count"),
    ("written_bytes", "int64", "B", "written to them"),
    ("links_bytes", "int64", "B", "through its ends of containers' networks, both ways together"),
    ("complete", "bool", "", "no container of the block came or went on it during the run"),
)

# What one run of a tool that measures several things in turn says of each (ipc, serialisation).
CELL: Final = _table(
    (
        "mode",
        "string",
        "",
        "latency (round trips), throughput (one way), connect; encode, decode, exchange",
    ),
    ("message_bytes", "int64", "B", "size of a message; null for connections"),
    ("state", "string", "", "measured, too_large (above the mechanism's limit), not_applicable"),
    ("reason", "string", "", "the limit, and whose it is; else null"),
    ("count", "int64", "", "round trips, messages that arrived or were coded, or connections"),
    ("lost", "int64", "", "messages that did not arrive (datagrams)"),
    ("duration_s", "float64", "s", "time of the cell: throughput the serving end's"),
    ("rate_per_s", "float64", "1/s", "count over duration_s"),
    ("transfer_bytes_per_s", "float64", "B/s", "throughput: message_bytes times rate_per_s"),
    ("wire_bytes", "int64", "B", "serialisation: a message as sent, frame header included"),
    ("clock_s", "float64", "s", "reading the clock, which was taken from every latency"),
    ("latency_mean_s", "float64", "s", "mean, of however few samples"),
    ("latency_min_s", "float64", "s", "smallest round trip, coding, or set-up of a connection"),
    ("latency_p50_s", "float64", "s", "median; null below 200 samples"),
    ("latency_p90_s", "float64", "s", "90th percentile; null below 1,000 samples"),
    ("latency_p99_s", "float64", "s", "99th percentile; null below 10,000 samples"),
    ("latency_max_s", "float64", "s", "largest"),
    ("cpu_measuring_s", "float64", "s", "CPU of the measuring process in the cell"),
    ("cpu_serving_s", "float64", "s", "CPU of the serving process in the cell"),
    ("switches_measuring", "int64", "", "its context switches"),
    ("switches_serving", "int64", "", "its context switches"),
)

HISTOGRAMS: Final = _table(
    ("run", "string", "", "run id"),
    ("attempt", "int64", "", "attempt"),
    ("value_us", "int64", "us", "recorded latency"),
    ("count", "int64", "", "samples of that latency"),
)

CELLS: Final = _table(("run", "string", "", "run id"), ("attempt", "int64", "", "attempt")) + CELL

CELL_HISTOGRAMS: Final = _table(
    ("run", "string", "", "run id"),
    ("attempt", "int64", "", "attempt"),
    ("mode", "string", "", "the cell's mode"),
    ("message_bytes", "int64", "B", "the cell's size; null for connections"),
    ("value_ns", "int64", "ns", "latency, without the clock's part"),
    ("count", "int64", "", "samples of that latency"),
)

BINDINGS: Final = _table(
    ("campaign", "string", "", "campaign id"),
    ("block", "int64", "", "block number"),
    ("attempt", "int64", "", "attempt"),
    ("deployment", "string", "", "Nomad job id"),
    ("arm", "string", "", "arm"),
    ("copy", "string", "", "a or b"),
    ("host", "string", "", "host of the topology"),
    ("node", "string", "", "Nomad node id"),
    ("allocation", "string", "", "Nomad allocation id"),
    ("peer", "string", "", "host of its far end; null where the topology has one host"),
    ("peer_node", "string", "", "Nomad node id of the far end"),
    ("peer_allocation", "string", "", "Nomad allocation id of the far end"),
    ("endpoint", "string", "", "URL that the load generator calls; null for an inside tool"),
    (
        "sidecars",
        "string",
        "",
        "JSON: task -> host, version, concurrency, access_log, ciphers, ...",
    ),
    ("containers", "string", "", "JSON: task -> id, image, cgroup, cpuset, quota, memory limit"),
    (
        "images",
        "string",
        "",
        "JSON: task -> its image's name, digest, bytes unpacked, layers, arch",
    ),
    ("variables", "string", "", "JSON: the job's variables"),
    ("environment", "string", "", "JSON: facts of the topology's host"),
    ("peer_environment", "string", "", "JSON: facts of the peer; null without one"),
    ("load_environment", "string", "", "JSON: facts of the load host, tool versions and hashes"),
    ("readiness_s", "float64", "s", "from registration to the right answer"),
)

FILES: Final = _table(
    ("name", "string", "", "file name"),
    ("kind", "string", "", "block, proofs (proofs.json), or foreign: lies among them, is none"),
    ("campaign", "string", "", "campaign id; null for a foreign file"),
    ("block", "int64", "", "block number; null for any other file"),
    ("attempt", "int64", "", "attempt; null for any other file"),
    ("bytes", "int64", "B", "size"),
    ("sha256", "string", "", "hash of the whole file"),
    ("state", "string", "", "good, quarantined, superseded"),
    ("reason", "string", "", "why it is quarantined; else null"),
)

PROOFS: Final = _table(
    ("campaign", "string", "", "campaign id"),
    ("proof", "string", "", "its name: no-interface, intention-denied, ..."),
    ("claim", "string", "", "what must be so for the figures to mean what they say"),
    ("passed", "bool", "", "it was so, before block 1"),
    ("evidence", "string", "", "JSON: list of what was seen, one line each"),
    ("made_wall_s", "float64", "s", "wall clock when it was looked at (Unix)"),
)

TABLES: Final[Mapping[str, tuple[Column, ...]]] = {
    "runs": RUNS,
    "containers": CONTAINERS,
    "hosts": HOSTS,
    "histograms": HISTOGRAMS,
    "cells": CELLS,
    "cell_histograms": CELL_HISTOGRAMS,
    "bindings": BINDINGS,
    "files": FILES,
    "proofs": PROOFS,
}

RECORD_FIELDS: Final = tuple(column.name for column in RECORD)
CELL_FIELDS: Final = tuple(column.name for column in CELL)
