"""System calls a request: whose they are, what they are divided by, where they are shown."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pandas as pd
import pytest
from synthetic_dataset import Campaign, add_campaign

from analysis.calls import find_calls
from analysis.dataset import good_runs, open_dataset
from analysis.report import render
from analysis.summary import analyse
from analysis.tables import tables

ARMS = {"tcp-loopback": 1.0, "sharedvolume": 1.1}
CALLS = {"epoll_wait": 400, "recvfrom": 1000, "write": 1000}


def frames(state: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Good runs, the first of each arm traced with 500 requests; a container of each."""
    add_campaign(state, Campaign(arms=ARMS, histograms=False))
    runs = good_runs(open_dataset(state).runs())
    traced = runs["replicate"] == 1
    runs = runs.assign(traced_requests=pd.Series(500, index=runs.index).where(traced))
    containers = pd.DataFrame(
        {
            "run": row.run,
            "attempt": row.attempt,
            "container": "proxy",
            "measured": measured,
            "calls": json.dumps(CALLS) if row.replicate == 1 and measured else None,
        }
        for row in runs.itertuples()
        for measured in (True, False)
    )
    return runs, containers


def test_calls_are_divided_by_the_requests_of_their_own_runs(tmp_path: Path) -> None:
    uds, tcp = find_calls(*frames(tmp_path))
    assert (uds.arm, uds.requests, tcp.arm, tcp.requests) == (
        "sharedvolume", 500, "tcp-loopback", 1000,
    )  # fmt: skip
    # The baseline ran twice, its copy with as many calls.
    for one in (uds, tcp):
        assert list(one.each.items()) == [("recvfrom", 2.0), ("write", 2.0), ("epoll_wait", 0.8)]
        assert one.total == pytest.approx(4.8)


def test_the_report_has_them_and_not_where_none_were_counted(tmp_path: Path) -> None:
    runs, containers = frames(tmp_path)
    found = analyse(open_dataset(tmp_path), "web")
    assert found.calls == () and "calls" not in tables(found)
    assert "System calls a request" not in render(found, tables(found))
    found = dataclasses.replace(found, calls=tuple(find_calls(runs, containers)))
    shown = tables(found)
    assert len(shown["calls"]) == 6
    page = render(found, shown)
    assert "System calls a request" in page and "recvfrom 2.00" in page
