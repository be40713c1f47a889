"""Validity gates of a run: one function a gate, over the row, the run's body and the header.

A run that fails one is kept, marked ``invalid`` with the reason, and never ranked. A reason begins
with its gate's name. A gate that cannot be judged, because what it needs is null, passes.
Thresholds: docs/contracts.md, Gates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from collector.dataset.counters import Observed, clock_step_s, growth_of, moment
from collector.dataset.fields import (
    Body,
    mapping,
    maybe_flag,
    maybe_mapping,
    maybe_text,
    maybe_whole,
)
from collector.dataset.header import Header
from collector.schema import GOOD, INVALID

ERROR_SHARE: Final = 0.001
SHORT_SHARE: Final = 0.9
LITTLE_TOLERANCE: Final = 0.10
CLIENT_SHARE: Final = 0.85
STEAL_SHARE: Final = 0.05
FOREIGN_SHARE: Final = 0.05
CLOCK_STEP_S: Final = 0.050
QUICK: Final = "quick"

# Where the tool gives its own sum of failures, the parts are not counted again: one reset under
# `ab -r` stands in three of them.
_PARTS: Final = (
    "errors_connect",
    "errors_read",
    "errors_timeout",
    "errors_receive",
    "errors_length",
    "errors_exception",
    "errors_corrupt",
    "errors_ignored",
)
_APART: Final = ("errors_write", "errors_status")

Row = Mapping[str, Any]
Gate = Callable[[Row, Body, Header, Observed], str | None]


@dataclass(frozen=True, slots=True)
class Judgement:
    """``state`` is good or invalid; ``reasons`` why it is not good; ``warnings`` for a reader."""

    state: str
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]


def unavailable(row: Row, body: Body, header: Header, observed: Observed) -> str | None:
    """The kernel and the container allow what was to be measured."""
    return None if row["unavailable"] is None else f"unavailable {row['unavailable']}"


def exit_code(row: Row, body: Body, header: Header, observed: Observed) -> str | None:
    """The measured invocation ended by itself and said so; ``unavailable`` has said why not."""
    code = row["exit_code"]
    return None if code == 0 or row["unavailable"] is not None else f"exit_code {code}"


def errors(row: Row, body: Body, header: Header, observed: Observed) -> str | None:
    """At most 0.1 % of the requests failed, unless failures are what the experiment asks about.

    An arm that grew may have lost one a connection for each new instance: nginx, told to read its
    configuration anew, closes every kept connection after an answer that says keep-alive (1.22.1:
    16 of 16 callers lost their next request).
    """
    if maybe_flag(header.body, "failures"):
        return None
    names = (("requests_failed",) if row["requests_failed"] is not None else _PARTS) + _APART
    # wrk prints its counters signed; one that wrapped is still an error.
    counts = {name: abs(row[name]) for name in names if row[name]}
    failed, requests = sum(counts.values()), row["requests"]
    if not failed or requests is None or failed <= ERROR_SHARE * requests:
        return None
    if row["scaled_to"] is not None and failed <= row["concurrency"] * (row["scaled_to"] - 1):
        return None
    shares = ", ".join(f"{name.removeprefix('errors_')} {n}" for name, n in counts.items())
    return f"errors {failed} of {requests} requests ({shares})"


def short_run(row: Row, body: Body, header: Header, observed: Observed) -> str | None:
    """The planned seconds, or requests, were measured."""
    wanted = maybe_whole(mapping(header.body, "load"), "requests")
    requests, seconds, planned = row["requests"], row["duration_s"], row["planned_s"]
    if wanted is not None and requests is not None and requests < wanted:
        return f"short_run {requests} of {wanted} requests"
    if planned is not None and seconds is not None and seconds < SHORT_SHARE * planned:
        return f"short_run {seconds:.2f} of {planned:.2f} s"
    return None


def no_data(row: Row, body: Body, header: Header, observed: Observed) -> str | None:
    """At least one request completed."""
    return "no_data" if row["requests"] == 0 else None


def little(row: Row, body: Body, header: Header, observed: Observed) -> str | None:
    """Little's law: throughput x mean latency is the concurrency of a closed loop.

    Without keepalive the tools' latency leaves the connect out, and the law does not apply; nor
    does it where requests fail by design, whose waits are not all among the latencies.
    """
    if maybe_flag(header.body, "failures"):
        return None
    kept, ratio = maybe_flag(mapping(header.body, "load"), "keepalive"), row["little_ratio"]
    if not kept or ratio is None or abs(ratio - 1) <= LITTLE_TOLERANCE:
        return None
    return f"little throughput x latency is {ratio:.3f} of the concurrency"


def client_bound(row: Row, body: Body, header: Header, observed: Observed) -> str | None:
    """The load generator had room left; one that runs inside has no cores of its own."""
    share = row["load_cpu_share"]
    if share is None or share <= CLIENT_SHARE:
        return None
    return f"client_bound generator used {share:.1%} of its cores"


def steal(row: Row, body: Body, header: Header, observed: Observed) -> str | None:
    """The hypervisor left the topology's CPUs to it."""
    share = row["steal_share"]
    return None if share is None or share <= STEAL_SHARE else f"steal {share:.1%} of the CPUs"


