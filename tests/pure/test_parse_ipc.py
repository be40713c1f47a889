"""ipc's lines: what is refused with its line, what is no figure, what the clock takes away."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from collector.parse import TOOLS, Load, ParseError, Record
from collector.parse.command import parse_outputs
from collector.parse.ipc import parse_ipc

FIXTURES = Path(__file__).parents[1] / "fixtures" / "parse" / "ipc"
WHOLE = (FIXTURES / "unix_stream.txt").read_bytes()
QUEUE = (FIXTURES / "posix_queue.txt").read_bytes()
LOAD = Load(
    url=None,
    concurrency=1,
    threads=1,
    duration_s=2.0,
    requests=None,
    keepalive=True,
    timeout_s=2.0,
)


def only(data: bytes) -> Record | ParseError:
    (result,) = parse_outputs(data)
    return result


DAMAGE = {
    "another version": (b'"ipc":"1.0.0"', b'"ipc":"2.0.0"', 1, "version 1 of ipc is read"),
    "no clock": (b'"clock_ns":', b'"clock":', 1, "keys are ipc, mechanism, state, clock_ns"),
    "a size that is none": (
        b'"clock_ns":20',
        b'"clock_ns":20,"pipe_bytes":[65536,0]',
        1,
        "'serving' is a whole number from 1",
    ),
    "one size": (b'"clock_ns":20', b'"clock_ns":20,"pipe_bytes":[8192]', 1, "has two numbers"),
    "another mode": (b'"mode":"connect"', b'"mode":"teleport"', 4, "'mode' is one of latency"),
    "another state": (
        b'"bytes":4096,"state":"measured"',
        b'"bytes":4096,"state":"guessed"',
        3,
        "'state' is measured",
    ),
    "a negative count": (
        b'"bytes":4096,"state":"measured","count":',
        b'"bytes":4096,"state":"measured","count":-',
        3,
        "'count' is a whole number from 1",
    ),
    "a lost key": (b'"bytes":64,"state":"measured",', b'"state":"measured",', 2, "'bytes' is"),
    "not finite": (b'"clock_ns":20', b'"clock_ns":NaN', 1, "no JSON"),
    "an array": (b'{"state":"ended"}', b'["ended"]', 5, "a line"),
    "nothing measured": (
        b'{"mode":"latency"',
        b'{"state":"ended"}\n{"mode":"latency"',
        2,
        "'mode' is one",
    ),
    "a cell twice": (
        b'{"state":"ended"}',
        b'{"mode":"connect","state":"not_applicable"}\n{"state":"ended"}',
        5,
        "a cell that was there before",
    ),
    "a changed sample": (b'"histogram":[[', b'"histogram":[[1,1],[', 2, "the histogram has"),
}


@pytest.mark.parametrize(("old", "new", "line", "reason"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_refused_with_its_line(old: bytes, new: bytes, line: int, reason: str) -> None:
    assert old in WHOLE
    error = only(b"$ ipc measure\n" + WHOLE.replace(old, new, 1))
    assert isinstance(error, ParseError)
    assert reason in error.reason
    assert error.line == line + 1


def test_values_that_do_not_rise_are_refused() -> None:
    lines = WHOLE.split(b"\n")
    cell = json.loads(lines[1])
    cell["histogram"].reverse()
    error = only(b"\n".join([lines[0], json.dumps(cell).encode(), *lines[2:]]))
    assert isinstance(error, ParseError)
    assert error.reason == "histogram: values do not rise"


def test_two_outputs_are_two_records_and_never_one() -> None:
    assert [isinstance(one, Record) for one in parse_outputs(WHOLE + QUEUE)] == [True, True]
    with pytest.raises(ParseError, match="several"):
        parse_ipc(WHOLE + QUEUE)


def test_how_much_a_pipe_holds_is_taken_and_may_be_missing() -> None:
    pipe = (FIXTURES / "pipe.txt").read_bytes()
    assert b'"pipe_bytes":[65536,65536]' in pipe
    assert parse_ipc(pipe) == parse_ipc(pipe.replace(b',"pipe_bytes":[65536,65536]', b""))


def test_what_the_clock_takes_is_taken_and_never_more_than_there_is() -> None:
    slow_clock = parse_ipc(WHOLE.replace(b'"clock_ns":20', b'"clock_ns":900000000'))
    latency = slow_clock.cells[0]
    assert latency.latency_min_s == latency.latency_max_s == 0.0
    assert latency.histogram == ((0, latency.count),)


def test_a_message_beyond_the_limit_is_no_figure_and_says_whose_limit() -> None:
    record = parse_ipc(QUEUE)
    (cell,) = [one for one in record.cells if one.state == "too_large"]
    assert (cell.rate_per_s, cell.count, cell.message_bytes) == (None, None, 32768)
    assert cell.reason == "at most 8192 B: fs.mqueue.msgsize_max"
    assert record.requests == sum(one.count or 0 for one in record.cells)


def test_where_every_message_is_too_large_nothing_was_measured_for_no_time() -> None:
    record = parse_ipc((FIXTURES / "too_large.txt").read_bytes())
    assert [cell.state for cell in record.cells] == ["too_large"]
    assert record.requests is record.duration_s is None


LOST = (FIXTURES / "udp_lost.txt").read_bytes()


def test_of_a_cell_whose_every_datagram_was_lost_the_loss_is_known_and_no_figure() -> None:
    record = parse_ipc(LOST)
    trips, arrived, lost = record.cells
    assert (trips.state, trips.count, trips.lost, trips.duration_s) == (
        "measured",
        0,
        1,
        0.40590315,
    )
    assert trips.rate_per_s is trips.latency_mean_s is trips.latency_min_s is None
    assert trips.latency_max_s is None and trips.histogram == ()
    assert (lost.state, lost.count, lost.lost) == ("measured", 0, 192848)
    assert lost.duration_s is lost.rate_per_s is lost.transfer_bytes_per_s is None
    assert record.requests == arrived.count, "none came of the others"
    assert record.duration_s is None, "the time of one is not known"


def test_a_single_datagram_that_arrived_has_no_time_to_have_a_rate_in() -> None:
    (*_, one) = parse_ipc(
        LOST.replace(b'"count":0,"lost":192848', b'"count":1,"lost":192847')
    ).cells
    assert (one.count, one.lost, one.duration_s, one.rate_per_s) == (1, 192847, None, None)


def test_nothing_that_came_where_nothing_was_lost_is_no_measurement() -> None:
    for figure, said in (("count", b'"count":0,"lost":0'), ("ns", b'"count":1,"lost":0')):
        error = only(LOST.replace(b'"count":0,"lost":192848', said))
        assert isinstance(error, ParseError)
        assert error.reason == f"unexpected: '{figure}' is a whole number from 1, not '0'"
        assert error.line == 4


def test_a_forbidden_mechanism_has_a_reason_and_no_zero() -> None:
    record = parse_ipc((FIXTURES / "unavailable.txt").read_bytes())
    assert record.cells == ()
    assert record.requests is record.duration_s is None
    assert record.unavailable is not None
    assert record.unavailable.startswith("access vsock_loopback: ENOENT (No such file")
    assert "which takes the kernel module vsock_loopback" in record.unavailable


def test_the_load_is_one_conversation_for_a_time() -> None:
    tool = TOOLS["ipc"]
    assert tool.arguments(LOAD).argv == ("/local/load", "--time", "2")
    for wrong, said in (
        ({"concurrency": 4}, "two processes talk"),
        ({"duration_s": None, "requests": 5}, "not for a number of requests"),
        ({"url": "http://198.18.0.12/"}, "calls no URL"),
    ):
        with pytest.raises(ValueError, match=said):
            tool.arguments(dataclasses.replace(LOAD, **wrong))  # type: ignore[arg-type]
