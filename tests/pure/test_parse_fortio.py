"""fortio's object: what is read of it, and what is refused with its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from collector.parse import ParseError
from collector.parse.command import parse_outputs
from collector.parse.fortio import parse_fortio

FIXTURES = Path(__file__).parents[1] / "fixtures" / "parse" / "fortio"
PACED = (FIXTURES / "paced.txt").read_bytes()


def refusal(data: bytes) -> ParseError:
    with pytest.raises(ParseError) as caught:
        parse_fortio(data)
    return caught.value


def changed(**fields: Any) -> bytes:
    return json.dumps(json.loads(PACED) | fields, indent=2).encode()


def test_a_run_without_an_answer_has_no_latencies() -> None:
    """Its histogram has the times of failed calls in it."""
    gone = parse_fortio((FIXTURES / "gone.txt").read_bytes())
    assert (gone.requests, gone.requests_failed, gone.errors_status) == (200, 130, 0)
    assert (gone.latency_mean_s, gone.latency_p50_s, gone.latency_max_s) == (None, None, None)
    status = parse_fortio((FIXTURES / "status.txt").read_bytes())
    assert (status.requests, status.requests_failed, status.errors_status) == (40, 38, 2)


def test_it_is_found_between_other_outputs_and_lines_of_a_log() -> None:
    wrk = (FIXTURES.parent / "wrk" / "plain.txt").read_bytes()
    text = b"Fortio 1.68.0 running\n" + PACED + b"\nAll done\n" + wrk + PACED
    found = [getattr(one, "tool", one) for one in parse_outputs(text)]
    assert found == ["fortio", "wrk", "fortio"]


def test_what_ends_early_is_truncated() -> None:
    for cut in range(0, len(PACED.rstrip()) - 1, 7):
        assert refusal(PACED[:cut]).reason.startswith("truncated: ")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"RunType": "GRPC"}, "'RunType' is HTTP, the only kind that is read, not 'GRPC'"),
        ({"Version": 1.68}, "'Version' is a version"),
        ({"NumThreads": 0}, "'NumThreads' is a whole number from 1"),
        ({"ActualQPS": 900.0}, "are calls/s, not '900.0'"),
        ({"ActualDuration": 0}, "'ActualDuration' is a whole number from 1"),
        ({"RetCodes": {"200": 499}}, "'RetCodes' add up to 500 calls, not '499'"),
        ({"RetCodes": {"ok": 500}}, "'RetCodes' has statuses of HTTP"),
        ({"RetCodes": [200]}, "'RetCodes' is an object"),
        ({"Sizes": {}}, "'Sum' is a number from 0"),
    ],
)
def test_what_contradicts_itself_is_refused(fields: dict[str, Any], said: str) -> None:
    wrong = refusal(changed(**fields))
    assert (wrong.line, said in wrong.reason) == (1, True), wrong.reason


def test_two_outputs_and_none_are_refused() -> None:
    several = refusal(PACED + PACED)
    assert several.reason.startswith("several: ")
    assert several.line == PACED.count(b"\n") + 1
    assert "no output of fortio" in refusal(b"hello\n").reason
    assert refusal(PACED.replace(b'"ActualQPS"', b'"ActualQPS" 1,')).line == 7
