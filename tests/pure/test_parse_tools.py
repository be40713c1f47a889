"""The arguments of the load tools, and what they refuse before anything is started."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from collector.parse import TOOLS, Invocation, Load

FIXTURES = Path(__file__).parents[1] / "fixtures" / "parse"
URL = "http://198.18.0.12:24001/"
LOAD = Load(
    url=URL,
    concurrency=16,
    threads=1,
    duration_s=2.0,
    requests=None,
    keepalive=True,
    timeout_s=2.0,
)


def changed(**fields: object) -> Load:
    return dataclasses.replace(LOAD, **fields)  # type: ignore[arg-type]


def test_wrk() -> None:
    invocation = TOOLS["wrk"].arguments(changed(threads=2))
    assert " ".join(invocation.argv) == (
        f"wrk --latency -t 2 -c 16 -d 2s --timeout 2s -s {{lib}}/wrk_histogram.lua {URL}"
    )
    assert invocation.env == {
        "SOCKLAB_HISTOGRAM": "{dir}/histogram.tsv",
        "SOCKLAB_CONNECTIONS": "16",
    }
    assert invocation.files == {"histogram": "histogram.tsv"}
    closing = TOOLS["wrk"].arguments(changed(keepalive=False)).argv
    assert closing[closing.index("-H") + 1] == "Connection: close"


def test_h2load_opens_its_connections_over_one_period() -> None:
    invocation = TOOLS["h2load"].arguments(changed(concurrency=64, rate_rps=4800))
    assert " ".join(invocation.argv) == (
        "h2load --h1 -n 9600 -c 64 --rps 75.0 -r 5 --rate-period 1ms -N 2 "
        f"--log-file {{dir}}/log.tsv {URL}"
    )
    assert invocation.files == {"log": "log.tsv"}
    slow = TOOLS["h2load"].arguments(changed(rate_rps=10)).argv
    assert slow[slow.index("-n") + 1] == "16"  # 0.625 a second each: one in two seconds
    assert slow[slow.index("-r") :][:4] == ("-r", "1", "--rate-period", "100ms")


def test_ab_for_a_number_of_requests() -> None:
    invocation = TOOLS["ab"].arguments(changed(duration_s=None, requests=1000, keepalive=False))
    assert " ".join(invocation.argv) == (
        f"ab -l -q -r -s 2 -e {{dir}}/percentiles.csv -c 16 -n 1000 {URL}"
    )
    assert invocation.files == {"percentiles": "percentiles.csv"}


def test_ab_for_a_time_sets_the_requests_after_the_time() -> None:
    argv = TOOLS["ab"].arguments(LOAD).argv
    assert "-k" in argv
    # -t sets -n to 50,000, which would end a fast run early.
    assert argv.index("-t") < argv.index("-n")
    assert int(argv[argv.index("-n") + 1]) == 1_000_000
    long = TOOLS["ab"].arguments(changed(duration_s=3600.0)).argv
    assert long[long.index("-n") + 1] == "50000000"


def test_fortio_is_told_all_that_its_defaults_get_wrong() -> None:
    invocation = TOOLS["fortio"].arguments(changed(threads=2))
    assert " ".join(invocation.argv) == (
        "fortio load -quiet -log-errors=false -allow-initial-errors -json - -p 50,75,90,95,99 "
        f"-r 1e-06 -qps 0 -gomaxprocs 2 -c 16 -t 2s -timeout 2s {URL}"
    )
    counted = TOOLS["fortio"].arguments(changed(duration_s=None, requests=99, keepalive=False)).argv
    assert counted[counted.index("-n") + 1] == "99" and "-t" not in counted
    assert counted[-2:] == ("-keepalive=false", URL)


@pytest.mark.parametrize("threads", [1, 16])
def test_tools_that_run_inside(threads: int) -> None:
    inside = changed(url=None, threads=threads)
    assert TOOLS["stream"].arguments(inside) == Invocation(
        argv=("/local/load", "--flows", "16", "--time", "2")
    )
    assert TOOLS["h2load-inside"].arguments(changed(url=None)) == Invocation(
        argv=("/local/load", "--time", "2", "--connections", "16")
    )
    assert TOOLS["sysbench"].arguments(inside) == Invocation(
        argv=("/local/load", "--threads=16", "--time=2")
    )
    counted = changed(url=None, threads=threads, duration_s=None, requests=1000)
    assert TOOLS["sysbench"].arguments(counted).argv == (
        "/local/load", "--threads=16", "--events=1000", "--time=0"
    )  # fmt: skip


FIGURES = {
    "wrk/plain": "64,961 requests/s",
    "ab/plain": "35,911 requests/s",
    "sysbench/point_select": "37,524 transactions/s",
    "stream/unix_to": "314 MB/s",
    "stream/abstract_both": "65.5 MB/s",
    "stream/refused": None,
    "ipc/unavailable": None,
    "serialisation/msgpack": "17,794 exchanges/s at 1024 B",
    "serialisation/unavailable": None,
    "peer/redis_unix": "41,152 requests/s",
    "peer/perf_pipe": "101,027 round trips/s",
    "peer/perf_messaging": "0.244 s",
    "peer/iperf3_tcp": "1,388 MB/s at 32768 B",
    "peer/stress_ng_mq": "185,872 bogo ops/s",
    "peer/sockperf_half": None,
    "sysbench/refused": None,
    "ab/refused": None,
    "h2load/stall": "241 requests/s",
    "h2load-inside/unix": "13,379 requests/s",
    "fortio/unix": "11,968 requests/s",
}


@pytest.mark.parametrize("name", FIGURES)
def test_figure_for_a_progress_line(name: str) -> None:
    tool = TOOLS[name.partition("/")[0]]
    stdout = (FIXTURES / f"{name}.txt").read_bytes()
    assert tool.figure(stdout) == FIGURES[name]
    assert tool.figure(b"") is None and tool.figure(b"\xff" * 99) is None


def test_placeholders_are_replaced_everywhere() -> None:
    placed = TOOLS["wrk"].arguments(LOAD).placed("/run/x", "/opt/y")
    assert "/opt/y/wrk_histogram.lua" in placed.argv
    assert placed.env["SOCKLAB_HISTOGRAM"] == "/run/x/histogram.tsv"
    assert not any("{" in text for text in (*placed.argv, *placed.env.values()))


@pytest.mark.parametrize(
    ("tool", "fields", "reason"),
    [
        ("wrk", {"threads": 3}, "do not divide"),
        ("wrk", {"duration_s": None, "requests": 10}, "not for a number of requests"),
        ("ab", {"threads": 2}, "one thread"),
        ("ab", {"duration_s": None, "requests": 10}, "fewer than 16"),
        ("ab", {"url": "http://127.0.0.1:80"}, "path"),
        ("ab", {"url": None}, "ab: calls a URL"),
        ("wrk", {"url": None}, "wrk: calls a URL"),
        ("wrk", {"rate_rps": 100}, "wrk: asks again when it is answered"),
        ("ab", {"rate_rps": 100}, "ab: asks again when it is answered"),
        ("stream", {"url": None, "rate_rps": 100}, "stream: asks again"),
        ("sysbench", {"url": None, "rate_rps": 100}, "sysbench: asks again"),
        ("fortio", {"duration_s": None, "requests": 10}, "fewer than 16"),
        ("fortio", {"url": None}, "fortio: calls a URL"),
        ("fortio", {"rate_rps": 100}, "fortio: asks again"),
        ("h2load-inside", {"url": None, "threads": 2}, "one thread, not 2"),
        ("h2load-inside", {"url": None, "keepalive": False}, "keeps its connections"),
        ("h2load-inside", {"url": None, "rate_rps": 100}, "h2load-inside: asks again"),
        ("h2load-inside", {"url": None, "duration_s": None, "requests": 10}, "runs for a time"),
        ("h2load-inside", {}, "runs inside the deployment"),
        ("h2load", {}, "of_peak or rate_rps"),
        ("h2load", {"rate_rps": 1601}, "1601 requests/s take 17 connections or more, not 16"),
        ("h2load", {"rate_rps": 16, "threads": 2}, "one thread keeps the schedule"),
        ("h2load", {"rate_rps": 16, "keepalive": False}, "keeps its connections"),
        ("h2load", {"rate_rps": 16, "duration_s": None, "requests": 9}, "not for a number of req"),
        ("h2load", {"rate_rps": 16, "url": None}, "h2load: calls a URL"),
        ("stream", {}, "stream: runs inside the deployment"),
        ("stream", {"url": None, "threads": 4}, r"threads: 1 \(leave it out\) or 16, not 4"),
        ("stream", {"url": None, "duration_s": None, "requests": 9}, "not for a number of req"),
        ("stream", {"url": None, "concurrency": 4097}, "at most 4096 flows"),
        ("stream", {"url": None, "keepalive": False}, "keeps its connections"),
        ("sysbench", {}, "sysbench: runs inside the deployment"),
        ("sysbench", {"url": None, "threads": 4}, r"threads: 1 \(leave it out\) or 16, not 4"),
        ("sysbench", {"url": None, "keepalive": False}, "keeps its connections"),
        ("sysbench", {"url": None, "duration_s": None, "requests": 9}, "fewer than 16 threads"),
    ],
)
def test_load_that_a_tool_cannot_make_is_refused(
    tool: str, fields: dict[str, object], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        TOOLS[tool].arguments(changed(**fields))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"url": "-oProxyCommand=x"}, "url"),
        ({"url": "http://h/{dir}"}, "url"),
        ({"url": "http://h/ -x"}, "url"),
        ({"url": "ftp://h/"}, "url"),
        ({"concurrency": 0}, "at least 1"),
        ({"threads": 0}, "at least 1"),
        ({"rate_rps": 0}, "rate_rps: at least 1"),
        ({"requests": 5}, "only one"),
        ({"duration_s": None}, "only one"),
        ({"duration_s": None, "requests": 0}, "at least 1"),
        ({"duration_s": 1.5}, "duration_s: a whole number"),
        ({"timeout_s": 0.0}, "timeout_s: a whole number"),
        ({"timeout_s": float("nan")}, "timeout_s: a whole number"),
        ({"timeout_s": float("inf")}, "timeout_s: a whole number"),
    ],
)
def test_senseless_load_is_refused(fields: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        changed(**fields)


def test_capabilities_say_what_the_tools_can() -> None:
    can = {name: tool.capabilities for name, tool in TOOLS.items()}
    histograms = {"h2load", "h2load-inside", "sysbench", "wrk"}
    assert {name for name, one in can.items() if one.histogram} == histograms
    inside = {"h2load-inside", "ipc", "peer", "serialisation", "stream", "sysbench"}
    assert {name for name, one in can.items() if one.inside} == inside
    assert {name for name, one in can.items() if one.unix_sockets} == inside
    assert {name for name, one in can.items() if one.warms_up} == {"ipc", "serialisation"}
    for name, tool in TOOLS.items():
        assert tool.name == name
        assert tool.capabilities.open_loop == (name == "h2load")
