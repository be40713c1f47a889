"""Runs of several cells: each is compared by itself, and what was counted over the run is not."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from synthetic_dataset import Campaign, add_campaign

from analysis.cells import OF_THE_RUN, find_unmeasured
from analysis.compare import compare
from analysis.contrast import cells_of
from analysis.dataset import open_dataset
from analysis.errors import AnalysisError
from analysis.peak import peaks
from analysis.precision import precision
from analysis.report.page import render
from analysis.summary import analyse
from analysis.tables import tables
from analysis.wording import answer

IPC = {"host": "lab-2", "variant": "where=two", "tool": "ipc", "concurrency": 1}
ARMS = {"tcp": 1.0, "unix-stream": 2.0, "pipe": 2.5}


def made(tmp_path: Path, **values: object) -> Path:
    wanted = {"cells": (IPC,), "arms": ARMS, "histograms": False, "experiment": "ipc", **values}
    add_campaign(tmp_path, Campaign(**wanted))  # type: ignore[arg-type]
    return tmp_path


def test_each_measured_cell_is_a_row_of_its_own(tmp_path: Path) -> None:
    dataset = open_dataset(made(tmp_path))
    runs = dataset.runs()
    assert set(zip(runs["tool"], runs["offered"], strict=True)) == {
        ("ipc-latency", "64 B"),
        ("ipc-throughput", "4,096 B"),
    }
    assert len(runs) == 2 * 8 * 4
    latency = runs[runs["tool"] == "ipc-latency"]
    assert (latency["throughput_rps"] * latency["latency_p50_s"]).round(9).eq(1).all()
    assert latency["transfer_bytes"].isna().all()
    assert latency["containers_cpu_s"].eq(0.5).all()
    assert latency["context_switches"].eq(220).all()
    assert runs[list(OF_THE_RUN)].isna().all(axis=None)
    one_way = runs[runs["tool"] == "ipc-throughput"]
    assert (one_way["transfer_bytes"] == one_way["requests"] * 4096).all()


def test_only_what_is_asked_for_is_read_and_texts_may_be_encoded(tmp_path: Path) -> None:
    dataset = open_dataset(made(tmp_path))
    runs = dataset.runs(columns=["arm", "offered", "latency_p50_s"], encoded=True)
    assert {"arm", "offered", "latency_p50_s"} < set(runs.columns)
    assert set(runs["offered"]) == {"64 B", "4,096 B"}


def test_a_run_without_cells_stays_what_it_was(tmp_path: Path) -> None:
    web = Campaign(name="web-20261121t113000-0001", started=1.7e9, histograms=False)
    add_campaign(tmp_path, web)
    runs = open_dataset(made(tmp_path)).runs()
    assert len(runs[runs["tool"] == "wrk"]) == 8 * 4
    pd.testing.assert_frame_equal(
        open_dataset(tmp_path).runs([web.name]),
        runs[runs["campaign"] == web.name].reset_index(drop=True),
        check_dtype=False,
    )


def test_a_forbidden_mechanism_is_not_compared_and_is_told(tmp_path: Path) -> None:
    forbidden = {
        "state": "invalid",
        "reasons": "unavailable socket: EAFNOSUPPORT; steal 6 %",
        "unavailable": "socket: EAFNOSUPPORT",
        "tool": "ipc",
    }
    state = made(tmp_path, arms={**ARMS, "vsock": 1.0}, arm_values={"vsock": forbidden})
    found = analyse(open_dataset(state), "ipc")
    assert found.account.invalid == 8
    assert ("invalid", "unavailable", 8) in found.account.reasons
    assert "vsock" not in found.arms
    told = {(one.arm, one.what, one.why, one.runs) for one in found.unmeasured}
    assert ("vsock", "everything", "not available: socket: EAFNOSUPPORT", 8) in told
    assert ("pipe", "throughput of 32,768 B", "too large: at most 8192 B: kernel.msgmax", 8) in told
    assert ("tcp", "connect", "not applicable", 16) in told  # both copies
    page = render(found, tables(found))
    assert "not available: socket: EAFNOSUPPORT" in page
    assert any(one.n == 0 for one in found.verdicts), "too large for a pipe"
    assert "no block has a good run of both arms" not in page, "Validity has it"
    assert ", 8 blocks a cell." in page


def test_an_arm_whose_messages_are_all_too_large_is_told_and_compared_with_nothing(
    tmp_path: Path,
) -> None:
    nothing = dict.fromkeys(("duration_s", "requests", "throughput_rps", "little_ratio"))
    state = made(
        tmp_path,
        arms={**ARMS, "posix-queue": 1.0},
        arm_values={"posix-queue": nothing},
        blocks=12,
        first=6,
        noise=0.001,
    )
    found = analyse(open_dataset(state), "ipc")
    assert {cell.tool for cell in found.cells} == {"ipc-latency", "ipc-throughput"}
    assert (found.account.good, found.account.invalid) == (12 * 5, 0)
    assert "posix-queue" not in found.arms
    assert {("posix-queue", "throughput of 32,768 B", 12)} <= {
        (one.arm, one.what, one.runs) for one in found.unmeasured
    }
    (asked,) = precision(open_dataset(state), "ipc").cells
    assert (asked.cell.tool, asked.precise) == ("ipc", True), "no block more would have a figure"


def test_a_campaign_of_what_is_too_large_alone_says_that_it_measured_nothing(
    tmp_path: Path,
) -> None:
    nothing = dict.fromkeys(("duration_s", "requests", "throughput_rps", "little_ratio"))
    with pytest.raises(AnalysisError) as caught:
        analyse(open_dataset(made(tmp_path, run_values=nothing)), "ipc")
    assert str(caught.value).startswith(
        "campaign web-20261121t113000-1f3a measured nothing: all that was asked of its good runs "
        "is beyond their mechanisms: `python -m collector show "
    )


def test_what_was_lost_on_the_way_is_told_beside_what_could_not_be_measured() -> None:
    run = {"run": "1", "attempt": 1}
    runs = pd.DataFrame([{**run, "host": "lab-2", "variant": "", "arm": "udp"}])
    size = {**run, "mode": "throughput", "state": "measured", "reason": None}
    cells = pd.DataFrame(
        [
            {**size, "message_bytes": 64.0, "count": 5.0, "lost": 9.0},
            {**size, "message_bytes": 32768.0, "count": 0.0, "lost": 900.0},
        ]
    )
    (one,) = find_unmeasured(runs.assign(unavailable=None), cells)
    assert (one.arm, one.what, one.why) == ("udp", "throughput of 32,768 B", "nothing arrived")


def test_verdicts_are_on_the_median_round_trip_and_on_messages(tmp_path: Path) -> None:
    found = analyse(open_dataset(made(tmp_path)), "ipc")
    assert [cell.label for cell in found.cells] == [
        "lab-2, ipc-latency, 1 pair, 64 B, where=two",
        "lab-2, ipc-throughput, 1 pair, 4,096 B, where=two",
    ]
    by_arm = {(one.cell.tool, one.arm): one for one in found.primary}
    trip, messages = by_arm["ipc-latency", "pipe"], by_arm["ipc-throughput", "pipe"]
    assert (trip.metric, messages.metric) == ("latency_p50_s", "throughput_rps")
    assert trip.ratio == pytest.approx(1 / 2.5, rel=0.02)
    assert messages.ratio == pytest.approx(2.5, rel=0.02)
    assert (trip.word, messages.word) == ("different", "different")
    assert {gate.twin.metric for gate in found.gates} == {"latency_p50_s", "throughput_rps"}
    (line,) = [line for line in answer(found) if line.startswith("pipe vs tcp")]
    assert re.sub(r"[-+]?[0-9]+[.][0-9]", "N", line) == (
        "pipe vs tcp: N % median round trip [N, N], different; N % messages/s [N, N], different."
    )
    # Containers are counted over whole runs: a cell has what its two processes used.
    of_cells = found.cpu[found.cpu["tool"] != "ipc"]
    assert set(of_cells["part"]) == {"containers together"}


def test_sizes_stand_in_their_order_and_not_in_that_of_their_digits() -> None:
    asked = ["1,048,576 B", "100 B", "65,536 B", "", "70 % of the peak"]
    runs = pd.DataFrame({"offered": asked}).assign(
        host="lab-2", load_host="lab-1", variant=None, tool="ipc", concurrency=1, peer=None
    )
    found = [cell.offered for cell, _ in cells_of(runs)]
    assert found == ["", "70 % of the peak", "100 B", "65,536 B", "1,048,576 B"]


def test_what_is_called_by_two_names_has_two_pictures_both_open(tmp_path: Path) -> None:
    found = analyse(open_dataset(made(tmp_path, arms={**ARMS, "unix-seqpacket": 1.5})), "ipc")
    html = render(found, tables(found))
    drawn = {
        spec["layer"][0]["encoding"]["x"]["axis"]["title"]: spec["layer"][-1]["data"]["values"]
        for spec in map(json.loads, re.findall(r'id="forest-[0-9]+">(.*?)</script>', html))
    }
    opened = html[: html.index("<details>")].count('data-spec="forest-')
    assert opened == 2
    assert list(drawn)[:2] == ["change in median round trip", "change in throughput"]
    for title, tool in zip(drawn, ("ipc-latency", "ipc-throughput"), strict=False):
        assert {tool in row["row"] for row in drawn[title]} == {True}


def test_a_formats_work_is_compared_by_its_mean_however_few_the_samples(tmp_path: Path) -> None:
    state = made(tmp_path, cells=({**IPC, "tool": "serialisation"},))
    found = analyse(open_dataset(state), "ipc")
    pipe = {one.cell.tool: one for one in found.primary if one.arm == "pipe"}
    assert set(pipe) == {f"serialisation-{mode}" for mode in ("encode", "decode", "exchange")}
    for one in pipe.values():
        assert (one.metric, one.word) == ("latency_mean_s", "different")
        assert one.ratio == pytest.approx(1 / 2.5, rel=0.02)
    assert {gate.twin.metric for gate in found.gates} == {"latency_mean_s"}
    assert any("% mean decoding [" in line for line in answer(found))
    (asked,) = precision(open_dataset(state), "ipc").cells
    assert {one.metric for one in asked.widths} == {"latency_mean_s"}


def test_what_is_timed_within_a_part_is_not_all_that_its_rate_holds(tmp_path: Path) -> None:
    found = analyse(open_dataset(made(tmp_path, arms={**ARMS, "unix-seqpacket": 1.5})), "ipc")
    assert list(found.little) == []


def test_a_campaign_goes_on_for_whole_runs_and_not_for_what_has_no_figure(tmp_path: Path) -> None:
    dataset = open_dataset(made(tmp_path, blocks=12, first=6, noise=0.001))
    (found,) = precision(dataset, "ipc").cells
    assert (found.cell.tool, found.cell.offered, found.precise) == ("ipc", "", True)
    assert {one.metric for one in found.widths} == {"latency_p50_s", "throughput_rps"}
    (ended,) = analyse(dataset, "ipc").stopping
    assert "precise after 12 of at most 12 blocks" in ended


def test_connections_are_no_peak_of_requests(tmp_path: Path) -> None:
    arms = {**ARMS, "unix-seqpacket": 1.5}
    dataset = open_dataset(made(tmp_path, arms=arms))
    assert "ipc-connect" in set(dataset.runs()["tool"])
    assert peaks(dataset) == []


def test_compare_takes_a_cell_as_any_other(tmp_path: Path) -> None:
    tables = compare(str(made(tmp_path)), "tcp", "latency_p50_s").tables
    (trips,) = [one for one in tables if one.cell.tool == "ipc-latency"]
    assert {one.arm: one.word for one in trips.verdicts} == {
        "pipe": "different",
        "unix-stream": "different",
    }
