"""The arguments of the load tools, and what they refuse before anything is started."""

from __future__ import annotations

import dataclasses

import pytest

from collector.parse import TOOLS, Load

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
    assert TOOLS["wrk"].capabilities.histogram and not TOOLS["ab"].capabilities.histogram
    for name, tool in TOOLS.items():
        assert tool.name == name
        assert not (tool.capabilities.open_loop or tool.capabilities.unix_sockets)
