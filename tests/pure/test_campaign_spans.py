"""One request out of several services' spans: the whole ones, the middle one, or the reason."""

from __future__ import annotations

from typing import Any

import pytest

from collector.campaign import spans
from collector.campaign.spans import read_spans, told, whole_requests


def span(service: str, kind: str, start: int, end: int, **more: Any) -> dict[str, Any]:
    made = {"trace": "t1", "span": f"{service}-{kind}", "parent": "p", "service": service}
    return {**made, "kind": kind, "start_ns": start, "end_ns": end, **more}


def request(trace: str, took: int, start: int = 1_000_000) -> list[dict[str, Any]]:
    """A request of two services that took so many ns."""
    return [
        span("a", "server", start, start + took, trace=trace, parent=None),
        span("a", "client", start + 100, start + took - 100, trace=trace),
        span("b", "server", start + 200, start + took - 200, trace=trace),
    ]


def test_a_request_is_told_in_us_since_it_came() -> None:
    ((first, asks, second),) = whole_requests(reversed(request("t1", 5000)), 2)
    assert first == {
        "span": "a-server", "parent": None, "service": "a", "kind": "server",
        "start_us": 0.0, "duration_us": 5.0,
    }  # fmt: skip
    assert (asks["start_us"], asks["duration_us"]) == (0.1, 4.8)
    assert (second["start_us"], second["duration_us"]) == (0.2, 4.6)


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_request_without_all_of_its_spans_is_none(missing: int) -> None:
    own = request("t1", 5000)
    del own[missing]
    assert whole_requests(own, 2) == []


def test_shortest_first() -> None:
    own = [*request("slow", 9000), *request("fast", 2000), *request("usual", 5000)]
    assert [one[0]["duration_us"] for one in whole_requests(own, 2)] == [2.0, 5.0, 9.0]


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"spans": "none"},
        {"spans": [1, None, {}]},
        {"spans": [span("a", "server", 1, 2, start_ns="1")]},
        {"spans": [span("a", "server", 1, 2, start_ns=True)]},
        {"spans": [span("a", "server", 1, 2, parent=3)]},
        {"spans": [span("a", "server", 1, 10**400)]},
        {"spans": [span("a", "server", 2, 1)]},
    ],
)
def test_what_is_no_span_is_left_out(facts: dict[str, Any]) -> None:
    assert told(facts) == []


class Cluster:
    """Holds the files of two allocations; ``late``: looks before there is anything in them."""

    def __init__(self, files: dict[tuple[str, str], dict[str, Any]], late: int = 0) -> None:
        self._files = files
        self._late = late

    def read_facts(self, allocation: str, path: str) -> dict[str, Any]:
        self._late -= 1
        return {} if self._late >= 0 else self._files.get((allocation, path), {})


BINDING = {
    "allocation": "near",
    "peer_allocation": "far",
    "containers": {
        "a": {"host": "lab-2"},
        "b": {"host": "lab-3"},
        "sidecar-a": {"host": "lab-2"},
    },
}


@pytest.mark.parametrize("late", [0, 3])
def test_the_middle_one_of_two_hosts_is_read(late: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "POLL_S", 0.001)
    own = [*request("slow", 9000), *request("fast", 2000), *request("usual", 5000)]
    files = {
        ("near", "/alloc/data/spans-a.json"): {"spans": [o for o in own if o["service"] == "a"]},
        ("far", "/alloc/data/spans-b.json"): {"spans": [o for o in own if o["service"] == "b"]},
    }
    found = read_spans(Cluster(files, late), BINDING, "lab-2")  # type: ignore[arg-type]
    assert found["problem"] is None
    assert [one["duration_us"] for one in found["spans"]] == [5.0, 4.8, 4.6]


def test_why_there_is_none_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "LIMIT_S", 0.01)
    monkeypatch.setattr(spans, "POLL_S", 0.001)
    files = {("near", "/alloc/data/spans-a.json"): {"spans": request("t1", 5000)[:2]}}
    found = read_spans(Cluster(files), BINDING, "lab-2")  # type: ignore[arg-type]
    assert found == {"spans": [], "problem": "2 spans, and no request has all of its"}
