r"""fortio 1.60 and later, ``load ... -json -``: the record of the object that it writes.

Its layout is free, as JSON's is. What is read of it:

>>> record = parse_fortio(b'''{"RunType": "HTTP", "Version": "1.68.0", "NumThreads": 4,
...  "ActualQPS": 1996.0, "ActualDuration": 1002004008, "RetCodes": {"200": 2000},
...  "DurationHistogram": {"Count": 2000, "Min": 0.00007, "Max": 0.009, "Avg": 0.0003,
...   "StdDev": 0.0002, "Percentiles": [{"Percentile": 50, "Value": 0.00029}]},
...  "Sizes": {"Count": 2000, "Sum": 428000}
... }''')
>>> record.requests, record.connections, record.latency_p50_s, record.transfer_bytes
(2000, 4, 0.00029, 428000)

Percentiles are as it prints them, interpolated within the buckets of its histogram, whose widths
grow from ``-r`` on; that histogram is no raw one, so none is kept. Calls that failed have their
times in it, so a run that has any has no latencies here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from collector.parse.json_text import number, part, read_object, whole, wrong
from collector.parse.record import ParseError, Record
from collector.parse.text import decode

PROGRAM: Final = "fortio"
MARK: Final = r"\{\s*\"RunType\": ?\""
NO_ANSWER: Final = "-1"
REFUSED: Final = 400

_START: Final = re.compile(f"^{MARK}", re.M)
_VERSION: Final = re.compile(r"[0-9]{1,4}\.[0-9]{1,4}(?:\.[0-9]{1,4})?[0-9A-Za-z.+-]{0,20}")
_CODE: Final = re.compile(r"-1|[1-9][0-9]{2}")


def parse_fortio(data: bytes) -> Record:
    """Return the record of the one output in ``data``.

    Raises ``ParseError``: no whole output, more than one, or one of another kind of load.
    """
    text = decode(data)
    starts = [match.start() for match, _ in zip(_START.finditer(text), range(2), strict=False)]
    if not starts:
        raise ParseError(1, "truncated: no output of fortio found ('{ \"RunType\": ...')")
    before = text.count("\n", 0, starts[0])
    if len(starts) > 1:
        line = 1 + text.count("\n", 0, starts[1])
        raise ParseError(line, "several: a second output of fortio begins; give one at a time")
    try:
        return read_fortio(text[starts[0] :])
    except ParseError as error:
        raise error.shifted(before) from None


def read_fortio(text: str) -> Record:
    """Return the record of ``text``, which starts with an output and holds no second one.

    Raises ``ParseError`` with the line in ``text``; 1 for what is wrong with the whole.
    """
    body = read_object(text, PROGRAM)
    if body.get("RunType") != "HTTP":
        raise wrong("'RunType' is HTTP, the only kind that is read", body.get("RunType"))
    version = body.get("Version")
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        raise wrong("'Version' is a version", version)
    times = part(body, "DurationHistogram")
    requests, seconds = whole(times, "Count"), whole(body, "ActualDuration", 1) / 1e9
    codes = _codes(part(body, "RetCodes"), requests)
    rate = number(body, "ActualQPS")
    if not math.isclose(rate, requests / seconds, rel_tol=1e-6):
        raise wrong(f"{requests} calls in {seconds} s are calls/s", rate)
    lost = codes.get(NO_ANSWER, 0)
    refused = sum(count for code, count in codes.items() if int(code) >= REFUSED)
    sent = number(part(body, "Sizes"), "Sum")
    clean = requests > 0 and not lost
    return Record(
        tool=PROGRAM,
        tool_version=version,
        connections=whole(body, "NumThreads", 1),
        duration_s=seconds,
        requests=requests,
        requests_failed=lost,
        errors_status=refused,
        throughput_rps=rate,
        transfer_bytes=round(sent),
        latency_mean_s=number(times, "Avg") if clean else None,
        latency_sd_s=number(times, "StdDev") if clean else None,
        latency_min_s=number(times, "Min") if clean else None,
        latency_max_s=number(times, "Max") if clean else None,
        **(_percentiles(times) if clean else {}),
    )


def _codes(body: Mapping[str, Any], requests: int) -> dict[str, int]:
    """Return how many calls ended with which status, ``-1`` for none."""
    if unknown := [code for code in body if not _CODE.fullmatch(code)]:
        raise wrong("'RetCodes' has statuses of HTTP, and -1 for none", unknown[0])
    codes = {code: whole(body, code, 1) for code in body}
    if sum(codes.values()) != requests:
        raise wrong(f"'RetCodes' add up to {requests} calls", sum(codes.values()))
    return codes


def _percentiles(times: Mapping[str, Any]) -> dict[str, Any]:
    """Return the percentiles that were asked for and have a column."""
    listed = times.get("Percentiles") or []
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise wrong("'Percentiles' is a list of objects", listed)
    told = {number(one, "Percentile"): number(one, "Value") for one in listed}
    return {f"latency_p{at}_s": told[at] for at in (50, 75, 90, 95, 99) if at in told}
