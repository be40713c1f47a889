"""Knees over concurrencies, and arms that grew: medians, what is not known, where it is shown."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from synthetic_dataset import Campaign, add_campaign

from analysis.dataset import good_runs, open_dataset
from analysis.report import render
from analysis.saturation import find_grown, find_knees
from analysis.summary import analyse
from analysis.tables import tables

CELL = {"host": "lab-2", "variant": "work=cpu", "tool": "wrk"}
ARMS = {"tcp-loopback": 1.0, "sharedvolume": 1.1}


def made(state: Path, *levels: int, **values: object) -> Path:
    cells = [{**CELL, "concurrency": level} for level in levels]
    add_campaign(state, Campaign(arms=ARMS, cells=cells, histograms=False, run_values=values))
    return state


def at_rates(runs: pd.DataFrame, rates: dict[int, float]) -> pd.DataFrame:
    """The runs with the throughput of each concurrency set, an arm's ratio kept."""
    ratio = runs["arm"].map(ARMS)
    return runs.assign(throughput_rps=runs["concurrency"].map(rates) * ratio)


def test_the_knee_is_where_more_callers_bring_no_more_answers(tmp_path: Path) -> None:
    runs = good_runs(open_dataset(made(tmp_path, 1, 4, 16, 64)).runs())
    uds, tcp = find_knees(at_rates(runs, {1: 400.0, 4: 960.0, 16: 1000.0, 64: 700.0}))
    assert (uds.arm, tcp.arm) == ("sharedvolume", "tcp-loopback")
    assert (tcp.knee, tcp.peak_at, tcp.most) == (4, 16, 64)
    assert (tcp.peak_rps, tcp.most_rps) == (1000.0, 700.0)
    assert (tcp.cell.concurrency, tcp.cell.variant) == (4, "work=cpu")
    assert uds.peak_rps == pytest.approx(1100)
    assert tcp.p50_knee_s is not None and tcp.p50_most_s is not None


def test_an_arm_that_goes_further_has_no_knee_yet(tmp_path: Path) -> None:
    runs = good_runs(open_dataset(made(tmp_path, 1, 4, 16)).runs())
    (knee, _) = find_knees(at_rates(runs, {1: 100.0, 4: 300.0, 16: 900.0}))
    assert (knee.knee, knee.peak_at) == (None, 16)


def test_two_concurrencies_have_no_knee(tmp_path: Path) -> None:
    found = analyse(open_dataset(made(tmp_path, 1, 4)), "web")
    assert (found.knees, found.grown) == ((), ())
    assert "knees" not in tables(found)
    assert 'id="saturation"' not in render(found, tables(found))


def test_what_did_not_run_by_the_end_is_no_zero(tmp_path: Path) -> None:
    runs = good_runs(open_dataset(made(tmp_path, 16)).runs())
    grown = runs[runs["arm"] == "sharedvolume"].assign(scaled_to=2)
    times = [1.0, 2.0, 3.0, *[None] * (len(grown) - 3)]
    grown = grown.assign(scale_running_s=times, scale_served_s=[4.0, *[None] * (len(grown) - 1)])
    (one,) = find_grown(pd.concat([runs[runs["arm"] == "tcp-loopback"], grown]))
    assert (one.arm, one.n, one.running, one.running_s) == ("sharedvolume", 8, 3, 2.0)
    assert (one.served, one.served_s, one.served_least_s, one.served_most_s) == (1, 4.0, 4.0, 4.0)


def test_the_report_draws_both(tmp_path: Path) -> None:
    values = {"scaled_to": 2, "scale_running_s": 1.5, "scale_served_s": None}
    found = analyse(open_dataset(made(tmp_path, 1, 4, 16, **values)), "web")
    shown = tables(found)
    assert {"knees", "grown"} <= shown.keys()
    page = render(found, shown)
    assert '<section id="saturation">' in page
    assert "Throughput by connections and arm, lab-2, wrk, work=cpu" in page
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids)), "a chart finds what it draws by its id"
