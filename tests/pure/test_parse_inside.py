"""sysbench and stream, the tools that run inside a deployment: what is refused, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from collector.dataset.output import read_output
from collector.parse import TOOLS, ParseError, Record
from collector.parse.command import parse_outputs
from collector.parse.stream import parse_stream
from collector.parse.sysbench import parse_sysbench
from collector.parse.sysbench_histogram import nearest_rank
from collector.plan.experiment import LoadEntry
from collector.plan.tools import refusals

FIXTURES = Path(__file__).parents[1] / "fixtures" / "parse"
EVENTS = (FIXTURES / "sysbench" / "events.txt").read_bytes()
PLAIN = (FIXTURES / "sysbench" / "p95.txt").read_bytes()
BOTH = (FIXTURES / "stream" / "tcp6_both.txt").read_bytes()
GONE = (FIXTURES / "stream" / "server_gone.txt").read_bytes()


def only_error(data: bytes) -> ParseError:
    (result,) = parse_outputs(data)
    assert isinstance(result, ParseError), result
    return result


DAMAGE = {
    "decimal comma": (EVENTS, b"0.1356s", b"0,1356s", 85, "decimals with a point"),
    "another unit": (EVENTS, b"0.1356s", b"0.1356m", 85, "in place of 'total time:'"),
    "a line lost": (EVENTS, b"    reconnects:", b"    gone:", 82, "in place of 'reconnects:'"),
    "a strange line": (EVENTS, b"Latency (ms):", b"oops\nLatency (ms):", 88, "'oops' in place of"),
    "a row damaged": (
        EVENTS,
        b"       1.857 |",
        b"       1.857 !",
        20,
        "in place of a row 'value |",
    ),
    "falling rows": (EVENTS, b"       5.183 |", b"       0.183 |", 69, "values do not rise"),
    "another count": (
        EVENTS,
        b"events:              200",
        b"events:              201",
        86,
        "200 tr",
    ),
    "another sum": (EVENTS, b" 529.27", b" 629.27", 93, "3.146 ms, not the avg"),
    "another percentile": (
        EVENTS,
        b" 5.18\n",
        b" 6.18\n",
        92,
        "histogram: this percentile is 5.183",
    ),
    "endless digits": (EVENTS, b" 529.27", b" " + b"5" * 5000 + b".27", 93, "in place of 'sum:'"),
    "old": (EVENTS, b"sysbench 1.0.20", b"sysbench 0.5", 2, "other_sysbench: 'sysbench 0.5 (using"),
    "newer": (EVENTS, b"sysbench 1.0.20", b"sysbench 1.1.0-2ca9e3f", 2, "other_sysbench: "),
    "no threads": (EVENTS, b"Number of threads: 4", b"Threads: 4", 13, "'Number of threads: ...'"),
    "an alert": (EVENTS, b"Threads started!", b"ALERT: it broke", 11, "failed: 'ALERT: it broke'"),
}


@pytest.mark.parametrize(("data", "old", "new", "line", "reason"), DAMAGE.values(), ids=DAMAGE)
def test_damaged_sysbench_is_refused(
    data: bytes, old: bytes, new: bytes, line: int, reason: str
) -> None:
    assert data.count(old) == 1
    error = only_error(b"$ sysbench\n" + data.replace(old, new))
    assert reason in error.reason
    assert error.line == line


def test_reconnects_are_told() -> None:
    data = PLAIN.replace(b"reconnects:                          0 ", b"reconnects:   7 ")
    assert parse_sysbench(data).errors_reconnect == 7


def test_percentile_without_a_column_is_passed_over() -> None:
    record = parse_sysbench(PLAIN.replace(b" 95th", b" 98th"))
    known = {name for name, value in record.as_dict().items() if value is not None}
    assert not known & {f"latency_p{percent}_s" for percent in (50, 75, 90, 95, 99)}


def test_printed_percentile_is_the_histogram_s() -> None:
    """By sysbench's own rule, in three decimals where it prints two."""
    for name in ("point_select", "events", "intervals", "ignored_errors", "one"):
        data = (FIXTURES / "sysbench" / f"{name}.txt").read_bytes()
        rows = TOOLS["sysbench"].histogram(data, {})
        record = parse_sysbench(data)
        printed = float(data.partition(b"99th percentile:")[2].split()[0])
        assert record.latency_p99_s == nearest_rank(rows, 99) / 1e6
        assert record.latency_p99_s == pytest.approx(printed / 1e3, abs=5.6e-6)
        assert sum(count for _, count in rows) == record.requests
        assert rows == sorted(dict(rows).items())
        # The middle of a bucket is within 0.9 % of what fell into it, and prints to 0.5 us.
        assert record.latency_max_s is not None
        assert rows[-1][0] == pytest.approx(record.latency_max_s * 1e6, rel=0.0095, abs=5.5)
        mean = sum(value * count for value, count in rows) / sum(count for _, count in rows)
        assert mean / 1e6 == pytest.approx(record.latency_mean_s, rel=0.02)


def test_histogram_reaches_the_dataset() -> None:
    output = read_output(TOOLS, "sysbench", {"stdout": EVENTS.decode()}, Path("b0001-a1.jsonl"))
    assert output.refusal is None and output.record["requests"] == 200
    assert sum(count for _, count in output.histogram) == 200
    none = read_output(TOOLS, "sysbench", {"stdout": PLAIN.decode()}, Path("b0001-a1.jsonl"))
    assert (none.refusal, list(none.histogram)) == (None, [])
    cut = read_output(TOOLS, "sysbench", {"stdout": EVENTS.decode()[:-40]}, Path("b.jsonl"))
    assert cut.refusal is not None and cut.refusal.startswith("truncated: ")


