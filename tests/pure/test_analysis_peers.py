"""Other people's programs beside ipc: what agrees, what stands beside what, and orders."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pandas as pd
import pytest
from synthetic_dataset import Campaign, add_campaign

from analysis.contrast import Cell
from analysis.dataset import open_dataset
from analysis.peers import BAND, Peers, compare_peers
from analysis.report.page import render
from analysis.result import Analysis
from analysis.summary import analyse
from analysis.tables import tables
from analysis.verdict import Verdict

TRIPS = Cell("lab-2", "lab-2", "", "ipc-latency", 1, "", "64 B")
MESSAGES = Cell("lab-2", "lab-2", "", "ipc-throughput", 1, "", "4,096 B")
GETS = Cell("lab-2", "lab-2", "", "peer-get", 1)
OPERATIONS = Cell("lab-2", "lab-2", "", "peer-pipe", 1)


@pytest.fixture(scope="module")
def some(tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    state = tmp_path_factory.mktemp("state")
    add_campaign(state, Campaign(histograms=False))
    return analyse(open_dataset(state), "web")


def said(some: Analysis, cell: Cell, arm: str, baseline: str, ratio: float) -> Verdict:
    return dataclasses.replace(
        some.verdicts[0],
        cell=cell,
        metric="throughput_rps",
        arm=arm,
        baseline=baseline,
        ratio=ratio,
    )


def rates(cell: Cell, **arms: float) -> pd.DataFrame:
    rows = [
        (cell, arm.replace("_", "-"), "a", "throughput_rps", rate) for arm, rate in arms.items()
    ]
    return pd.DataFrame(rows, columns=["cell", "arm", "copy", "metric", "median"])


NONE = rates(TRIPS)


def beside(theirs: list[Verdict], ours: list[Verdict]) -> Peers:
    return compare_peers("ipc-peers-1", theirs, ours, NONE, NONE)


@pytest.mark.parametrize(
    ("theirs", "ours", "agrees"),
    [
        (1.2, 1.2, True),
        (1.2, 1.05, True),
        (1.0, 1.14, True),
        (1.2, 1.03, False),
        (1.0, 1.16, False),
    ],
)
def test_ratios_agree_within_the_band(
    some: Analysis, theirs: float, ours: float, agrees: bool
) -> None:
    (found,) = beside(
        [said(some, GETS, "redis-unix", "redis-tcp", theirs)],
        [said(some, TRIPS, "unix-stream", "tcp", ours)],
    ).agreements
    assert found.off == pytest.approx(theirs / ours - 1)
    assert found.agrees is agrees is (max(theirs / ours, ours / theirs) <= 1 + BAND)


def test_only_the_same_host_and_the_same_question_are_put_together(some: Analysis) -> None:
    ours = said(some, TRIPS, "unix-stream", "tcp", 1.2)
    elsewhere = dataclasses.replace(TRIPS, host="lab-3")
    theirs = said(some, GETS, "redis-unix", "redis-tcp", 1.2)
    for other in (
        said(some, elsewhere, "unix-stream", "tcp", 1.2),
        said(some, dataclasses.replace(TRIPS, offered="4,096 B"), "unix-stream", "tcp", 1.2),
        dataclasses.replace(ours, metric="latency_p50_s"),
        said(some, TRIPS, "unix-stream-bare", "tcp-bare", 1.2),
    ):
        assert beside([theirs], [other]).agreements == ()
    assert len(beside([theirs], [ours]).agreements) == 1


def test_a_ratio_that_is_not_known_agrees_with_nothing(some: Analysis) -> None:
    ours = said(some, TRIPS, "unix-stream", "tcp", 1.2)
    unknown = dataclasses.replace(said(some, GETS, "redis-unix", "redis-tcp", 1.2), ratio=None)
    assert beside([unknown], [ours]).agreements == ()


def test_figures_stand_beside_those_of_the_same_mechanism(some: Analysis) -> None:
    theirs = rates(GETS, redis_tcp=20_000.0, redis_unix=24_000.0)
    found = compare_peers("c", [], [], theirs, rates(TRIPS, tcp=50_000.0, udp=60_000.0))
    (one,) = found.beside
    assert (one.arm, one.theirs, one.mechanism, one.ours) == ("redis-tcp", 2e4, "tcp", 5e4)


def test_orders_are_compared_pair_by_pair() -> None:
    theirs = rates(OPERATIONS, stress_ng_pipe=9.0, stress_ng_mq=5.0, stress_ng_udp=7.0)
    ours = rates(MESSAGES, pipe=300.0, udp=100.0, **{"posix-queue": 200.0})
    (order,) = compare_peers("c", [], [], theirs, ours).orders
    assert order.theirs == ("pipe", "udp", "posix-queue")
    assert order.ours == ("pipe", "posix-queue", "udp")
    assert (order.alike, order.pairs) == (2, 3)


def test_a_report_of_ipc_says_how_they_are_measured_where_they_were_not(tmp_path: Path) -> None:
    cell = {"host": "lab-2", "variant": "", "tool": "ipc", "concurrency": 1}
    arms = {"tcp": 1.0, "unix-stream": 2.0}
    add_campaign(
        tmp_path,
        Campaign(cells=(cell,), arms=arms, histograms=False, experiment="ipc"),
    )
    found = analyse(open_dataset(tmp_path), "ipc")
    assert found.agreement is None
    assert "make lab experiment=ipc-peers" in render(found, tables(found))
    peers = beside(
        [said(found, GETS, "redis-unix", "redis-tcp", 1.5)],
        [said(found, TRIPS, "unix-stream", "tcp", 1.2)],
    )
    found = dataclasses.replace(found, agreement=peers)
    page = render(found, tables(found))
    assert "does not agree" in page
    assert tables(found)["agreement"]["agrees"].tolist() == [False]


IPC = {"host": "lab-2", "variant": "", "tool": "ipc", "concurrency": 1}
REDIS = {**IPC, "tool": "peer-get"}


def both(tmp_path: Path, placement: str = "same_core", **facts: object) -> Analysis:
    """A campaign of ipc beside one of redis on a host of the same name."""
    ours = Campaign(
        cells=(IPC,),
        arms={"tcp": 1.0, "unix-stream": 1.2},
        histograms=False,
        experiment="ipc",
        host_facts={"lab-2": {"cpus": [1]}},
    )
    theirs = Campaign(
        name="ipc-peers-20261121t113000-0001",
        cells=(REDIS,),
        arms={"redis-tcp": 1.0, "redis-unix": 1.25},
        histograms=False,
        experiment="ipc-peers",
        host_facts={"lab-2": {"cpus": [1], **facts}},
        run_values={"placement": placement},
    )
    for campaign in (ours, theirs):
        add_campaign(tmp_path, campaign)
    return analyse(open_dataset(tmp_path), "ipc")


def test_the_newest_campaign_of_theirs_stands_beside_ours(tmp_path: Path) -> None:
    found = both(tmp_path)
    assert found.agreement is not None
    (one,) = found.agreement.agreements
    assert (one.theirs.arm, one.ours.arm) == ("redis-unix", "unix-stream")
    assert one.agrees
    page = render(found, tables(found))
    assert "Campaign ipc-peers-20261121t113000-0001" in page
    assert "within 15 % of the other" in page


def test_a_host_that_is_another_one_now_is_not_compared(tmp_path: Path) -> None:
    found = both(tmp_path, kernel="9.9.9")
    assert found.agreement is None
    (said,) = [line for line in found.warnings if "Other people's programs" in line]
    assert said.endswith("the hosts are others now (lab-2: kernel)")


@pytest.mark.parametrize(
    ("placement", "cpus", "there"),
    [
        ("shared", [0, 1], "shared on CPU 0, 1"),
        ("same_core", [0], "same_core on CPU 0"),
        ("split", [1], "split on CPU 1"),
    ],
)
def test_ends_that_shared_their_cpus_otherwise_are_not_compared(
    tmp_path: Path, placement: str, cpus: list[int], there: str
) -> None:
    found = both(tmp_path, placement, cpus=cpus)
    assert found.agreement is None
    (said,) = found.unlike
    assert said == (
        "Other people's programs are left out: their ends shared the CPUs otherwise "
        f"(lab-2: {there} there, same_core on CPU 1 here). Measure them again as this was: "
        "make lab experiment=ipc-peers"
    )
    assert said in found.warnings
    section = render(found, tables(found)).partition('<section id="peers">')[2]
    section = section.partition("</section>")[0].replace("&#39;", "'")
    assert said in section
    assert "were not measured in this lab" not in section
    assert "agree" not in section
