"""What each container used: medians, sums of what adds up, and nothing made of null."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from synthetic_dataset import Campaign, add_campaign

from analysis.dataset import good_runs, open_dataset
from analysis.report import render
from analysis.summary import analyse
from analysis.tables import tables
from analysis.usage import TOGETHER, Used, find_used

MB = 1_000_000
PROXY: dict[str, Any] = {
    "memory_anonymous_bytes": 5 * MB, "memory_cache_bytes": 4 * MB, "memory_kernel_bytes": 1 * MB,
    "memory_limit_hits": 0, "read_bytes": 0, "written_bytes": 4096, "received_bytes": 500_000,
    "sent_bytes": 900_000, "loopback_bytes": 0,
}  # fmt: skip
APP: dict[str, Any] = {
    "memory_anonymous_bytes": 45 * MB, "memory_cache_bytes": 5 * MB, "memory_kernel_bytes": None,
    "memory_limit_hits": 7, "read_bytes": 1000, "written_bytes": 0, "received_bytes": None,
    "sent_bytes": None, "loopback_bytes": None,
}  # fmt: skip
FIGURES = {"proxy": PROXY, "app-0": APP}


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("usage")
    add_campaign(folder, Campaign(arms={"tcp-loopback": 1.0}, blocks=6, histograms=False))
    return folder


def used(
    state: Path, inside: bool = False, scaled_to: int | None = None, **changes: dict[str, Any]
) -> dict[str, Used]:
    dataset = open_dataset(state)
    runs, containers = good_runs(dataset.runs()), dataset.table("containers")
    runs = runs.assign(requests=100, inside=inside, scaled_to=scaled_to)
    if inside:
        containers = containers.replace({"container": {"proxy": "load"}})
        changes = {"load": PROXY, **changes}
    mine = containers["measured"].eq(True)
    for task, figures in {**FIGURES, **changes}.items():
        for name, value in figures.items():
            containers.loc[mine & containers["container"].eq(task), name] = value
    return {one.container: one for one in find_used(runs, containers)}


def test_memory_is_told_apart_and_bytes_are_a_request(state: Path) -> None:
    proxy = used(state)["proxy"]
    assert (proxy.own, proxy.cache, proxy.kernel, proxy.hits) == (5 * MB, 4 * MB, 1 * MB, 0)
    assert (proxy.received, proxy.sent, proxy.loopback) == (5000, 9000, 0)
    assert proxy.n == 12, "both copies of the baseline"


def test_what_no_host_said_stays_unsaid(state: Path) -> None:
    app = used(state)["app-0"]
    assert (app.kernel, app.received, app.sent, app.loopback) == (None, None, None, None)
    assert app.own == 45 * MB
    assert (app.hits, app.read, app.written) == (7, 10, 0)


def test_an_arm_is_the_sum_of_what_adds_up(state: Path) -> None:
    both = used(state)[TOGETHER]
    assert both.own == 50 * MB
    assert (both.cache, both.hits, both.read, both.written) == (9 * MB, 7, 10, 40.96)
    assert (both.received, both.sent, both.loopback) == (None, None, None)
    assert both.kernel is None, "one of the two did not say"


def test_a_load_generator_inside_is_no_part_of_its_arm(state: Path) -> None:
    found = used(state, inside=True)
    assert {*found} == {"load", "app-0"}, "of one container there is no sum"


def test_of_an_arm_that_grew_nothing_is_said(state: Path) -> None:
    assert used(state, scaled_to=2) == {}


def test_without_counters_there_is_no_table(state: Path) -> None:
    nothing = dict.fromkeys(PROXY)
    assert used(state, **{"proxy": nothing, "app-0": nothing}) == {}


IPC = {"host": "lab-2", "variant": "", "tool": "ipc", "concurrency": 1}


def test_of_runs_of_several_cells_all_is_told_a_run(tmp_path: Path) -> None:
    ends = {"load": 0.5, "serve": 0.3}
    arms = {"tcp": 1.0, "pipe": 2.0}
    campaign = Campaign(
        cells=(IPC,),
        arms=arms,
        tasks=dict.fromkeys(arms, ends),
        blocks=6,
        histograms=False,
        experiment="ipc",
    )
    add_campaign(tmp_path, campaign)
    found = analyse(open_dataset(tmp_path), "ipc")
    assert {one.cell.label for one in found.used} == {"lab-2, ipc, 1 pair"}
    pipe = {one.container: one for one in found.used if one.arm == "pipe"}
    assert {*pipe} == {*ends, TOGETHER}, "the container that measures is one of the two ends"
    assert (pipe["serve"].n, pipe["serve"].own, pipe["serve"].cache) == (6, 22 * MB, 8 * MB)
    assert pipe[TOGETHER].own == 44 * MB

    own = found.cpu[(found.cpu["tool"] == "ipc") & (found.cpu["arm"] == "pipe")]
    assert set(own["per"]) == {"run"}
    by_part = dict(zip(own["part"], own["cpu_s"], strict=True))
    assert {**by_part, "idle arms": 0.0} == {
        **ends, "containers together": 0.8, "unattributed": 0.18, "idle arms": 0.0,
    }  # fmt: skip
    page = render(found, tables(found))
    assert "lab-2, ipc, 1 pair: whole runs" in page
    assert "CPU of a run, ms, medians over blocks" in page
    assert page.count("What each container used") == 1


def test_it_stands_in_the_report_and_its_tables(state: Path) -> None:
    found = analyse(open_dataset(state), "web")
    shown = tables(found)
    assert set(shown["used"]["container"]) == {"proxy", "app-0", TOGETHER}
    assert isinstance(shown["used"], pd.DataFrame)
    page = render(found, shown)
    assert "What each container used" in page
    assert "used.csv" in page
