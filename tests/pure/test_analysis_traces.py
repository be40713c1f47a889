"""A request's spans: which one is shown of an arm, and where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from synthetic_dataset import Campaign, add_campaign

from analysis.dataset import good_runs, open_dataset
from analysis.report import render
from analysis.summary import analyse
from analysis.tables import tables
from analysis.traces import ASKS, SERVES, find_traces

CELL = {"host": "lab-2", "variant": "", "tool": "wrk", "concurrency": 1}
ARMS = {"tcp-loopback": 1.0, "sharedvolume": 1.1}


def spans(took_us: float, **more: Any) -> str:
    first = {"span": "1", "parent": None, "service": "service-0", "kind": "server"}
    asks = {"span": "2", "parent": "1", "service": "service-0", "kind": "client"}
    return json.dumps(
        [
            {**asks, "start_us": 10.0, "duration_us": took_us - 20, **more},
            {**first, "start_us": 0.0, "duration_us": took_us},
        ]
    )


def made(state: Path, **values: object) -> Path:
    add_campaign(state, Campaign(arms=ARMS, cells=[CELL], histograms=False, run_values=values))
    return state


def test_the_request_in_the_middle_of_an_arms_is_shown(tmp_path: Path) -> None:
    runs = good_runs(open_dataset(made(tmp_path)).runs())
    own = runs[runs["arm"] == "sharedvolume"].head(3)
    own = own.assign(spans=[spans(900.0), spans(100.0), spans(500.0)])
    (trace,) = find_traces(own)
    assert (trace.arm, trace.cell.concurrency) == ("sharedvolume", 1)
    whole, asks = trace.spans
    assert (whole.service, whole.what, whole.duration_us) == ("service-0", SERVES, 500.0)
    assert (asks.what, asks.start_us, asks.duration_us) == (ASKS, 10.0, 480.0)


def far_behind(took_us: float, behind_us: float) -> str:
    """A request whose second service is on a host with a clock that is behind."""
    chain = [
        ("1", None, "service-0", "server", 0.0, took_us),
        ("2", "1", "service-0", "client", 10.0, took_us - 20),
        ("3", "2", "service-1", "server", 20.0 - behind_us, took_us - 40),
    ]
    keys = ("span", "parent", "service", "kind", "start_us", "duration_us")
    listed = [dict(zip(keys, one, strict=True)) for one in chain]
    return json.dumps(sorted(listed, key=lambda one: one["start_us"]))


def test_a_far_clock_that_is_behind_makes_no_other_span_the_whole(tmp_path: Path) -> None:
    runs = good_runs(open_dataset(made(tmp_path)).runs())
    own = runs[runs["arm"] == "sharedvolume"].head(3)
    # By what came first the second service's would be the whole of the last two.
    asked = [far_behind(500.0, 0.0), far_behind(520.0, 900.0), far_behind(530.0, 900.0)]
    (trace,) = find_traces(own.assign(spans=asked))
    assert [(span.service, span.what, span.start_us) for span in trace.spans] == [
        ("service-0", SERVES, 0.0),
        ("service-0", ASKS, 10.0),
        ("service-1", SERVES, -880.0),
    ]
    assert trace.spans[0].duration_us == 520.0


def test_a_request_whose_whole_is_not_known_is_not_shown(tmp_path: Path) -> None:
    runs = good_runs(open_dataset(made(tmp_path)).runs()).head(1)
    unknown = json.loads(spans(500.0))
    unknown[1]["duration_us"] = None
    circle = json.loads(spans(500.0))
    circle[1]["parent"] = "2"
    for listed in (unknown, circle):
        assert list(find_traces(runs.assign(spans=json.dumps(listed)))) == []


def test_a_span_of_which_not_all_is_known_is_left_out(tmp_path: Path) -> None:
    runs = good_runs(open_dataset(made(tmp_path)).runs()).head(1)
    for unknown in ({"duration_us": None}, {"kind": "producer"}):
        (trace,) = find_traces(runs.assign(spans=spans(500.0, **unknown)))
        assert [span.what for span in trace.spans] == [SERVES]


def test_the_page_draws_it_and_the_table_has_it(tmp_path: Path) -> None:
    found = analyse(open_dataset(made(tmp_path, spans=spans(500.0, service="</script>"))), "web")
    shown = tables(found)
    assert list(shown["traces"]["duration_us"]) == [500.0, 480.0] * 2
    page = render(found, shown)
    assert 'id="traces"' in page
    assert "One request through the chain, sharedvolume" in page
    assert "</script> asks" not in page


def test_without_spans_there_is_no_section(tmp_path: Path) -> None:
    found = analyse(open_dataset(made(tmp_path)), "web")
    assert found.traces == ()
    assert "traces" not in tables(found)
    assert 'id="traces"' not in render(found, tables(found))
