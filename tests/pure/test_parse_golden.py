"""Real outputs of every tool against the exact records expected of them.

They are of wrk 4.1.0, ab 2.4.71, h2load 1.52.0, fortio 1.68.0, sysbench 1.0.20 on MariaDB 10.11,
stream 1.0.0, ipc 1.0.0 to 1.3.0, and serialisation 1.0.0; those of ``peer`` are of redis-benchmark
7.0.15, perf 6.1.187, sockperf 3.7, iperf3 3.12 and stress-ng 0.15.06, each as it was run for a
second. ``udp_lost`` is of a network without its larger datagrams.

``<name>.json`` beside an output holds ``outputs``, what is read from standard output alone, and
``run``, the record together with the tool's own file where there is one, and ``argv``
what it was started with where that matters. Columns that are absent there are null.
"""

from __future__ import annotations

import doctest
import importlib
import json
import statistics
from pathlib import Path

import pytest

from collector import schema
from collector.parse import TOOLS, ParseError, Record
from collector.parse.command import parse_outputs
from collector.parse.histogram import parse_histogram
from collector.parse.record import Cell

FIXTURES = Path(__file__).parents[1] / "fixtures" / "parse"
OUTPUTS = sorted(FIXTURES.glob("*/*.txt"))
ROLES = {
    "wrk": ("histogram", ".tsv"),
    "ab": ("percentiles", ".csv"),
    "h2load": ("log", ".tsv"),
}


def told(record: Record) -> dict[str, object]:
    body: dict[str, object] = {
        name: value for name, value in record.as_dict().items() if value is not None
    }
    if record.cells:
        body["cells"] = [
            {name: value for name, value in cell.as_dict().items() if value is not None}
            for cell in record.cells
        ]
    return body


def files_of(path: Path) -> dict[str, bytes]:
    if path.parent.name not in ROLES:
        return {}
    role, suffix = ROLES[path.parent.name]
    beside = path.with_suffix(suffix)
    return {role: beside.read_bytes()} if beside.exists() else {}


@pytest.mark.parametrize("path", OUTPUTS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_output_gives_exactly_the_expected_record(path: Path) -> None:
    expected = json.loads(path.with_suffix(".json").read_text())
    found = [
        {"line": result.line, "reason": result.reason}
        if isinstance(result, ParseError)
        else told(result)
        for result in parse_outputs(path.read_bytes())
    ]
    assert found == expected["outputs"]
    files = files_of(path)
    # What h2load prints inside has its histogram with it.
    assert ("run" in expected) == (bool(files) or path.parent.name == "h2load-inside")
    if "run" in expected:
        tool = TOOLS[path.parent.name]
        record = tool.parse(path.read_bytes(), files, expected.get("argv", ()))
        assert told(record) == expected["run"]


def test_record_has_the_fields_of_the_schema() -> None:
    assert tuple(Record.__dataclass_fields__) == (*schema.RECORD_FIELDS, "cells")
    assert tuple(Cell.__dataclass_fields__) == (*schema.CELL_FIELDS, "histogram")
    record = Record(tool="wrk", requests=0)
    assert tuple(record.as_dict()) == schema.RECORD_FIELDS
    assert {
        value for name, value in record.as_dict().items() if name not in ("tool", "requests")
    } == {None}
    with pytest.raises(AttributeError):
        record.requests = 1  # type: ignore[misc]


def test_golden_values_have_the_types_of_the_schema() -> None:
    kinds = {"string": str, "int64": int, "float64": float}
    types = {column.name: kinds[column.kind] for column in (*schema.RECORD, *schema.CELL)}
    for path in OUTPUTS:
        files = files_of(path)
        record = next(iter(parse_outputs(path.read_bytes())))
        if files:
            record = TOOLS[path.parent.name].parse(path.read_bytes(), files)
        if isinstance(record, ParseError):
            continue
        for part in (record, *record.cells):
            for name, value in part.as_dict().items():
                assert value is None or type(value) is types[name], (path, name)


@pytest.mark.parametrize("name", ["histogram", "stall", "threads", "status_503"])
def test_recorded_latencies_are_those_of_the_expanded_samples(name: str) -> None:
    path = FIXTURES / "wrk" / f"{name}.txt"
    record = TOOLS["wrk"].parse(path.read_bytes(), files_of(path))
    rows = parse_histogram(path.with_suffix(".tsv").read_bytes())
    samples = sorted(value / 1e6 for value, count in rows for _ in range(count))
    assert record.latency_mean_s == pytest.approx(statistics.fmean(samples), rel=1e-9)
    assert record.latency_sd_s == pytest.approx(statistics.stdev(samples), rel=1e-9)
    assert (record.latency_min_s, record.latency_max_s) == (samples[0], samples[-1])
    for percent in (50, 75, 90, 95, 99):
        value = getattr(record, f"latency_p{percent}_s")
        # The definition: enough samples do not exceed it, and fewer are below it.
        assert 100 * sum(sample <= value for sample in samples) >= percent * len(samples)
        assert 100 * sum(sample < value for sample in samples) < percent * len(samples)


def test_back_filling_the_recorded_samples_gives_what_wrk_printed() -> None:
    """The file holds what wrk recorded: wrk's own correction leads from it to the printed figures.

    See stats_correct in wrk's src/stats.c; the interval is what a connection has for a request.
    """
    path = FIXTURES / "wrk" / "stall.txt"
    record = TOOLS["wrk"].parse(path.read_bytes(), files_of(path))
    recorded = dict(parse_histogram(path.with_suffix(".tsv").read_bytes()))
    interval = 60  # us: 66,312.89 requests a second over 4 connections
    filled = dict(recorded)
    for value, count in recorded.items():
        for earlier in range(value - interval, interval, -interval):
            filled[earlier] = filled.get(earlier, 0) + count
    samples = [value / 1e6 for value, count in sorted(filled.items()) for _ in range(count)]
    assert round(statistics.fmean(samples), 5) == record.latency_corrected_mean_s
    assert round(statistics.stdev(samples), 5) == record.latency_corrected_sd_s
    for percent in (75, 90, 99):
        rank = -(-len(samples) * percent // 100)
        printed = getattr(record, f"latency_corrected_p{percent}_s")
        assert round(samples[rank - 1], 6 if percent < 90 else 5) == printed


def test_back_filled_latencies_do_not_reach_the_recorded_ones() -> None:
    path = FIXTURES / "wrk" / "stall.txt"
    record = TOOLS["wrk"].parse(path.read_bytes(), files_of(path))
    # The server stood still twice, 150 and 80 ms: 8 samples of 66,355, but a tenth as printed.
    assert record.latency_p99_s is not None and record.latency_p99_s < 0.0001
    assert record.latency_corrected_p90_s is not None and record.latency_corrected_p90_s > 0.05


@pytest.mark.parametrize(
    "module",
    [
        "wrk", "ab", "ab_percentiles", "histogram", "text", "record", "ab_report", "stream",
        "sysbench", "sysbench_histogram", "sysbench_report", "tool", "h2load", "h2load_inside",
        "h2load_log", "fortio", "ipc",
        "serialisation", "peer", "peer_iperf3", "peer_perf", "peer_redis", "peer_sockperf",
        "peer_stress_ng",
    ],
)  # fmt: skip
def test_examples_in_docstrings_hold(module: str) -> None:
    result = doctest.testmod(importlib.import_module(f"collector.parse.{module}"))
    assert result.failed == 0
    assert result.attempted > 0 or module in ("record", "ab_report", "sysbench_report")
