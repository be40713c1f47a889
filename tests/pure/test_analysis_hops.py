"""The ledger of a chain: slopes with a known truth, what is not known, where it is shown."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic_dataset import Campaign, add_campaign

from analysis.contrast import with_cpu_per_work
from analysis.dataset import good_runs, open_dataset
from analysis.hops import Hop, Slope, find_hops
from analysis.report import render
from analysis.report.hops_view import ledgers
from analysis.summary import analyse
from analysis.tables import tables

LENGTHS = (1, 2, 4, 8)
# Microseconds: one service more; what the first one costs is the same everywhere.
TIMES = {"call": 30.0, "encoded": 50.0, "unix": 400.0, "tcp-loopback": 450.0}
FIRST = 600.0
PATHS = {arm: arm for arm in TIMES}


def made(state: Path, *lengths: int) -> Path:
    cells = [
        {"host": "lab-2", "variant": f"services={n},cpus=any", "tool": "wrk", "concurrency": 1}
        for n in lengths
    ]
    arms = dict.fromkeys(["tcp-loopback", "call", "encoded", "unix"], 1.0)
    add_campaign(state, Campaign(arms=arms, cells=cells, blocks=10, histograms=False))
    return state


def timed(runs: pd.DataFrame, bend: float = 0.0) -> pd.DataFrame:
    """Runs with the true times, but for what the runs of a block share, and a little noise."""
    rng = np.random.default_rng(3)
    lengths = runs["variant"].str.extract(r"services=(\d+)", expand=False).astype(int)
    shared = runs["block"].map(dict(enumerate(rng.normal(0, 30, runs["block"].max() + 1))))
    us = FIRST + runs["arm"].map(TIMES) * (lengths - 1) + bend * (lengths == 4)
    noisy = us + shared + rng.normal(0, 2, len(runs))
    cpu = 1e-6 * (0.8 * us) * runs["requests"]
    return with_cpu_per_work(runs.assign(latency_mean_s=noisy / 1e6, containers_cpu_s=cpu))


def by_arm(state: Path, bend: float = 0.0) -> dict[tuple[str, str], Hop]:
    runs = timed(good_runs(open_dataset(made(state, *LENGTHS)).runs()), bend)
    return {(hop.arm, hop.metric): hop for hop in find_hops(runs, PATHS)}


def test_slopes_are_the_cost_of_one_more_service(tmp_path: Path) -> None:
    found = by_arm(tmp_path)
    for arm, truth in TIMES.items():
        hop = found[arm, "latency_mean_s"]
        assert (hop.n, hop.lengths, hop.cell.variant) == (40, LENGTHS, "cpus=any")
        whole = hop.parts["whole"]
        assert whole.low < truth / 1e6 < whole.high
        assert found[arm, "cpu_per_request_s"].parts["whole"].value == pytest.approx(0.8e-6 * truth)


def test_parts_are_known_better_than_the_whole_and_add_up(tmp_path: Path) -> None:
    hop = by_arm(tmp_path)["unix", "latency_mean_s"]
    truth = {"application": 30e-6, "serialisation": 20e-6, "transport": 350e-6}
    assert {*hop.parts} == {"whole", *truth}
    for name, value in truth.items():
        assert hop.parts[name].low < value < hop.parts[name].high
    whole, parted = hop.parts["whole"], hop.parts["transport"]
    assert parted.high - parted.low < (whole.high - whole.low) / 4, "a block's own level is gone"
    assert sum(hop.parts[name].value for name in truth) == pytest.approx(whole.value)


def test_without_the_arms_to_tell_there_are_no_parts(tmp_path: Path) -> None:
    runs = timed(good_runs(open_dataset(made(tmp_path, *LENGTHS)).runs()))
    some = runs[runs["arm"].isin(["unix", "tcp-loopback"])]
    assert all({*hop.parts} == {"whole"} for hop in find_hops(some, PATHS))


def test_the_share_of_serialisation_is_told_where_its_parts_are_known(tmp_path: Path) -> None:
    hops = by_arm(tmp_path)
    unix = hops["unix", "latency_mean_s"]
    assert unix.share("serialisation") == pytest.approx(20 / 400, rel=0.1)
    assert unix.share("whole") == 1
    assert hops["encoded", "latency_mean_s"].share("serialisation") is None, "it has no parts"
    none = Slope(-1e-6, -2e-6, 1e-6)
    assert dataclasses.replace(unix, parts={**unix.parts, "whole": none}).share("whole") is None

    found = analyse(open_dataset(tmp_path), "web")
    (ledger,) = ledgers(dataclasses.replace(found, hops=tuple(hops.values())))
    shares = {arm: dict(zip(ledger.columns, row, strict=True)) for arm, row in ledger.rows}
    assert shares["unix"]["serialisation's share"] == "5 %"
    assert shares["encoded"]["serialisation's share"] == "none"
    table = tables(dataclasses.replace(found, hops=(unix,)))["hops"].set_index("part")
    assert table.loc["serialisation", "share"] == unix.share("serialisation")
    assert pd.isna(table.loc["1 to 2", "share"])


def test_what_a_line_does_not_explain_is_said(tmp_path: Path) -> None:
    assert by_arm(tmp_path)["unix", "cpu_per_request_s"].off < 1e-9
    bent = by_arm(tmp_path / "bent", bend=900.0)["unix", "cpu_per_request_s"]
    assert bent.off > 0.1


def test_steps_are_what_each_length_costs_more_than_the_one_before(tmp_path: Path) -> None:
    hop = by_arm(tmp_path, bend=900.0)["unix", "latency_mean_s"]
    truth = {(1, 2): 400e-6, (2, 4): 850e-6, (4, 8): 175e-6}
    assert {*hop.steps} == {*truth}
    for step, value in truth.items():
        assert hop.steps[step].low < value < hop.steps[step].high
        assert hop.steps[step].value == pytest.approx(value, abs=40e-6)


def test_of_one_run_at_a_length_no_step_is_known(tmp_path: Path) -> None:
    runs = timed(good_runs(open_dataset(made(tmp_path, *LENGTHS)).runs()))
    last = runs["variant"].str.contains("services=8") & (runs["block"] != runs["block"].max())
    hops = {hop.arm: hop for hop in find_hops(runs[~last], PATHS)}
    assert {*hops["unix"].steps} == {(1, 2), (2, 4)}


def test_two_lengths_have_no_ledger(tmp_path: Path) -> None:
    found = analyse(open_dataset(made(tmp_path, 1, 4)), "web")
    assert found.hops == ()
    assert "hops" not in tables(found)
    assert 'id="hops"' not in render(found, tables(found))


def test_the_report_has_the_ledger_and_draws_it(tmp_path: Path) -> None:
    found = analyse(open_dataset(made(tmp_path, *LENGTHS)), "web")
    shown = tables(found)
    parts = {"whole", "application", "serialisation", "transport"}
    assert set(shown["hops"]["part"]) == {*parts, "1 to 2", "2 to 4", "4 to 8"}
    page = render(found, shown)
    assert '<section id="hops">' in page
    assert "takes from one length of the chain to the next" in page
    assert "Time of a request by length of the chain and arm, lab-2, wrk, 1 connection" in page