def throttled(row: Row, body: Body, header: Header, observed: Observed) -> str | None:
    """No container was throttled that declares no limit."""
    for deployment in header.deployments.values():
        for container in deployment.containers:
            if container.limited:
                continue
            place = (container.host, container.id)
            if periods := growth_of(observed, [place], "throttled_count"):
                return f"throttled {container.task} of {deployment.job}, {periods} periods"
    return None


def restarted(row: Row, body: Body, header: Header, observed: Observed) -> str | None:
    """The measured containers are those that the block began with."""
    after = maybe_mapping(body, "containers_after")
    if after is None:
        return None
    for container in header.deployments[_key(row)].containers:
        now = maybe_mapping(after, container.task)
        if now is None:
            return f"restarted {container.task}: gone after the run"
        started = maybe_text(now, "started_at")
        if maybe_text(now, "id") != container.id:
            return f"restarted {container.task}: another container"
        if container.started_at is not None and started != container.started_at:
            return f"restarted {container.task}: started at {started}"
    return None


def rebooted(row: Row, body: Body, header: Header, observed: Observed) -> str | None:
    """Every host is still in the boot in which the block began."""
    for host in {**header.boots, **observed.before}:
        taken = ({"boot_id": header.boots.get(host)}, *observed.snapshots(host))
        boots = {maybe_text(facts, "boot_id") for facts in taken if facts is not None}
        if len(boots - {None}) > 1:
            return f"rebooted {host}"
    return None


def clock_step(row: Row, body: Body, header: Header, observed: Observed) -> str | None:
    """No host's wall clock was set during the run; durations are monotonic in any case."""
    measure = mapping(body, "measure")
    steps = {
        f"{header.load_host} while measuring": clock_step_s(
            moment(measure, "started_wall_ns", "started_monotonic_ns"),
            moment(measure, "ended_wall_ns", "ended_monotonic_ns"),
        )
    }
    for host, seen in observed.windows.items():
        steps[host] = clock_step_s(moment(seen.before), moment(seen.after))
    for where, step in steps.items():
        if step is not None and abs(step) > CLOCK_STEP_S:
            return f"clock_step {step:+.3f} s on {where}"
    return None


def guest(row: Row, body: Body, header: Header, observed: Observed) -> str | None:
    """No emulated host took the machine's CPUs while another host was measured."""
    if row["emulated"]:
        return None
    states = maybe_mapping(header.body, "guests") or {}
    awake = sorted(name for name, state in states.items() if state == "running")
    return f"guest {', '.join(awake)} ran on the same machine" if awake else None


GATES: Final[tuple[Gate, ...]] = (
    unavailable,
    exit_code,
    errors,
    short_run,
    no_data,
    little,
    client_bound,
    steal,
    throttled,
    restarted,
    rebooted,
    clock_step,
    guest,
)
# A quick look on a small machine would lose every run to these two.
QUICK_WARNS: Final = frozenset({client_bound, steal})


def judge(row: Row, body: Body, header: Header, observed: Observed) -> Judgement:
    """Judge one run by every gate; all failed gates are named, not the first only."""
    reasons: list[str] = []
    warnings = _unknown(row, body, header, observed)
    for gate in GATES:
        reason = gate(row, body, header, observed)
        if reason is None:
            continue
        quick = row["profile"] == QUICK and gate in QUICK_WARNS
        (warnings if quick else reasons).append(reason)
    return Judgement(INVALID if reasons else GOOD, tuple(reasons), tuple(warnings))


def _unknown(row: Row, body: Body, header: Header, observed: Observed) -> list[str]:
    """Warnings for what could not be looked at, and for a host that was busy before the block."""
    found = []
    for host in header.boots:
        for when, taken in zip(("before", "after"), observed.snapshots(host), strict=True):
            if taken is None:
                found.append(f"no_snapshot of {host} {when} the run")
    if maybe_mapping(body, "containers_after") is None:
        found.append("containers_unchecked after the run")
    asked, answered = row["offered_rps"], row["throughput_rps"]
    if asked and answered is not None and answered < SHORT_SHARE * asked:
        found.append(f"behind the schedule: {answered:.0f} of {asked} requests/s")
    if problem := maybe_text(maybe_mapping(body, "scaled") or {}, "problem"):
        found.append(f"not scaled: {problem}")
    if problem := maybe_text(maybe_mapping(body, "spans") or {}, "problem"):
        found.append(f"no request's spans: {problem}")
    if problem := maybe_text(maybe_mapping(body, "traced") or {}, "error"):
        found.append(f"system calls not counted: {problem}")
    share = row["foreign_cpu_share"]
    if share is not None and share > FOREIGN_SHARE:
        found.append(f"foreign_cpu {share:.1%} used outside the lab before the block")
    return found


def _key(row: Row) -> str:
    return f"{row['arm']}/{row['copy']}"
