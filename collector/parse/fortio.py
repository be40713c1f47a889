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
from collections.abc import Mapping, Sequence
from typing import Any, Final

from collector.parse.json_text import number, part, read_object, whole, wrong
from collector.parse.record import ParseError, Record
from collector.parse.text import decode
from collector.parse.tool import (
    Capabilities,
    Invocation,
    Load,
    called,
    check_closed,
    rate_of,
    whole_seconds,
)

PROGRAM: Final = "fortio"
MARK: Final = r"\{\s*\"RunType\": ?\""
NO_ANSWER: Final = "-1"
REFUSED: Final = 400

_START: Final = re.compile(f"^{MARK}", re.M)
_VERSION: Final = re.compile(r"[0-9]{1,4}\.[0-9]{1,4}(?:\.[0-9]{1,4})?[0-9A-Za-z.+-]{0,20}")
_CODE: Final = re.compile(r"-1|[1-9][0-9]{2}")
_FIGURE: Final = re.compile(rb"^  ?\"ActualQPS\": ?([0-9]{1,15}(?:\.[0-9]+)?)", re.M)


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


class Fortio:
    """fortio as a load tool: a closed loop of HTTP/1.1 over TCP, a goroutine a connection.

    Its ``-qps`` is no open loop: a goroutine that waits for an answer asks nothing meanwhile, and
    its latencies are from the sending.
    """

    name: Final = PROGRAM
    capabilities: Final = Capabilities(
        open_loop=False, unix_sockets=False, histogram=False, inside=False
    )

    def arguments(self, load: Load) -> Invocation:
        """Return the invocation; ``ValueError`` for what fortio cannot keep to.

        ``-r`` is the width of its first buckets, a millisecond unless it is told; without
        ``-allow-initial-errors`` a refused first call ends the run with no output.
        """
        check_closed(self.name, load)
        if load.requests is not None and load.requests < load.concurrency:
            raise ValueError(
                f"fortio: {load.requests} requests are fewer than {load.concurrency} connections"
            )
        return Invocation(
            argv=(
                "fortio", "load", "-quiet", "-log-errors=false", "-allow-initial-errors",
                "-json", "-", "-p", "50,75,90,95,99", "-r", "1e-06", "-qps", "0",
                "-gomaxprocs", str(load.threads),
                "-c", str(load.concurrency),
                *_extent(load),
                "-timeout", f"{whole_seconds('timeout_s', load.timeout_s)}s",
                *(() if load.keepalive else ("-keepalive=false",)),
                called(self.name, load),
            ),
        )  # fmt: skip

    def parse(self, stdout: bytes, files: Mapping[str, bytes], argv: Sequence[str] = ()) -> Record:
        """Return the record of one run."""
        return parse_fortio(stdout)

    def histogram(self, stdout: bytes, files: Mapping[str, bytes]) -> list[tuple[int, int]]:
        """Return an empty list: its buckets have widths, and no values."""
        return []

    def figure(self, stdout: bytes) -> str | None:
        """Return ``12,345 requests/s``."""
        return rate_of(stdout, _FIGURE, "requests/s")


def _extent(load: Load) -> tuple[str, ...]:
    if load.duration_s is None:
        return ("-n", str(load.requests))
    return ("-t", f"{whole_seconds('duration_s', load.duration_s)}s")


TOOL: Final = Fortio()
