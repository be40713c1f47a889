"""h2load's log: what a request cost by the schedule, and what is refused."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from collector.parse import ParseError, Record
from collector.parse.h2load import parse_h2load
from collector.parse.h2load_log import read_log, scheduled

FIXTURES = Path(__file__).parents[1] / "fixtures" / "parse" / "h2load"
ARGV = ("h2load", "-c", "8", "--rps", "30.0")
MS = 1000


def run(name: str, argv: tuple[str, ...] = ARGV) -> Record:
    stdout, log = ((FIXTURES / f"{name}{suffix}").read_bytes() for suffix in (".txt", ".tsv"))
    return parse_h2load(stdout, log, argv)


def paced(
    connections: int, periods: int, period_us: int, served_us: int, stall: range
) -> tuple[list[tuple[int, int]], int]:
    """Send and latency of every request of a generator that asks once a period on each connection.

    A connection waits for its answer; nothing is answered during ``stall`` (us). Returns the rows
    by sending, and what the requests cost in all from when they were due.
    """
    rows, cost = [], 0
    for connection in range(connections):
        free = 0
        for k in range(periods):
            due = connection * period_us // connections + k * period_us
            sent = max(due, free)
            end = sent + served_us
            free = stall.stop + served_us if end > stall.start and sent < stall.stop else end
            rows.append((sent, free - sent))
            cost += free - due
    return sorted(rows), cost


def test_latency_is_charged_from_the_schedule() -> None:
    rows, cost = paced(8, 400, 10 * MS, 200, stall=range(1_000 * MS, 1_300 * MS))
    sent, latency = [at for at, _ in rows], [took for _, took in rows]
    charged = scheduled(sent, latency, 8, 10.0 * MS)
    # From the sending, eight requests waited; by the schedule 30 of each connection did.
    assert sum(took > 10 * MS for took in latency) == 8
    assert sum(took > 10 * MS for took in charged) == pytest.approx(8 * 30, abs=16)
    assert sum(charged) == pytest.approx(cost, rel=0.001)
    assert max(charged) == pytest.approx(300 * MS, rel=0.05)


def test_on_time_nothing_is_added_but_the_timers_jitter() -> None:
    rows, _ = paced(8, 400, 10 * MS, 200, stall=range(0))
    jitter = random.Random(1)
    late = sorted((at + jitter.randrange(MS), took) for at, took in rows)
    charged = scheduled([at for at, _ in late], [took for _, took in late], 8, 10.0 * MS)
    assert min(charged) >= 200 and max(charged) <= 200 + MS
    exact = scheduled([at for at, _ in rows], [took for _, took in rows], 8, 10.0 * MS)
    assert set(exact) == {200}
    assert scheduled([], [], 8, 10.0) == []


def test_a_stall_costs_more_by_the_schedule_than_from_the_sending() -> None:
    record = run("stall")  # 300 ms, once, for 8 connections that ask 30 times a second
    assert record.latency_mean_s is not None and record.latency_corrected_mean_s is not None
    assert record.latency_corrected_mean_s > 4 * record.latency_mean_s
    quiet = run("on_time")
    assert quiet.latency_mean_s is not None and quiet.latency_corrected_mean_s is not None
    assert quiet.latency_corrected_mean_s < quiet.latency_mean_s + 0.001


@pytest.mark.parametrize("name", ["die", "deaf"])
def test_of_a_connection_that_was_lost_no_schedule_is_known(name: str) -> None:
    record = run(name)
    assert record.latency_mean_s is not None
    assert record.latency_corrected_mean_s is None
    assert record.requests_failed


@pytest.mark.parametrize(
    "argv", [(), ("h2load", "-c", "8"), ("h2load", "--rps", "x"), ("h2load", "--rps", "0")]
)
def test_without_a_rate_there_is_no_schedule(argv: tuple[str, ...]) -> None:
    assert run("on_time", argv).latency_corrected_mean_s is None
    assert run("on_time", argv).latency_mean_s is not None


@pytest.mark.parametrize(
    ("log", "line", "reason"),
    [
        (b"1\t200\n", 1, "log: expected sent_us<TAB>status<TAB>latency_us"),
        (b"1\t200\t5\n1\tOK\t5\n", 2, "log: expected a status or -1"),
        (b"1\t200\t5\n1 200 5\n", 2, "log: expected sent_us"),
        (b"1\t200\t5\n1\t200\t-5\n", 2, "log: expected sent_us"),
        (b"1\t200\t5\n1\t200", 2, "log: truncated"),
        (b"1\t200\t" + b"9" * 17 + b"\n", 1, "log: numbers above"),
        (b"1\t200\t" + b"9" * 5000 + b"\n", 1, "log: a number of thousands of digits"),
    ],
)
def test_a_log_that_h2load_does_not_write_is_refused(log: bytes, line: int, reason: str) -> None:
    with pytest.raises(ParseError) as caught:
        read_log(log)
    assert (caught.value.line, caught.value.reason.startswith(reason)) == (line, True)


def test_requests_without_an_answer_have_no_latency() -> None:
    sent, latency = read_log(b"30\t200\t5\n10\t-1\t7\n20\t503\t6\n")
    assert (list(sent), list(latency)) == ([20, 30], [6, 5])
    assert read_log(b"") == read_log(b"")


def test_a_log_of_another_run_is_refused() -> None:
    stdout = (FIXTURES / "on_time.txt").read_bytes()
    log = (FIXTURES / "die.tsv").read_bytes()
    with pytest.raises(ParseError, match="log: 222 requests, but h2load says 240 done"):
        parse_h2load(stdout, log)


def test_results_without_their_beginning_are_refused() -> None:
    stdout = (FIXTURES / "on_time.txt").read_bytes()
    for cut in (stdout.index(b"spawning"), stdout.index(b"finished in")):
        with pytest.raises(ParseError, match="truncated: no output"):
            parse_h2load(stdout[cut:])
    headless = stdout.replace(b"spawning thread", b"spinning thread")
    with pytest.raises(ParseError, match="no 'spawning thread"):
        parse_h2load(headless)
