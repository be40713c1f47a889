"""peer's five programs: told apart by themselves, round trips only, nothing that contradicts."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from collector.parse import TOOLS, Load, ParseError, Record
from collector.parse.command import parse_outputs
from collector.parse.peer import parse_peer

FIXTURES = Path(__file__).parents[1] / "fixtures" / "parse" / "peer"
LOAD = Load(
    url=None,
    concurrency=1,
    threads=1,
    duration_s=2.0,
    requests=None,
    keepalive=True,
    timeout_s=2.0,
)


def fixture(name: str) -> bytes:
    return (FIXTURES / f"{name}.txt").read_bytes()


REDIS, PIPE, MESSAGING = fixture("redis_unix"), fixture("perf_pipe"), fixture("perf_messaging")
SOCKPERF, UDP = fixture("sockperf_tcp"), fixture("sockperf_udp")
IPERF3, STRESS = fixture("iperf3_tcp"), fixture("stress_ng_pipe")


def only(data: bytes) -> Record | ParseError:
    (result,) = parse_outputs(data)
    return result


PROGRAMS = {
    "redis_unix": ("redis-benchmark", ["set", "get"]),
    "redis_tcp": ("redis-benchmark", ["set", "get"]),
    "perf_pipe": ("perf bench", ["latency"]),
    "perf_messaging": ("perf bench", ["messaging"]),
    "perf_messaging_pipes": ("perf bench", ["messaging"]),
    "sockperf_tcp": ("sockperf 3.7-no.git", ["latency"]),
    "sockperf_udp": ("sockperf 3.7-no.git", ["latency"]),
    "iperf3_tcp": ("iperf3 3.12", ["throughput"]),
    **{
        f"stress_ng_{name}": ("stress-ng", [name])
        for name in ("pipe", "fifo", "mq", "msg", "sockpair", "udp")
    },
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_program_is_told_by_its_output(name: str) -> None:
    record = parse_peer(b"$ /local/load\n" + fixture(name))
    program, modes = PROGRAMS[name]
    assert (record.tool, record.tool_version, record.connections) == ("peer", program, 1)
    assert [cell.mode for cell in record.cells] == modes
    assert {cell.state for cell in record.cells} == {"measured"}
    # What another program of the four would have said is null, and no zero.
    assert all(value != 0 or key == "lost" for key, value in record.cells[0].as_dict().items())


def test_every_fixture_that_is_no_record_is_refused_by_its_word() -> None:
    words = {
        path.stem: result.reason.partition(":")[0]
        for path in sorted(FIXTURES.glob("*.txt"))
        if isinstance(result := only(path.read_bytes()), ParseError)
    }
    assert words == {
        "iperf3_refused": "failed",
        "perf_failed": "failed",
        "perf_threads": "unexpected",
        "perf_zero": "no_data",
        "redis_fifty": "unexpected",
        "redis_gone": "truncated",
        "redis_refused": "failed",
        "redis_zero": "no_data",
        "sockperf_deaf": "failed",
        "sockperf_half": "unexpected",
        "sockperf_refused": "failed",
        "stress_ng_failed": "failed",
        "stress_ng_zero": "no_data",
    }
    assert words.keys() | PROGRAMS.keys() == {path.stem for path in FIXTURES.glob("*.txt")}


def test_outputs_of_all_programs_in_one_file_and_never_as_one() -> None:
    every = [REDIS, PIPE, MESSAGING, SOCKPERF, IPERF3, STRESS]
    told = [result.tool_version for result in parse_outputs(b"".join(every), "peer")]  # type: ignore[union-attr]
    assert told == [
        "redis-benchmark", "perf bench", "perf bench", "sockperf 3.7-no.git", "iperf3 3.12",
        "stress-ng",
    ]  # fmt: skip
    for first in every:
        for second in every:
            with pytest.raises(ParseError, match="several: a second output of peer") as caught:
                parse_peer(first + second)
            assert caught.value.line == 1 + first.count(b"\n")
    ipc = (FIXTURES.parent / "ipc" / "unix_stream.txt").read_bytes()
    for foreign in (ipc, b"", b"\xff\xfe\x00", b"sockperf: '-i' Invalid address: x\n"):
        with pytest.raises(ParseError, match=r"no output of peer found|truncated"):
            parse_peer(foreign)


DAMAGE = {
    # redis-benchmark
    "a comma": (REDIS, b'"37037.04"', b'"37037,04"', 2, 'in place of the row of "SET"'),
    "another head": (REDIS, b'"p95_latency_ms"', b'"p90_latency_ms"', 1, "in place of the head"),
    "an older head": (REDIS, b',"avg_latency_ms"', b"", 1, "in place of the head"),
    "another test": (REDIS, b'"GET"', b'"PING_INLINE"', 3, 'in place of the row of "GET"'),
    "a third test": (
        REDIS,
        b'"8.535"\n',
        b'"8.535"\n"MSET (10 keys)","1.00"\n',
        4,
        "a row after",
    ),
    "nan": (REDIS, b'"37037.04"', b'"nan"', 2, 'in place of the row of "SET"'),
    "no requests": (REDIS, b'"37037.04"', b'"0.00"', 2, "no_data: 0.00 requests/s of SET"),
    "negative": (REDIS, b'"37037.04"', b'"-37037.04"', 2, 'in place of the row of "SET"'),
    "large": (REDIS, b'"37037.04"', b'"1' + b"0" * 400 + b'.00"', 2, 'place of the row of "SET"'),
    "falling": (REDIS, b'"0.055"', b'"0.015"', 2, "of SET do not rise"),
    "a mean above": (REDIS, b'"0.019"', b'"9.019"', 3, "the mean of GET is not between"),
    "a mean of more": (REDIS, b'"0.019"', b'"0.119"', 3, "4.7 requests of GET at once"),
    "no digits": (REDIS, b'"0.019"', b'"0.0\xff9"', 3, 'in place of the row of "GET"'),
    # perf bench
    "another benchmark": (PIPE, b"sched/pipe", b"mem/memcpy", 1, "sched pipe and sched messaging"),
    "threads": (PIPE, b"two processes", b"two threads", 2, "between two processes'"),
    "no operations": (PIPE, b"Executed 20000", b"Executed 0", 2, "no_data: 0 pipe operations"),
    "inf": (PIPE, b"9.898350", b"     inf", 2, "no_data: 20000 pipe operations of inf"),
    "perf's nan": (PIPE, b"9.898350", b"    -nan", 6, "in place of 'N usecs/op'"),
    "fewer operations": (PIPE, b"Executed 20000", b"Executed 10000", 6, "are not 0.197 s"),
    "another time": (PIPE, b"0.197", b"1.197", 6, "are not 1.197 s"),
    "another rate": (PIPE, b"101026", b"101126", 7, "are not 101126 a second"),
    "endless": (PIPE, b"101026", b"1" * 5000, 7, "in place of 'N ops/sec'"),
    "minutes": (PIPE, b"[sec]", b"[min]", 4, "in place of 'Total time: S [sec]'"),
    "no empty line": (PIPE, b"processes\n\n", b"processes\n", 3, "in place of an empty line"),
    "words after it": (PIPE, b"ops/sec", b"ops/sec!", 7, "in place of 'N ops/sec'"),
    "perf's own words": (
        PIPE,
        b"# Executed",
        b"perf: fork(): no memory\n# Executed",
        2,
        "failed: 'perf: fork(): no memory'",
    ),
    "other processes": (MESSAGING, b"== 80", b"== 81", 3, "2 groups of 20 and 20 are not 81"),
    "no groups": (MESSAGING, b"2 groups == 80", b"0 groups == 0", 3, "no_data: 0 processes run"),
    "no time": (MESSAGING, b"0.244", b"0.000", 5, "no_data: less than a millisecond"),
    "threads per group": (MESSAGING, b"processes per", b"threads per", 2, "'# N sender and rec"),
    # sockperf
    "an error": (
        SOCKPERF,
        b"sockperf: Test ended",
        b"sockperf: ERROR: recvfrom() Failed receiving on fd[3] (errno=104 Connection reset)",
        8,
        "failed: 'sockperf: ERROR: recvfrom() Failed",
    ),
    "by a signal": (SOCKPERF, b"by timer", b"by user", 7, "failed: 'sockperf: Test end (interru"),
    "two servers": (SOCKPERF, b"# TCP\n", b"# TCP\n[ 1] IP = ::1  PORT = 9 # TCP\n", 5, "'[ 1] IP"),
    "half said so": (SOCKPERF, b"Round trip is", b"Latency is", 14, "'Summary: Round trip is ...'"),
    "another summary": (SOCKPERF, b"is 52.001", b"is 26.001", 14, "avg-rtt is 52.001 usec"),
    "another count": (SOCKPERF, b"Total 10566", b"Total 10567", 15, "not as many observations"),
    "another hundredth": (SOCKPERF, b" 105.66", b" 105.67", 15, "not as many observations"),
    "too many": (SOCKPERF, b"RunTime=0.550", b"RunTime=0.450", 12, "do not fit into 0.45 s"),
    "no valid time": (SOCKPERF, b"RunTime=0.550", b"RunTime=0.000", 11, "no_data: no message"),
    "a lost one": (UDP, b"dropped messages = 0", b"dropped messages = 3", 13, "3 dropped, 0 late"),
    "more sent": (UDP, b"=13149; Rec", b"=13150; Rec", 13, "0 late of 13150 sent"),
    "a rising value": (SOCKPERF, b"=  820.383", b"= 9820.383", 20, "a value above the one before"),
    "a mean below": (SOCKPERF, b"52.001", b"12.001", 12, "the mean is not between MIN and MAX"),
    "negative time": (
        SOCKPERF,
        b"=   18.487",
        b"=  -18.487",
        25,
        "in place of '<MIN> observation'",
    ),
    "a comma in time": (SOCKPERF, b"18.487", b"18,487", 25, "write decimals with a point"),
    "a percentile lost": (
        SOCKPERF,
        b"percentile 90.000",
        b"percentile 95.000",
        21,
        "'percentile 90",
    ),
    # stress-ng
    "several hogs": (STRESS, b"1 pipe\n", b"1 pipe, 1 fifo\n", 2, "in place of 'dispatching hogs"),
    "two instances": (STRESS, b"hogs: 1 pipe", b"hogs: 2 pipe", 2, "in place of 'dispatching hogs"),
    "another stressor": (STRESS, b"hogs: 1 pipe", b"hogs: 1 mq", 5, "of pipe in a run of mq"),
    "not of ours": (STRESS, b"hogs: 1 pipe", b"hogs: 1 cpu", 2, "pipe, fifo, mq, msg, sockpair"),
    "other operations": (STRESS, b"410933", b"420933", 5, "420933 bogo ops in 1.0 s are not 410"),
    "no bogo ops": (STRESS, b"410933", b"     0", 5, "no_data: 0 bogo ops of pipe in 1.00 s"),
    "a shorter run": (STRESS, b"completed in 1.01s", b"completed in 0.51s", 8, "a run of 0.51 s"),
    "not successful": (STRESS, b"] successful", b"] unsuccessful", 8, "failed: 'stress-ng: info:"),
    "a failure": (
        STRESS,
        b"stress-ng: metrc: [3826] stressor",
        b"stress-ng: fail:  [3827] pipe: write failed\nstress-ng: metrc: [3826] stressor",
        3,
        "failed: 'stress-ng: fail:  [3827] pipe: write failed'",
    ),
    "nan bogo ops": (STRESS, b"410611.31", b"      nan", 5, "in place of the stressor's row"),
    "without brackets": (STRESS, b"(geometic", b"geometic", 7, "in place of 'successful run"),
    # iperf3
    "no number": (IPERF3, b'"bytes":\t1405845504', b'"bytes":\tNaN', 1, "numbers, keys or nesting"),
    "infinite": (IPERF3, b":\t1405845504", b":\tInfinity", 1, "numbers, keys or nesting"),
    "no JSON": (IPERF3, b'"end":\t{', b'"end":\t{,', 67, "no JSON"),
    "many digits": (IPERF3, b"1405845504", b"1" * 5000, 1, "numbers, keys or nesting"),
    "a key twice": (
        IPERF3,
        b'"omit":\t0',
        b'"omit":\t0,\n"omit":\t0',
        1,
        "numbers, keys or nesting",
    ),
}


@pytest.mark.parametrize(("data", "old", "new", "line", "reason"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_refused_with_its_line(
    data: bytes, old: bytes, new: bytes, line: int, reason: str
) -> None:
    assert old in data
    error = only(b"$ /local/load\n" + data.replace(old, new))
    assert isinstance(error, ParseError)
    assert reason in error.reason
    assert error.line == line + 1


def changed(path: str, value: object) -> bytes:
    """iperf3's object with ``value`` at ``path``: ``end.sum_received.bytes``."""
    body = json.loads(IPERF3)
    *places, last = path.split(".")
    part: Any = body
    for place in places:
        part = part[int(place) if place.isdigit() else place]
    part[last] = value
    return json.dumps(body, indent=1).encode()


