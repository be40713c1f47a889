r"""ab (ApacheBench) 2.3, as Apache 2.2 to 2.4 ship it: the arguments, and the record.

The formats are those of Apache's ``support/ab.c``. Newer ab prints further ``Key: value`` lines,
so unknown keys are passed over; every other line of the results must be one that ab prints. The
smallest output, of one request (more requests end with a table of percentiles):

>>> record = parse_ab(b'''Server Software:        nginx/1.22.1
... Server Hostname:        127.0.0.1
... Server Port:            18080
...
... Document Path:          /
... Document Length:        Variable
...
... Concurrency Level:      1
... Time taken for tests:   0.001 seconds
... Complete requests:      1
... Failed requests:        0
... Total transferred:      745 bytes
... HTML transferred:       512 bytes
... Requests per second:    746.27 [#/sec] (mean)
... Time per request:       1.340 [ms] (mean)
... Time per request:       1.340 [ms] (mean, across all concurrent requests)
... Transfer rate:          542.94 [Kbytes/sec] received
...
... Connection Times (ms)
...               min  mean[+/-sd] median   max
... Connect:        0    0   0.0      0       0
... Processing:     1    1   0.0      1       1
... Waiting:        1    1   0.0      1       1
... Total:          1    1   0.0      1       1
... ''')
>>> record.requests, record.latency_mean_s, record.latency_max_s, record.document_bytes
(1, 0.00134, 0.001, None)

Latencies on standard output are whole milliseconds; the file of ``-e`` (``ab_percentiles.py``) has
microseconds and takes their place. An output ends with the longest request. Where ``ab -d`` prints
no percentiles, the output is accepted only if text follows or the ``-e`` file is given: otherwise
it could not be told from one that was cut.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from collector.parse.ab_percentiles import Percentiles, parse_percentiles
from collector.parse.ab_report import Report, read_report
from collector.parse.record import ParseError, Record
from collector.parse.text import decode
from collector.parse.tool import (
    DIRECTORY,
    Capabilities,
    Invocation,
    Load,
    called,
    check_closed,
    rate_of,
    whole_seconds,
)

START: Final = re.compile(r"^(?:This is ApacheBench, Version |Server Software: )", re.M)

_BANNER: Final = re.compile(r"This is ApacheBench, Version (([0-9]+)\.([0-9]+)[^\s<]*)")
_OLDEST: Final = (2, 3)
_FIGURE: Final = re.compile(rb"^Requests per second: *([0-9]{1,15}\.[0-9]+)", re.M)
_RESULTS: Final = re.compile(r"^Server Software: ", re.M)
_HTML: Final = re.compile(r"^ This is ApacheBench, .*<br>", re.M)

# ab allocates 32 bytes for each request of -n before it starts: 50,000,000 are 1.6 GB, which a
# small host refuses. ab, one thread, makes well below this many a second.
_REQUESTS_PER_SECOND: Final = 500_000
_MOST_REQUESTS: Final = 50_000_000


def parse_ab(data: bytes, percentiles: bytes | None = None) -> Record:
    """Return the record of the one output in ``data``.

    ``percentiles`` is the file of ``ab -e`` in the same run. Raises ``ParseError``: no whole
    output, more than one, or percentiles of another run.
    """
    text = decode(data)
    starts = find_starts(text)
    if not starts:
        if html := _HTML.search(text):
            line = 1 + text.count("\n", 0, html.start())
            raise ParseError(line, "html: the tables of ab -w are not read; run ab without -w")
        raise ParseError(1, "truncated: no output of ab found ('This is ApacheBench, ...')")
    before = text.count("\n", 0, starts[0])
    if len(starts) > 1:
        line = 1 + text.count("\n", 0, starts[1])
        raise ParseError(line, "several: a second output of ab begins; give one at a time")
    try:
        return read_ab(text[starts[0] :], percentiles)
    except ParseError as error:
        if error.reason.startswith("percentiles:"):
            raise
        raise error.shifted(before) from None


def find_starts(text: str) -> list[int]:
    """Return where each output of ab begins: at its banner, else at "Server Software:"."""
    starts: list[int] = []
    banner = False
    for match in START.finditer(text):
        results = match[0].startswith("Server")
        if not (results and banner):
            starts.append(match.start())
        banner = not results
    return starts


def read_ab(text: str, percentiles: bytes | None = None, followed: bool = False) -> Record:
    """Return the record of ``text``, which starts with an output and holds no second one.

    ``followed``: another output comes after it, so it was not cut at its end. Raises
    ``ParseError`` with the line in ``text``, or in the percentiles where the reason begins with
    ``percentiles``.
    """
    version, begin = None, 0
    if banner := _BANNER.match(text):
        version = banner[1]
        if (int(banner[2]), int(banner[3])) < _OLDEST:
            raise ParseError(
                1, f"old_ab: ab {version} prints other numbers in the same words; use 2.3 or later"
            )
    results = _RESULTS.search(text)
    if results is None:
        line = text.count("\n") + 1
        raise ParseError(line, "truncated: ends before 'Server Software:' (ab stopped early?)")
    begin = results.start()
    try:
        report = read_report(text[begin:], ended=followed or percentiles is not None)
    except ParseError as error:
        raise error.shifted(text.count("\n", 0, begin)) from None
    return _record(version, report, percentiles)


def _record(version: str | None, report: Report, data: bytes | None) -> Record:
    latency = report.percentiles
    if data is not None and report.requests:
        latency = parse_percentiles(data, report.requests)
        _same_run(latency, report)
    return Record(
        tool="ab",
        tool_version=version,
        connections=report.concurrency,
        duration_s=report.duration_s,
        requests=report.requests,
        requests_failed=report.failed,
        errors_connect=report.errors_connect,
        errors_write=report.errors_write,
        errors_receive=report.errors_receive,
        errors_length=report.errors_length,
        errors_exception=report.errors_exception,
        errors_status=report.errors_status,
        requests_keepalive=report.keepalive,
        throughput_rps=report.throughput_rps,
        transfer_bytes=report.transfer_bytes,
        transfer_bytes_per_s=report.transfer_bytes_per_s,
        document_bytes=report.document_bytes,
        latency_mean_s=report.mean_s,
        latency_sd_s=report.sd_s,
        latency_min_s=latency.minimum_s,
        latency_p50_s=latency.p50_s,
        latency_p75_s=latency.p75_s,
        latency_p90_s=latency.p90_s,
        latency_p95_s=latency.p95_s,
        latency_p99_s=latency.p99_s,
        latency_max_s=latency.maximum_s,
    )


def _same_run(latency: Percentiles, report: Report) -> None:
    """Refuse a percentiles file whose ends do not round to the whole milliseconds printed."""
    for name, exact, printed in (
        ("shortest", latency.minimum_s, report.percentiles.minimum_s),
        ("longest", latency.maximum_s, report.percentiles.maximum_s),
    ):
        # Half a millisecond and more rounds up (ap_round_ms in ab.c), exactly.
        rounded = None if exact is None else (round(exact * 1e6) + 500) // 1000 / 1000
        if rounded != printed:
            raise ParseError(
                1, f"percentiles: of another run: the {name} request is {exact} s, not {printed} s"
            )


class Ab:
    """ab as a load tool: a closed loop over TCP, one thread, for a time or a number of requests."""

    name: Final = "ab"
    capabilities: Final = Capabilities(
        open_loop=False, unix_sockets=False, histogram=False, inside=False
    )

    def arguments(self, load: Load) -> Invocation:
        """Return the invocation; ``ValueError`` for more than one thread or a URL without path.

        Always ``-l`` (a body of another length is no failure), ``-e`` (the only latencies in
        microseconds) and ``-r`` (a reset is counted, thrice, instead of ending the run without
        results).
        """
        check_closed(self.name, load)
        if load.threads != 1:
            raise ValueError(f"ab: has one thread, not {load.threads}")
        url = called(self.name, load)
        if url.count("/") < 3:
            raise ValueError(f"ab: wants a path in the URL: {url}/")
        if load.requests is not None and load.requests < load.concurrency:
            raise ValueError(
                f"ab: {load.requests} requests are fewer than {load.concurrency} connections"
            )
        return Invocation(
            argv=(
                "ab", "-l", "-q", "-r",
                *(("-k",) if load.keepalive else ()),
                "-s", str(whole_seconds("timeout_s", load.timeout_s)),
                "-e", f"{DIRECTORY}/percentiles.csv",
                "-c", str(load.concurrency),
                *_extent(load),
                url,
            ),
            files={"percentiles": "percentiles.csv"},
        )  # fmt: skip

    def parse(self, stdout: bytes, files: Mapping[str, bytes], argv: Sequence[str] = ()) -> Record:
        """Return the record of one run; without ``percentiles`` in whole milliseconds."""
        return parse_ab(stdout, files.get("percentiles"))

    def histogram(self, stdout: bytes, files: Mapping[str, bytes]) -> list[tuple[int, int]]:
        """Return an empty list: ab counts no latencies by value."""
        return []

    def figure(self, stdout: bytes) -> str | None:
        """Return ``12,345 requests/s``."""
        return rate_of(stdout, _FIGURE, "requests/s")


def _extent(load: Load) -> tuple[str, ...]:
    if load.duration_s is None:
        return ("-n", str(load.requests))
    seconds = whole_seconds("duration_s", load.duration_s)
    # -t sets the number of requests to 50,000, so -n comes after it.
    most = min(seconds * _REQUESTS_PER_SECOND, _MOST_REQUESTS)
    return ("-t", str(seconds), "-n", str(most))


TOOL: Final = Ab()
