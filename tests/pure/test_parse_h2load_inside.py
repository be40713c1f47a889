"""h2load inside a deployment: its figures and its histogram are of one run, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from collector.parse import TOOLS, ParseError
from collector.parse.h2load_inside import MARK

FIXTURES = Path(__file__).parents[1] / "fixtures" / "parse" / "h2load-inside"
TOOL = TOOLS["h2load-inside"]
UNIX = (FIXTURES / "unix.txt").read_bytes()


def refusal(data: bytes) -> ParseError:
    with pytest.raises(ParseError) as caught:
        TOOL.parse(data, {})
    return caught.value


def test_latencies_are_those_of_the_histogram() -> None:
    record = TOOL.parse(UNIX, {})
    rows = TOOL.histogram(UNIX, {})
    assert (record.tool, record.requests, record.connections) == ("h2load-inside", 13_379, 4)
    assert sum(count for _, count in rows) == record.requests
    assert (record.latency_min_s, record.latency_max_s) == (rows[0][0] / 1e6, rows[-1][0] / 1e6)
    assert record.latency_p50_s == 253e-6
    assert record.latency_p99_s == 1617e-6
    assert record.throughput_rps is not None and record.latency_mean_s is not None
    assert record.throughput_rps * record.latency_mean_s == pytest.approx(4, rel=0.02), "Little"


def test_an_application_that_goes_shows_by_littles_law_alone() -> None:
    """Its connections are neither failed nor errors to h2load 1.52 in a run for a time."""
    record = TOOL.parse((FIXTURES / "gone.txt").read_bytes(), {})
    assert (record.requests_failed, record.errors_status) == (0, 0)
    assert record.throughput_rps is not None and record.latency_mean_s is not None
    assert record.throughput_rps * record.latency_mean_s < 0.3 * 4


def test_what_ends_early_is_refused() -> None:
    # Cut within the last row, it may still be a row, of a number with fewer digits.
    for cut in range(len(UNIX)):
        assert refusal(UNIX[:cut]).reason.startswith(("truncated: ", "histogram: "))


def test_the_line_is_of_the_whole_output() -> None:
    row = UNIX.count(b"\n", 0, UNIX.index(MARK)) + 3
    lines = UNIX.split(b"\n")
    lines[row - 1] = b"garbage"
    wrong = refusal(b"\n".join(lines))
    assert (wrong.line, wrong.reason) == (row, "histogram: expected value_us<TAB>count")


def test_a_histogram_of_another_run_is_refused() -> None:
    own, _, rows = UNIX.partition(MARK)
    wrong = refusal(own + MARK + rows + b"999999\t2\n")
    assert "13381 samples, but h2load says 13379 answered" in wrong.reason
    assert refusal(rows).reason.startswith("truncated: no 'latencies from the sending")
