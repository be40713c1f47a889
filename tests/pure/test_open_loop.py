"""Open loop, from the experiment's share of the peak to the verdict on the tail."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from synthetic_dataset import Campaign, add_campaign
from test_plan_plan import SMALL, experiment, inventory, plan_of
from typer.testing import CliRunner

from analysis.__main__ import app
from analysis.dataset import open_dataset
from analysis.peak import peaks
from analysis.precision import precision
from analysis.result import Analysis
from analysis.summary import analyse
from analysis.wording import answer
from collector.plan.findings import BadInputError
from collector.plan.model import Load, Plan
from collector.plan.peaks import Peaks, known_peaks
from collector.plan.plan import make_plan
from collector.plan.preview import load_text
from collector.plan.rules import check

ROOT = Path(__file__).parents[1] / "fixtures/plan"
WRK = "{tool: wrk, concurrency: [16], threads: 1}"
SHARES = "{tool: h2load, concurrency: [64], of_peak: {experiment: web, shares: [0.5, 0.7]}}"
CLOSED = {"host": "lab-2", "variant": "", "tool": "wrk", "concurrency": 16}
OPEN = {
    "host": "lab-2", "variant": "", "tool": "h2load", "concurrency": 64,
    "offered": "70 % of peak", "offered_rps": 6300,
}  # fmt: skip


def small(load: str = SHARES) -> str:
    assert WRK in SMALL
    return SMALL.replace(WRK, load)


def known(uds: float = 6200.0, tcp: float = 5000.0) -> Peaks:
    return {("web", "lab-2", "", "", "uds"): uds, ("web", "lab-2", "", "", "tcp"): tcp}


def planned(load: str = SHARES, found: Peaks | None = None) -> Plan:
    return make_plan(
        experiment(small(load)), inventory(), seed=7, campaign="c", embeds={},
        peaks=known() if found is None else found,
    )  # fmt: skip


def findings(load: str) -> list[str]:
    found = check(experiment(small(load)), inventory(), ROOT)
    return [finding.message for finding in found]


def test_shares_are_of_the_slowest_arms_peak_and_cells_of_their_own() -> None:
    plan = planned()
    loads = {(one.load.offered, one.load.rate_rps, one.load.concurrency) for one in plan.blocks}
    assert loads == {("50 % of peak", 2500, 64), ("70 % of peak", 3500, 64)}
    assert len({block.cell for block in plan.blocks}) == 2
    assert len({run.run for block in plan.blocks for run in block.runs}) == 3 * len(plan.blocks)
    assert Plan.from_json(plan.to_json()) == plan


def test_a_rate_that_is_stated_needs_no_peak() -> None:
    plan = planned("{tool: h2load, concurrency: [16, 32], rate_rps: [100, 200]}", {})
    assert len({block.cell for block in plan.blocks}) == 4
    assert {one.load.offered for one in plan.blocks} == {"100/s", "200/s"}


def test_a_plan_from_before_there_were_open_loops_is_read() -> None:
    data = json.loads(plan_of().to_json())
    for block in data["blocks"]:
        del block["load"]["rate_rps"], block["load"]["offered"]
    assert Plan.from_json(json.dumps(data).encode()) == plan_of()


def test_a_peak_that_is_not_known_is_asked_for() -> None:
    with pytest.raises(BadInputError) as caught:
        planned(found={("web", "lab-2", "", "", "uds"): 6200.0})
    assert str(caught.value) == (
        "small.yml:12:39: load[0].of_peak: the peak of tcp on lab-2 is not known here: measure it "
        "first (make lab experiment=web), or give rate_rps in place of of_peak"
    )


def test_a_share_that_the_connections_cannot_ask_for_is_refused() -> None:
    with pytest.raises(BadInputError, match="50 % of peak is 25000 requests/s on lab-2: h2load: a"):
        planned(found=known(tcp=50_000.0, uds=60_000.0))


@pytest.mark.parametrize(
    ("load", "message"),
    [
        ("{tool: h2load, concurrency: [64]}",
         "h2load: asks on a schedule; say how often (of_peak or rate_rps); change this entry"),
        ("{tool: wrk, concurrency: [64], rate_rps: [100]}",
         "wrk: asks again when it is answered, so it keeps no rate; h2load does; "
         "change this entry"),
        ("{tool: h2load, concurrency: [64], rate_rps: [100, 100]}",
         "h2load at 64 and 100/s stands twice; keep one, or ask the other question in an "
         "experiment of its own"),
        ("{tool: h2load, concurrency: [1], rate_rps: [101]}",
         "h2load: a connection asks at most 100 times a second; 101 requests/s take 2 connections "
         "or more, not 1; change this entry"),
        (SHARES[:-1] + ", rate_rps: [100]}",
         "rate_rps and of_peak say two things; keep one"),
    ],
)  # fmt: skip
def test_rule(load: str, message: str) -> None:
    assert message in findings(load)


@pytest.mark.parametrize(
    ("of_peak", "message"),
    [
        ("{experiment: web, shares: []}", "expected at least 1 of them"),
        ("{experiment: web, shares: [70]}", "expected at most 2"),
        ("{experiment: web, share: [0.7]}", "unknown key; did you mean 'shares'?"),
        ("0.7", "expected a mapping"),
    ],
)
def test_a_share_is_checked_where_it_stands(of_peak: str, message: str) -> None:
    with pytest.raises(BadInputError, match="of_peak") as caught:
        experiment(small(f"{{tool: h2load, concurrency: [64], of_peak: {of_peak}}}"))
    assert message in str(caught.value)


def test_a_load_in_words() -> None:
    load = Load("h2load", 64, 1, None, True, 3500, "70 % of peak")
    assert load_text(load) == (
        "h2load, 64 connections, 1 thread, 3500 requests/s (70 % of peak), connections kept"
    )
    stated = replace(load, offered="3500/s")
    assert "3500 requests/s, connections kept" in load_text(stated)


def test_the_peak_is_the_largest_median_of_the_newest_closed_loop(tmp_path: Path) -> None:
    arms = {"tcp": 1.0, "uds": 1.2}
    many = {**CLOSED, "concurrency": 64}
    add_campaign(tmp_path, Campaign("web-01", arms=arms, cells=(CLOSED,), histograms=False))
    newer = Campaign(
        "web-02", arms=arms, cells=(CLOSED, many, OPEN), histograms=False, started=1.8e9,
        run_values={"peer": None},
    )  # fmt: skip
    add_campaign(tmp_path, newer)
    runs = open_dataset(tmp_path).runs(["web-02"])
    for one in peaks(open_dataset(tmp_path)):
        own = runs[(runs["arm"] == one.arm) & (runs["offered"] == "")]
        medians = own.groupby("concurrency")["throughput_rps"].median()
        assert one.peak_rps == pytest.approx(medians.max())
        assert (one.campaign, one.concurrency) == ("web-02", medians.idxmax())
    asked = known_peaks(tmp_path, experiment(small()))
    assert set(asked) == {("web", "lab-2", "", "", "tcp"), ("web", "lab-2", "", "", "uds")}
    assert known_peaks(tmp_path, experiment()) == {} == known_peaks(tmp_path / "x", experiment())
    shown = CliRunner().invoke(app, ["peak", "--state", str(tmp_path)])
    assert shown.exit_code == 0 and "tcp" in shown.stdout


def opened(tmp_path: Path, **values: Any) -> Analysis:
    arms = {"tcp-loopback": 1.0, "sharedvolume": 1.2}
    made = {"arms": arms, "cells": (OPEN,), "histograms": False, "profile": "standard", **values}
    add_campaign(tmp_path, Campaign(**made))
    return analyse(open_dataset(tmp_path), "web")


def test_the_answer_of_an_open_loop_is_the_tail(tmp_path: Path) -> None:
    found = opened(tmp_path)
    (verdict,) = found.primary
    assert verdict.metric == "latency_corrected_p99_s"
    assert verdict.ratio is not None and verdict.ratio == pytest.approx(1 / 1.2, rel=0.03)
    text = " ".join(answer(found))
    assert "p99 latency" in text and "different" in text
    assert "requests/s" not in text
    assert "h2load, 64 connections, 70 % of peak" in answer(found)[0]
    assert [gate.twin.metric for gate in found.gates] == ["latency_corrected_p99_s"]
    assert found.little == ()
    assert found.cells[0].label == "lab-2, h2load, 64 connections, 70 % of peak"


def test_an_open_loop_is_measured_until_the_tail_is_known(tmp_path: Path) -> None:
    opened(tmp_path, noise=0.004)
    (cell,) = precision(open_dataset(tmp_path), "web").cells
    limits = {one.metric: one.limit for one in cell.widths}
    assert limits == {"latency_corrected_p99_s": 0.05, "latency_corrected_p50_s": 0.02}
    assert cell.precise
