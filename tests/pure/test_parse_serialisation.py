"""serialisation's lines: what is refused with its line, bytes on the wire, what is no figure."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from collector.parse import TOOLS, Load, ParseError, Record
from collector.parse.command import parse_outputs
from collector.parse.serialisation import parse_serialisation

FIXTURES = Path(__file__).parents[1] / "fixtures" / "parse" / "serialisation"
WHOLE = (FIXTURES / "msgpack.txt").read_bytes()
NONE = (FIXTURES / "none.txt").read_bytes()
GRPC = (FIXTURES / "grpc.txt").read_bytes()
IPC = (FIXTURES.parent / "ipc" / "unix_stream.txt").read_bytes()
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


ENCODE = b'{"mode":"encode","bytes":100,'
DAMAGE = {
    "another version": (b':"1.0.0"', b':"2.0.0"', 1, "version 1 of serialisation is read"),
    "no clock": (b'"clock_ns":', b'"clock":', 1, "keys are serialisation, mechanism, state, clock"),
    "ipc's mode": (b'"mode":"encode"', b'"mode":"latency"', 2, "'mode' is one of encode, decode"),
    "no size": (ENCODE, b'{"mode":"encode",', 2, "'bytes' is a whole number from 1"),
    "ipc's state": (
        ENCODE + b'"state":"measured"',
        ENCODE + b'"state":"too_large"',
        2,
        "'state' is measured, not_applicable or failed",
    ),
    "no wire": (b'"wire_bytes":', b'"wire":', 2, "keys are mode, bytes, state, count"),
    "nothing on the wire": (b'"wire_bytes":89', b'"wire_bytes":0', 2, "'wire_bytes' is a whole nu"),
    "one process": (b'"cpu_ns":[', b'"cpu_ns":[1,', 2, "'cpu_ns' has two numbers"),
    "a changed sample": (b'"histogram":[[', b'"histogram":[[1,1],[', 2, "the histogram has"),
    "a cell twice": (
        b'{"state":"ended"}',
        b'{"mode":"encode","bytes":100,"state":"not_applicable"}\n{"state":"ended"}',
        8,
        "a cell that was there before",
    ),
}


@pytest.mark.parametrize(("old", "new", "line", "reason"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_refused_with_its_line(old: bytes, new: bytes, line: int, reason: str) -> None:
    assert old in WHOLE
    error = only(b"$ messages.py measure\n" + WHOLE.replace(old, new, 1))
    assert isinstance(error, ParseError)
    assert reason in error.reason
    assert error.line == line + 1


def test_a_cell_of_ipc_has_no_bytes_on_the_wire() -> None:
    record = only(IPC)
    assert isinstance(record, Record)
    assert {cell.wire_bytes for cell in record.cells} == {None}
    damaged = IPC.replace(b'"least_ns"', b'"wire_bytes":68,"least_ns"', 1)
    assert isinstance(only(damaged), ParseError)


def test_outputs_of_both_programs_are_told_apart() -> None:
    results = list(parse_outputs(WHOLE + IPC + GRPC))
    told = [result.tool for result in results if isinstance(result, Record)]
    assert told == ["serialisation", "ipc", "serialisation"]
    assert len(list(parse_outputs(WHOLE + IPC + GRPC, "serialisation"))) == 2
    with pytest.raises(ParseError, match="several: a second output of serialisation begins"):
        parse_serialisation(WHOLE + GRPC)
    with pytest.raises(ParseError, match="truncated: no output of serialisation found"):
        parse_serialisation(IPC)


def test_a_message_has_its_bytes_on_the_wire_in_every_mode() -> None:
    record = parse_serialisation(WHOLE)
    assert [cell.mode for cell in record.cells] == ["encode", "decode", "exchange"] * 2
    for size in (100, 1024):
        cells = [cell for cell in record.cells if cell.message_bytes == size]
        (wire,) = {cell.wire_bytes for cell in cells}
        assert wire is not None and 0 < wire < size
        encode, decode, exchange = cells
        assert encode.cpu_serving_s == decode.cpu_serving_s == 0.0
        assert exchange.cpu_serving_s is not None and exchange.cpu_serving_s > 0
        assert exchange.transfer_bytes_per_s is None
    bare = [cell.wire_bytes for cell in parse_serialisation(NONE).cells if cell.wire_bytes]
    assert bare == [104, 1028]


@pytest.mark.parametrize("data", [NONE, GRPC], ids=["none", "grpc"])
def test_what_does_not_apply_is_no_figure(data: bytes) -> None:
    for cell in parse_serialisation(data).cells:
        applies = cell.mode == "exchange"
        assert cell.state == ("measured" if applies else "not_applicable")
        assert (cell.count is not None) == (cell.wire_bytes is not None) == applies


def test_the_clock_is_taken_from_every_latency() -> None:
    cells = [json.loads(line) for line in WHOLE.splitlines()]
    clock_ns = cells[0]["clock_ns"]
    for said, cell in zip(cells[1:], parse_serialisation(WHOLE).cells, strict=False):
        assert cell.latency_min_s == pytest.approx((said["least_ns"] - clock_ns) / 1e9)
        assert sum(count for _, count in cell.histogram) == said["count"] == cell.count


def test_a_cell_of_few_samples_has_a_mean_and_no_median() -> None:
    first, *_ = WHOLE.splitlines()
    cell = json.loads(WHOLE.splitlines()[1])
    cell |= {"bytes": 1 << 20, "count": 4, "histogram": [[8_000_040, 3], [12_000_040, 1]]}
    record = parse_serialisation(
        b"\n".join([first, json.dumps(cell).encode(), b'{"state":"ended"}'])
    )
    (found,) = record.cells
    assert (found.latency_mean_s, found.latency_p50_s) == (pytest.approx(9e-3), None)


def test_a_library_that_is_not_there_has_a_reason_and_no_zero() -> None:
    record = parse_serialisation((FIXTURES / "unavailable.txt").read_bytes())
    assert record.cells == ()
    assert record.requests is record.duration_s is None
    assert record.unavailable is not None
    assert record.unavailable.startswith("import ujson: ModuleNotFoundError (")
    assert record.unavailable.endswith("which takes the Debian package python3-ujson")


def test_the_load_is_one_conversation_for_a_time() -> None:
    tool = TOOLS["serialisation"]
    assert tool.arguments(LOAD).argv == ("/local/load", "--time", "2")
    for wrong, said in (
        ({"concurrency": 4}, "serialisation: two processes talk"),
        ({"duration_s": None, "requests": 5}, "serialisation: runs for a time"),
        ({"url": "http://198.18.0.12/"}, "calls no URL"),
    ):
        with pytest.raises(ValueError, match=said):
            tool.arguments(dataclasses.replace(LOAD, **wrong))  # type: ignore[arg-type]
