"""Failed requests where they are what is asked: shares, kinds, throughput of what was answered."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from synthetic_dataset import Campaign, add_campaign

from analysis.dataset import open_dataset
from analysis.report import render
from analysis.result import Analysis
from analysis.summary import analyse
from analysis.tables import tables
from analysis.wording import answer

NAME = "web-20261121t113000-1f3a"
# Of about 24,000 requests a run.
REFUSED = {"requests": 20_000, "errors_status": 5_000, "errors_connect": 0, "retransmits": 3}
LATE = {"requests": 18_000, "errors_timeout": 900, "errors_connect": 2_000, "listen_overflows": 40}


def measured(state: Path, *, asked: bool = True, **arms: Any) -> Analysis:
    ratios = {"tcp-loopback": 1.0, "sharedvolume": 1.0}
    made = Campaign(arms=ratios, arm_values=arms, histograms=False, noise=0.001)
    add_campaign(state, made)
    path = state / "results" / "campaigns" / NAME / "plan.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "failures": asked}))
    return analyse(open_dataset(state), "web")


def test_shares_by_what_a_caller_saw(tmp_path: Path) -> None:
    found = measured(tmp_path, sharedvolume=REFUSED, **{"tcp-loopback": LATE})
    uds, tcp = found.failures
    assert (uds.arm, tcp.arm) == ("sharedvolume", "tcp-loopback")
    assert uds.share.value == pytest.approx(0.25)
    assert uds.kinds == {"refused with a status": pytest.approx(0.25)}
    # 2,000 were never answered, so 20,000 were asked for.
    assert tcp.share.value == pytest.approx(0.145)
    assert tcp.kinds == {
        "not connected": pytest.approx(0.1), "answered too late": pytest.approx(0.045)
    }  # fmt: skip
    assert (uds.retransmits, uds.listen_overflows, tcp.listen_overflows) == (3, None, 40)
    assert (uds.share.low, uds.n) == (pytest.approx(0.25), 8)


def test_throughput_is_of_what_was_answered_well(tmp_path: Path) -> None:
    found = measured(tmp_path, sharedvolume=REFUSED)
    (verdict,) = found.by_contrast("throughput_rps")
    assert verdict.ratio == pytest.approx(0.75, rel=0.01)
    text = " ".join(answer(found))
    assert "Failed, lab-2, wrk, 16 connections, keepalive=true: sharedvolume 25.0 %" in text
    assert "(refused with a status)" in text
    page = render(found, tables(found))
    assert '<section id="failures">' in page and "What callers saw fail" in page
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids)), "a chart finds what it draws by its id"
    assert not any("different lengths" in warning for warning in found.warnings)
    assert "failures" in tables(found)


def test_nothing_failed_is_zero_and_not_left_out(tmp_path: Path) -> None:
    found = measured(tmp_path)
    assert [one.share.value for one in found.failures] == [0.0, 0.0]
    assert [one.kinds for one in found.failures] == [{}, {}]
    assert "nothing failed" in render(found, tables(found))


def test_where_it_is_not_asked_there_is_no_section(tmp_path: Path) -> None:
    found = measured(tmp_path, asked=False)
    assert found.failures == ()
    assert '<section id="failures">' not in render(found, tables(found))
    assert "Failed" not in " ".join(answer(found))
