"""Counters beside the figures: a unit of work or a run, null where no host gave them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from synthetic_dataset import Campaign, add_campaign

from analysis.dataset import open_dataset
from analysis.report import render
from analysis.result import Analysis
from analysis.summary import analyse
from analysis.tables import tables

TCP = {
    "requests": 1000, "softirq_cpu_s": 0.02, "context_switches": 4000, "connections_opened": 500,
    "retransmits": 2,
}  # fmt: skip
UDS = {"requests": 1000, "softirq_cpu_s": 0.005, "connections_opened": 0, "retransmits": 0}


def analysed(state: Path, **arms: Any) -> Analysis:
    ratios = {"tcp-loopback": 1.0, "sharedvolume": 1.0}
    add_campaign(state, Campaign(arms=ratios, arm_values=arms, histograms=False))
    return analyse(open_dataset(state), "web")


def test_counters_by_request_and_by_run(tmp_path: Path) -> None:
    found = analysed(tmp_path, sharedvolume=UDS, **{"tcp-loopback": TCP})
    uds, tcp = found.counted
    assert (uds.arm, tcp.arm) == ("sharedvolume", "tcp-loopback")
    assert tcp.softirq_s == pytest.approx(20e-6)
    assert uds.softirq_s == pytest.approx(5e-6)
    assert (tcp.switches, uds.switches) == (4.0, None)
    assert (tcp.connections, uds.connections) == (0.5, 0.0)
    assert (tcp.retransmits, tcp.listen_overflows, tcp.throttled) == (2, None, None)
    assert (tcp.n, uds.n) == (16, 8)
    assert "What else was counted" in render(found, tables(found))


def test_without_counters_there_is_no_table(tmp_path: Path) -> None:
    found = analysed(tmp_path)
    assert found.counted == ()
    assert "What else was counted" not in render(found, tables(found))