def changed(data: bytes = BOTH, **values: Any) -> bytes:
    body = json.loads(data)
    body.update(values)
    return json.dumps(body).encode()


FLOWS = json.loads(BOTH)["per_flow"]
WRONG = {
    "another format": ({"stream": 2}, "format 1 of stream is read, not '2'"),
    "a key more": ({"colour": "red"}, "beside or missing"),
    "a size of text": ({"message_bytes": "64"}, "'message_bytes' is a whole number from 16"),
    "a small size": ({"message_bytes": 15}, "from 16"),
    "true": ({"flows": True}, "'flows' is a whole number from 1"),
    "negative": ({"messages": -1}, "'messages' is a whole number from 0"),
    "too many": ({"messages": 2**63}, "'messages' is a whole number"),
    "other bytes": ({"bytes": 5}, "messages of 4099 are"),
    "half known": ({"messages": None}, "'messages' is a whole number"),
    "unknown": ({"messages": None, "bytes": None}, "without a failed flow the messages are known"),
    "no time": ({"seconds": 0}, "'seconds' is a number above 0, or null"),
    "another time": ({"seconds": 2.5}, "over 2.5 s"),
    "another rate": ({"messages_per_s": 1.0}, "'messages_per_s' is"),
    "no rate": ({"bytes_per_s": None}, "'bytes_per_s' is"),
    "sideways": ({"direction": "up"}, "'direction' is to, from or both"),
    "an address of none": ({"address": None}, "'version' and 'address' are texts"),
    "errors as a number": ({"errors": 3}, "'errors' has the keys connect, read, write, corrupt"),
    "a failure with a time": (
        {"errors": {"connect": 1, "read": 0, "write": 0, "corrupt": 0}},
        "a run with a failed flow has no time",
    ),
    "a flow lost": ({"per_flow": FLOWS[:-1]}, "'per_flow' has 4 entries"),
    "no flows": ({"per_flow": None}, "'per_flow' has 4 entries"),
    "flows turned": ({"per_flow": FLOWS[::-1]}, "'per_flow' has each flow in its order"),
    "a flow's sum": (
        {"per_flow": [{**FLOWS[0], "messages": 0, "bytes": 0}, *FLOWS[1:]]},
        "add up to",
    ),
}


@pytest.mark.parametrize(("values", "reason"), WRONG.values(), ids=WRONG)
def test_wrong_figures_of_stream_are_refused(values: dict[str, Any], reason: str) -> None:
    error = only_error(b"$ stream\n" + changed(**values))
    assert error.reason.startswith("unexpected: ") and reason in error.reason
    assert error.line == 2


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"flows": 2', b'"flows": 2,,'),
        (b'"flows": 2', b'"flows": NaN'),
        (b'"flows": 2', b'"flows": ' + b"2" * 5000),
        (b'"seconds": 1', b'"seconds": 1e999, "x": 1'),
    ],
)
def test_what_is_no_json_or_no_number_is_refused(old: bytes, new: bytes) -> None:
    assert only_error(BOTH.replace(old, new)).reason.startswith("unexpected: ")


def test_layout_of_the_json_is_free() -> None:
    record = parse_stream(BOTH)
    body = json.loads(BOTH)
    for text in (json.dumps(body), json.dumps(body, indent=4)):
        assert parse_stream(text.encode()) == record
    # The log of a container engine is no output of this program.
    assert only_error(b'{"stream":"stdout","log":"x"}\n').reason.startswith("truncated: no output")


def test_known_counts_of_a_failed_run_are_kept() -> None:
    record = parse_stream(GONE)
    assert (record.requests, record.transfer_bytes, record.errors_read) == (None, None, 2)
    body = json.loads(GONE)
    for flow in body["per_flow"]:
        flow.update(messages=3, bytes=3072)
    body.update(messages=12, bytes=12288, errors={**body["errors"], "read": 1, "corrupt": 1})
    record = parse_stream(json.dumps(body).encode())
    assert (record.requests, record.throughput_rps, record.errors_corrupt) == (12, None, 1)


def test_all_in_one_read_has_counts_and_no_rates() -> None:
    rates = dict.fromkeys(("seconds", "messages_per_s", "bytes_per_s"))
    record = parse_stream(changed(**rates))
    assert record.duration_s is None and record.throughput_rps is None
    assert record.requests == json.loads(BOTH)["messages"]


def test_outputs_of_every_tool_in_one_file() -> None:
    wrk = (FIXTURES / "wrk" / "plain.txt").read_bytes()
    results = list(parse_outputs(wrk + EVENTS + BOTH + PLAIN + BOTH))
    assert all(isinstance(result, Record) for result in results)
    told = [result.tool for result in results if isinstance(result, Record)]
    assert told == ["wrk", "sysbench", "stream", "sysbench", "stream"]
    assert [r.tool for r in parse_outputs(wrk + EVENTS + BOTH, "stream")] == ["stream"]  # type: ignore[union-attr]


def test_plan_asks_the_tool_without_a_url() -> None:
    def entry(tool: str, **fields: Any) -> LoadEntry:
        return LoadEntry(tool=tool, concurrency=[1, 16], **fields)

    assert refusals(entry("stream")) == [] == refusals(entry("sysbench", requests=1000))
    (reason,) = refusals(entry("stream", requests=1000))
    assert "not for a number of requests" in reason
    (reason,) = refusals(entry("sysbench", keepalive=False))
    assert "leave keepalive out or say true" in reason
