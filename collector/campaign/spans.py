"""One request's way through a chain, out of the spans that each of its services keeps.

A deployment whose variable ``trace`` is ``sampled`` has the last spans of every task in its
allocation, as ``/alloc/data/spans-TASK.json`` (docs/contracts.md, Block file, ``spans``).
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final

from collector.campaign.cluster import POLL_S, Cluster
from collector.campaign.deployment import SIDECAR

LIMIT_S: Final = 3.0
SAMPLED: Final = "sampled"

Span = Mapping[str, Any]


def read_spans(cluster: Cluster, binding: Mapping[str, Any], host: str) -> dict[str, Any]:
    """Return a request that every service has spans of; spans may be written a moment late.

    Of several it is the one whose time is in the middle. ``problem`` says why there is none.
    """
    services = {
        task: binding["allocation" if one["host"] == host else "peer_allocation"]
        for task, one in binding["containers"].items()
        if not task.startswith(SIDECAR)
    }
    deadline = time.monotonic() + LIMIT_S
    while True:
        spans = [
            span
            for task, allocation in services.items()
            for span in told(cluster.read_facts(allocation, f"/alloc/data/spans-{task}.json"))
        ]
        if whole := whole_requests(spans, len(services)):
            return {"spans": whole[len(whole) // 2], "problem": None}
        if time.monotonic() > deadline:
            return {"spans": [], "problem": f"{len(spans)} spans, and no request has all of its"}
        time.sleep(POLL_S)


def told(facts: Mapping[str, Any]) -> list[Span]:
    """Return the spans of one service's file; those that are none are left out."""
    spans = facts.get("spans")
    return [one for one in spans if _is_span(one)] if isinstance(spans, list) else []


def _is_span(one: object) -> bool:
    return (
        isinstance(one, dict)
        and all(isinstance(one.get(key), str) for key in ("trace", "span", "service", "kind"))
        and all(type(one.get(key)) is int for key in ("start_ns", "end_ns"))
        and 0 <= one["start_ns"] <= one["end_ns"] < 2**63
        and isinstance(one.get("parent"), str | None)
    )


def whole_requests(spans: Iterable[Span], services: int) -> list[list[dict[str, Any]]]:
    """Return the requests that so many services served, shortest first: spans by their start.

    Times become us since the request came to the first service.
    """
    traces: dict[str, list[Span]] = defaultdict(list)
    for span in spans:
        traces[span["trace"]].append(span)
    found = []
    for own in traces.values():
        roots = [one for one in own if one["parent"] is None]
        served = {one["service"] for one in own if one["kind"] == "server"}
        asked = sum(one["kind"] == "client" for one in own)
        if len(roots) == 1 and len(served) == services and asked >= services - 1:
            found.append((roots[0]["end_ns"] - roots[0]["start_ns"], roots[0]["start_ns"], own))
    found.sort(key=lambda one: one[:2])
    return [[_since(start, span) for span in sorted(own, key=_start)] for _, start, own in found]


def _start(span: Span) -> int:
    start: int = span["start_ns"]
    return start


def _since(start_ns: int, span: Span) -> dict[str, Any]:
    return {
        **{key: span[key] for key in ("span", "parent", "service", "kind")},
        "start_us": (span["start_ns"] - start_ns) / 1000,
        "duration_us": (span["end_ns"] - span["start_ns"]) / 1000,
    }