WRONG = {
    "start.version": ("iperf 2.1.8", "'version' is iperf 3, not"),
    "start.test_start": (None, "'test_start' is an object"),
    "start.test_start.protocol": ("UDP", "'protocol' is TCP"),
    "start.test_start.num_streams": (2, "'num_streams' is 1"),
    "start.test_start.reverse": (True, "'reverse' is 0"),
    "start.test_start.omit": (1, "'omit' is 0"),
    "start.test_start.blksize": (0, "'blksize' is a whole number from 1"),
    "intervals": ([None], "'intervals' is a list of objects"),
    "intervals.0.sum.bytes": (5, "the intervals' bytes add up to 1408040960"),
    "end.streams": ([], "'streams' has one entry"),
    "end.streams.0.receiver.bytes": (5, "the receiver's bytes add up to 1405845504"),
    "end.streams.0.sender.bytes": (5, "the sender's bytes add up to 1408040960"),
    "end.sum_received.bytes": (1405845505.0, "'bytes' is a whole number from 0"),
    "end.sum_received.seconds": (2.02618, "1405845504 bytes in 2.02618 s are bytes/s"),
    "end.sum_received.bits_per_second": (True, "'bits_per_second' is a number from 0"),
    "end.sum_sent.seconds": (-1, "'seconds' is a number from 0"),
    "end.sum_sent.bits_per_second": (10**400, "'bits_per_second' is a number from 0"),
    "end.sum_sent.bytes": (2**63, "'bytes' is a whole number from 0"),
}


