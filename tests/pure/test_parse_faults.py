"""Bad, foreign and disguised outputs: parsed to the same record, or refused with their line."""

from __future__ import annotations

import codecs
import pickle
import time
from pathlib import Path

import pytest

from collector.parse import TOOLS, ParseError, Record
from collector.parse.ab import parse_ab
from collector.parse.command import parse_outputs
from collector.parse.h2load import parse_h2load
from collector.parse.histogram import parse_histogram
from collector.parse.peer import parse_peer
from collector.parse.stream import parse_stream
from collector.parse.sysbench import parse_sysbench
from collector.parse.text import LINE_LIMIT, SIZE_LIMIT
from collector.parse.wrk import parse_wrk

FIXTURES = Path(__file__).parents[1] / "fixtures" / "parse"
WRK = (FIXTURES / "wrk" / "resets.txt").read_bytes()
AB = (FIXTURES / "ab" / "failures.txt").read_bytes()
SYSBENCH = (FIXTURES / "sysbench" / "events.txt").read_bytes()
H2LOAD = (FIXTURES / "h2load" / "on_time.txt").read_bytes()
STREAM = (FIXTURES / "stream" / "tcp6_both.txt").read_bytes()
CELLS = (FIXTURES / "serialisation" / "msgpack.txt").read_bytes()
PEER = FIXTURES / "peer"
SOCKPERF = (PEER / "sockperf_tcp.txt").read_bytes()
GOOD = {
    "wrk": WRK,
    "ab": AB,
    "sysbench": SYSBENCH,
    "stream": STREAM,
    "h2load": H2LOAD,
    "serialisation": CELLS,
    "redis-benchmark": (PEER / "redis_unix.txt").read_bytes(),
    "perf bench": (PEER / "perf_pipe.txt").read_bytes(),
    "sockperf": SOCKPERF,
    "iperf3": (PEER / "iperf3_tcp.txt").read_bytes(),
    "stress-ng": (PEER / "stress_ng_pipe.txt").read_bytes(),
}


def only_error(data: bytes, tool: str = "auto") -> ParseError:
    (result,) = parse_outputs(data, tool)
    assert isinstance(result, ParseError), result
    return result


SAME = {
    "crlf": lambda data: data.replace(b"\n", b"\r\n"),
    "bom": lambda data: codecs.BOM_UTF8 + data,
    "utf-16-le": lambda data: codecs.BOM_UTF16_LE + data.decode().encode("utf-16-le"),
    "utf-16-be": lambda data: codecs.BOM_UTF16_BE + data.decode().encode("utf-16-be"),
    "colours": lambda data: data.replace(b":", b"\x1b[31m:\x1b[0m").replace(b"  ", b"\x1b[K  "),
    "blanks at line ends": lambda data: data.replace(b"\n", b"  \n"),
    "text around": lambda data: b"$ load\xff\n" + data + b"\n$ echo Requests/sec: 1.00\n",
    "no last line end": lambda data: data.rstrip(b"\n"),
}


@pytest.mark.parametrize("change", SAME.values(), ids=SAME)
@pytest.mark.parametrize("data", GOOD.values(), ids=GOOD)
def test_disguise_does_not_change_the_record(data: bytes, change) -> None:  # type: ignore[no-untyped-def]
    assert list(parse_outputs(change(data))) == list(parse_outputs(data))
    assert isinstance(next(parse_outputs(data)), Record)