@pytest.mark.parametrize("path", WRONG)
def test_wrong_figures_of_iperf3_are_refused(path: str) -> None:
    value, reason = WRONG[path]
    error = only(b"$ iperf3\n" + changed(path, value))
    assert isinstance(error, ParseError)
    assert error.reason.startswith("unexpected: ") and reason in error.reason
    assert error.line == 2


def test_more_received_than_sent_and_nothing_at_all_are_refused() -> None:
    body = json.loads(IPERF3)
    end = body["end"]
    end["sum_received"] = {**end["sum_sent"], "bytes": 1408040968}
    end["sum_received"]["bits_per_second"] = 8 * 1408040968 / end["sum_sent"]["seconds"]
    end["streams"][0]["receiver"]["bytes"] = 1408040968
    error = only(json.dumps(body).encode())
    assert isinstance(error, ParseError) and "at most the 1408040960 bytes" in error.reason
    end["sum_received"].update(bytes=0, bits_per_second=0)
    end["streams"][0]["receiver"]["bytes"] = 0
    error = only(json.dumps(body).encode())
    assert isinstance(error, ParseError) and error.reason == "no_data: 0 bytes were received"
    end["sum_received"]["seconds"] = 0
    error = only(json.dumps(body).encode())
    assert isinstance(error, ParseError) and error.reason == "no_data: 0 seconds"


def test_an_error_of_iperf3_is_told_beside_figures_too() -> None:
    error = only(changed("error", "interrupt - the client has terminated"))
    assert isinstance(error, ParseError)
    assert error.reason == "failed: 'interrupt - the client has terminated'"


def test_a_transfer_is_the_receiver_s() -> None:
    record = parse_peer(IPERF3)
    (cell,) = record.cells
    received = json.loads(IPERF3)["end"]["sum_received"]
    assert cell.transfer_bytes_per_s == received["bits_per_second"] / 8
    assert (cell.duration_s, record.transfer_bytes) == (received["seconds"], received["bytes"])
    assert cell.rate_per_s == pytest.approx(received["bytes"] / received["seconds"] / 32768)
    # Bytes that arrived need not be whole writes.
    assert cell.count is record.requests is None


def test_half_a_round_trip_is_never_taken_for_one() -> None:
    with pytest.raises(ParseError, match="here is half a round trip; run sockperf with --full-rtt"):
        parse_peer(fixture("sockperf_half"))
    (cell,) = parse_peer(SOCKPERF).cells
    assert cell.rate_per_s is not None
    # One message is under way at a time, so the mean is nearly all of the time.
    assert cell.rate_per_s * 52.001e-6 == pytest.approx(1, abs=0.01)