REFUSED = {
    "decimal comma": (WRK, b"10737.95", b"10737,95", 13, "decimals with a point"),
    "thousands": (WRK, b"11804 req", b"11,804 req", 10, "unexpected"),
    "comma in a latency": (WRK, b"707.94us", b"707,94us", 4, "unexpected"),
    "unknown unit": (WRK, b"0.94ms", b"0.94q", 6, "unexpected"),
    "another precision": (WRK, b"5.06ms", b"5.0612ms", 6, "unexpected"),
    "no unit": (WRK, b"8.81ms", b"8.81  ", 4, "unexpected"),
    "a line lost": (WRK, b"  11804 requests in 1.10s, 864.55KB read\n", b"", 10, "unexpected"),
    "a strange line": (WRK, b"Requests/sec", b"oops\nRequests/sec", 13, "'oops'"),
    "Arabic digits": (WRK, b"11804", "\u0661\u0662".encode(), 10, "unexpected"),
    "endless digits": (WRK, b"11804", b"1" * 5000, 10, "unexpected"),
    "lone carriage returns": (WRK, b"\n", b"\r", 1, "truncated"),
    "cursor movement": (WRK, b"  11804", b"\x1b[2A  11804", 10, "unexpected"),
    "NUL": (WRK, b"11804", b"118\x0004", 11, "encoding: a NUL byte"),
    "ab decimal comma": (AB, b"22079.93", b"22079,93", 21, "unexpected"),
    "ab unit": (AB, b"[Kbytes/sec]", b"[Mbytes/sec]", 24, "unexpected"),
    "ab twice": (AB, b"Failed requests", b"Complete requests", 17, "unexpected"),
    "ab a line lost": (AB, b"Complete requests:      200\n", b"", 26, "'Complete requests:'"),
    "ab no breakdown": (AB, b"   (Connect", b"   Connect", 18, "unexpected"),
    "ab strange line": (AB, b"Total transferred", b"oops\nTotal transferred", 20, "'oops'"),
    "ab percentile": (AB, b"  66%      0\n", b"", 34, "unexpected"),
    "ab endless digits": (AB, b"30612", b"3" * 5000, 19, "unexpected"),
}


@pytest.mark.parametrize(("data", "old", "new", "line", "reason"), REFUSED.values(), ids=REFUSED)
def test_damage_is_refused_with_its_line(
    data: bytes, old: bytes, new: bytes, line: int, reason: str
) -> None:
    assert old in data
    error = only_error(data.replace(old, new))
    assert reason in error.reason
    if reason != "unexpected":
        assert error.line == line


QUOTES = [b"> ", b"# ", b"    ", b"\t", b"| ", b"2026-01-02T03:04:05Z ", b"[12:34:56] ", b">> > "]


@pytest.mark.parametrize("prefix", QUOTES)
@pytest.mark.parametrize("data", GOOD.values(), ids=GOOD)
def test_quoted_output_is_refused_by_name(data: bytes, prefix: bytes) -> None:
    quoted = b"".join(prefix + line for line in data.splitlines(keepends=True))
    results = list(parse_outputs(b"as I said:\n" + quoted + b"and\n" + data))
    assert isinstance(results[-1], Record)
    assert all(
        isinstance(result, ParseError) and result.reason.startswith("quoted")
        for result in results[:-1]
    )
    assert results[0].line == 2  # type: ignore[union-attr]