def test_what_sockperf_lost_is_counted() -> None:
    data = (
        UDP.replace(b"=13149; Rec", b"=13153; Rec")
        .replace(b"dropped messages = 0", b"dropped messages = 3")
        .replace(b"duplicated messages = 0", b"duplicated messages = 2")
        .replace(b"order messages = 0", b"order messages = 1")
    )
    (cell,) = parse_peer(data).cells
    assert (cell.count, cell.lost) == (13149, 6)


def test_a_single_observation_has_no_lower_quarter() -> None:
    lines = [
        line
        for line in fixture("sockperf_tcp").splitlines(keepends=True)
        if b"percentile 25" not in line
    ]
    data = b"".join(lines)
    assert parse_peer(data) == parse_peer(SOCKPERF)
    with pytest.raises(ParseError, match=r"'percentile 50\.000'"):
        parse_peer(data.replace(b"percentile 50", b"percentile 25"))


def test_time_of_perf_is_finer_than_its_total() -> None:
    (cell,) = parse_peer(PIPE).cells
    assert cell.duration_s == 0.197967
    assert cell.rate_per_s == pytest.approx(1e6 / 9.898350)
    slow = (
        b"# Executed 1 pipe operations between two processes\n\n     Total time: 12.000 [sec]\n\n"
    )
    slow = PIPE[: PIPE.index(b"# Exec")] + slow + b" 12000999.000000 usecs/op\n   0 ops/sec\n"
    assert parse_peer(slow).cells[0].duration_s == 12.000999


def test_a_minute_of_stress_ng_is_told_twice() -> None:
    told = STRESS.replace(b"completed in 1.01s", b"completed in 60.01s (1 min, 0.01 secs)")
    assert parse_peer(told) == parse_peer(STRESS)


def test_a_warning_before_the_rows_is_none_of_redis_s() -> None:
    warned = b"WARNING: Could not fetch server CONFIG\n" + REDIS
    assert parse_peer(warned) == parse_peer(REDIS)
    # Killed before it wrote its head: still one output, and one error.
    cut = fixture("redis_refused").partition(b'"test"')[0]
    error = only(cut)
    assert isinstance(error, ParseError) and error.reason.startswith("failed: 'Could not connect")


def test_the_load_is_one_conversation_for_a_time() -> None:
    tool = TOOLS["peer"]
    assert tool.arguments(LOAD).argv == ("/local/load", "--time", "2")
    assert tool.histogram(SOCKPERF, {}) == []
    for wrong, said in (
        ({"concurrency": 4}, "peer: two processes talk"),
        ({"duration_s": None, "requests": 5}, "peer: runs for a time"),
        ({"url": "http://198.18.0.12/"}, "calls no URL"),
    ):
        with pytest.raises(ValueError, match=said):
            tool.arguments(dataclasses.replace(LOAD, **wrong))