WRK2 = WRK.replace(
    b"  Thread Stats",
    b"  Thread calibration: mean lat.: 1.178ms, rate sampling interval: 10ms\n  Thread Stats",
)
FOREIGN = {
    "wrk2": WRK2,
    "wrk2 ": WRK.replace(
        b"Latency Distribution", b"Latency Distribution (HdrHistogram - Recorded Latency)"
    ),
    "hey": b"\nSummary:\n  Total:\t1.0021 secs\n  Slowest:\t0.0101 secs\n  Requests/sec:\t99.79\n",
    "oha": b"Summary:\n  Success rate:\t100.00%\n  Total:\t1.0021 sec\n  Requests/sec:\t99.79\n",
    "old_ab": AB.replace(b"Version 2.3", b"Version 2.0.40-dev"),
    "old_ab ": AB.replace(b"Version 2.3", b"Version 1.3d"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_tool_that_is_not_read_is_refused_by_name(name: str) -> None:
    assert only_error(FOREIGN[name]).reason.startswith(f"{name.strip()}: ")


def test_refused_output_does_not_hide_its_neighbours() -> None:
    results = list(
        parse_outputs(WRK + b"\n" + FOREIGN["hey"] + AB[: AB.index(b"Complete")] + AB + WRK)
    )
    kinds = [
        result.tool if isinstance(result, Record) else result.reason.partition(":")[0]
        for result in results
    ]
    assert kinds == ["wrk", "hey", "truncated", "ab", "wrk"]


def test_tool_asked_for_passes_over_the_others() -> None:
    data = WRK + FOREIGN["hey"] + AB + WRK
    assert [result.tool for result in parse_outputs(data, "wrk")] == ["wrk", "wrk"]  # type: ignore[union-attr]
    assert [result.tool for result in parse_outputs(data, "ab")] == ["ab"]  # type: ignore[union-attr]
    assert "no output of ab" in only_error(WRK, "ab").reason


def test_one_output_is_wanted_where_one_is_parsed() -> None:
    for parse, data in (
        (parse_wrk, WRK),
        (parse_ab, AB),
        (parse_sysbench, SYSBENCH),
        (parse_stream, STREAM),
        (parse_h2load, H2LOAD),
        (parse_peer, SOCKPERF),
    ):
        with pytest.raises(ParseError, match="several") as caught:
            parse(b"$\n" + data + data)
        assert caught.value.line == 2 + data.count(b"\n")
        with pytest.raises(ParseError, match="truncated: no output"):
            parse(b"")


def test_output_of_ab_begins_at_the_results_where_the_banner_is_missing() -> None:
    bare = AB[AB.index(b"Server Software") :]
    records = list(parse_outputs(bare + AB + bare))
    assert [record.tool_version for record in records] == [None, "2.3", None]  # type: ignore[union-attr]
    assert parse_ab(bare).requests == 200


def test_ab_without_percentiles_needs_a_sign_that_it_ended() -> None:
    data = (FIXTURES / "ab" / "no_percentiles.txt").read_bytes()
    assert "ab -d" in only_error(data).reason
    for after in (b"$ \n", WRK):
        record = next(parse_outputs(data + after))
        assert isinstance(record, Record)
        assert (record.latency_max_s, record.latency_p50_s) == (0.0, None)
    for own in (b"\nPercentage", b"WARNING: The median and mean for the total time are\n", b"\n"):
        assert only_error(data + own).reason.startswith("truncated")
    headless = data + b"\n  50%      1\n 100%      2 (longest request)\n"
    assert "unexpected" in only_error(headless).reason


def test_ab_short_table_is_cut_by_width() -> None:
    data = (FIXTURES / "ab" / "no_sd.txt").read_bytes()
    old = b"Total:         79    80   81\n"
    assert old in data
    touching = data[: data.index(b"\nPercentage")].replace(old, b"Total:         79 5000012345\n")
    record = parse_ab(touching + b"$ \n")
    assert (record.latency_min_s, record.latency_max_s) == (0.079, 12.345)
    assert record.latency_sd_s is None
    outgrown = data.replace(old, b"Total:      100000 100001100002\n")
    assert "below 100000" in only_error(outgrown).reason


def test_newer_keys_of_ab_are_passed_over() -> None:
    newer = AB.replace(
        b"Concurrency Level:",
        b"Number of workers:      2\nRampup delay:           0 [ms]\n"
        b"Keep-Alive aborts:      3\nConcurrency Level:",
    )
    assert parse_ab(newer) == parse_ab(AB)


def test_counters_of_wrk_that_wrapped_are_restored() -> None:
    data = WRK.replace(b"read 2949", b"read -2")
    assert parse_wrk(data).errors_read == 2**32 - 2


HISTOGRAMS = {
    "another run": (b"100\t1\n", 1, "11804 requests answered"),
    "another maximum": (b"100\t11803\n9000\t1\n", 2, "largest value is 9000 us"),
    "a false layout": (b"error\twrong layout\n", 1, "histogram: wrong layout"),
    "not rising": (b"100\t5\n100\t6\n", 2, "do not rise"),
    "zero": (b"100\t0\n", 1, "outside of 1 to"),
    "blanks": (b"100 1\n", 1, "expected value_us"),
    "negative": (b"100\t1\n120\t-1\n", 2, "expected value_us"),
    "empty field": (b"100\t\n\t5\n", 1, "expected value_us"),
    "long": (b"9" * 30 + b"\t1\n", 1, "outside of 1 to"),
    "empty": (b"", 1, "0 samples"),
}


@pytest.mark.parametrize(("data", "line", "reason"), HISTOGRAMS.values(), ids=HISTOGRAMS)
def test_histogram_of_another_run_or_form_is_refused(data: bytes, line: int, reason: str) -> None:
    with pytest.raises(ParseError, match="histogram: ") as caught:
        parse_wrk(b"$ wrk\n" + WRK, data)
    assert reason in caught.value.reason
    assert caught.value.line == line


def test_timeouts_are_no_samples() -> None:
    data = WRK.replace(b"timeout 0", b"timeout 4")
    assert parse_wrk(data, b"100\t11799\n8812\t1\n").latency_p99_s == 0.0001
    with pytest.raises(ParseError, match="11800 requests"):
        parse_wrk(data, b"100\t11803\n8812\t1\n")


def test_own_quantiles_need_enough_samples() -> None:
    for requests, known in ((199, None), (200, 0.0001)):
        data = WRK.replace(b"11804 req", f"{requests} req".encode())
        record = parse_wrk(data, f"100\t{requests - 1}\n8812\t1\n".encode())
        assert (record.latency_p50_s, record.latency_p75_s) == (known, None)
        assert record.latency_max_s == 0.008812


def test_percentiles_of_another_run_or_form_are_refused() -> None:
    path = FIXTURES / "ab" / "timed_slow.txt"
    data, good = path.read_bytes(), path.with_suffix(".csv").read_bytes()
    other = (FIXTURES / "ab" / "keepalive.csv").read_bytes()
    head, first, *_ = good.split(b"\n")
    for bad, reason in (
        (other, "of another run"),
        (good.replace(b"\n50,", b"\n51,"), "expected '50,<ms>'"),
        (good.replace(b".", b","), "expected '0,<ms>'"),
        (good.replace(first, b"0,99.448"), "is below"),
        (good.replace(head, b"percent,ms"), "Percentage served"),
        (good + b"101,99.000\n", "truncated"),
    ):
        with pytest.raises(ParseError, match="percentiles: ") as caught:
            TOOLS["ab"].parse(data, {"percentiles": bad})
        assert reason in caught.value.reason


def test_size_and_line_limits_hold_before_anything_is_searched() -> None:
    long_line = b"x" * (2 * LINE_LIMIT)
    assert only_error(WRK + long_line + b"\n").reason.startswith("too_large: a line")
    assert list(parse_outputs(WRK + b"x" * (LINE_LIMIT - 500) + b"\n")) == list(parse_outputs(WRK))
    assert only_error(b"\n" * (SIZE_LIMIT + 1)).reason.startswith("too_large: more than")


HOSTILE = {
    "blanks": b"Running 1s test @ " + b" " * 60_000,
    "digits": b"0" * 60_000 + b"!",
    "key of blanks": AB[: AB.index(b"Document Path")] + b"Key: " + b" \t" * 30_000 + b"x\n",
    "quotes": b"> [" * 20_000,
    "unclosed time": b"[" + b"1" * 60_000,
    "many starts": b"Running 1s test @ x\n" * 20_000,
    "sysbench's banner": b"sysbench 1.0 (using " * 3_000,
    "rows": SYSBENCH[: SYSBENCH.index(b"SQL")] + b"       0.014 |" + b"*" * 40_000 + b"\n",
    "brackets": b'{"stream": 1, "per_flow": ' + b"[" * 60_000,
    "braces": b"{\n" * 60_000 + b'{"stream": 1',
    "JSON's digits": b'{"stream": 1, "flows": ' + b"9" * 60_000 + b"}",
    "starts of h2load": b"starting benchmark...\n" * 20_000,
    "threads of h2load": b"starting benchmark...\n" + b"spawning thread #0: " * 20_000,
    "outputs of stream": b'{"stream": 1}\n' * 20_000,
    "brackets of iperf3": b'{"start": {"connected": ' + b"[" * 60_000,
    "starts of iperf3": b'{"start": {"connected": [\n' * 10_000,
    "starts of perf": b"# Running 'sched/pipe' benchmark:\n" * 20_000,
    "starts of sockperf": b"sockperf: == version #3.7 ==\n" * 20_000,
    "redis-benchmark's words": b"Could not connect to Redis at x: y\n" * 20_000 + b"!",
    "metrics of stress-ng": b"stress-ng: info:  [1] setting to a 1 second run per stressor\n"
    + b"stress-ng: metrc: [1] pipe  1.00 x (geometic mean of 1 instances)\n" * 20_000,
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_takes_no_time(data: bytes) -> None:
    began = time.process_time()
    results = list(parse_outputs(data))
    assert results and all(isinstance(result, ParseError) for result in results)
    assert time.process_time() - began < 3


def test_error_survives_the_way_from_a_worker() -> None:
    error = pickle.loads(pickle.dumps(ParseError(3, "truncated: x")))
    assert (error.line, error.reason, str(error)) == (3, "truncated: x", "line 3: truncated: x")


def test_empty_histogram_file_is_empty_not_absent() -> None:
    assert parse_histogram(b"") == []
    assert TOOLS["wrk"].histogram(WRK, {}) == [] == TOOLS["ab"].histogram(AB, {})
    assert TOOLS["stream"].histogram(STREAM, {}) == []
    assert TOOLS["wrk"].histogram(WRK, {"histogram": b"5\t2\n"}) == [(5, 2)]
