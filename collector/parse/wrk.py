r"""wrk 4.1 and 4.2: the arguments, and the record of what it prints.

The formats are those of wrk's ``src/wrk.c`` and ``src/units.c``. Every line between "Running" and
"Transfer/sec" must be one that wrk prints, in wrk's order; the one gap, between the header and
"Thread Stats", takes whatever scripts and standard error put there. Text before and after is not
looked at. The smallest output, of a run without ``--latency``:

>>> record = parse_wrk(b'''Running 1s test @ http://127.0.0.1:18080/mid
...   1 threads and 1 connections
...   Thread Stats   Avg      Stdev     Max   +/- Stdev
...     Latency    80.29ms  181.57us  80.86ms   91.67%
...     Req/Sec    12.00      4.22    20.00     80.00%
...   12 requests in 1.00s, 1.98KB read
... Requests/sec:     11.97
... Transfer/sec:      1.97KB
... ''')
>>> record.requests, record.throughput_rps, record.latency_corrected_mean_s, record.latency_mean_s
(12, 11.97, 0.08029, None)

What wrk prints about latency is partly back-filled, so it goes to ``latency_corrected_*``, and
``latency_*`` comes from the histogram file alone (``histogram.py``); only the largest value is the
same in both. The last line ends in "B", so it counts as whole even where its line end is missing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from collector.parse.histogram import Summary, parse_histogram, read_columns, summarise
from collector.parse.record import ParseError, Record
from collector.parse.text import decode, first_mismatch, joined
from collector.parse.tool import (
    DIRECTORY,
    LIBRARY,
    Capabilities,
    Invocation,
    Load,
    called,
    check_closed,
    rate_of,
    whole_seconds,
)

START: Final = re.compile(r"^Running [0-9]+[smh] test @ ", re.M)

# Bounded, so that no digits, however many, become an infinity or an error of int().
_INT: Final = r"[0-9]{1,18}"
_DECIMAL: Final = r"[0-9]{1,15}\.[0-9][0-9]"
_TIME: Final = rf"({_DECIMAL})(us|ms|s|m|h)"
_METRIC: Final = rf"{_DECIMAL}[kMGTP]?"
_BINARY: Final = rf"({_DECIMAL})([KMGTP]?)B"
_SHARE: Final = rf"(?:{_DECIMAL}|-?nan)%"
_END: Final = r"[ \t]*\n"

_HEADER: Final = (
    ("'Running ... test @ ...'", r"Running [0-9]+[smh] test @ [^\n]+\n"),
    (
        "'N threads and N connections'",
        rf"  (?P<threads>{_INT}) threads and (?P<connections>{_INT}) connections{_END}",
    ),
)
# Each part is what a person would call the line, and its pattern; "" where it may be missing.
_DISTRIBUTION: Final = (
    ("'Latency Distribution'", rf"  Latency Distribution{_END}"),
    *(
        (f"'{percent}%' with a time", rf" +{percent}% *{_TIME}{_END}")
        for percent in (50, 75, 90, 99)
    ),
)
_STATS: Final = "  Thread Stats "
# Blanks between the columns are optional: "1000.00ms" fills the column of the maximum.
_TABLE: Final = (
    ("'Thread Stats'", rf"  Thread Stats +Avg +Stdev +Max +\+/- Stdev{_END}"),
    (
        "'Latency' with avg, stdev, max",
        rf"    Latency *{_TIME} *{_TIME} *{_TIME} *({_SHARE}){_END}",
    ),
    ("'Req/Sec'", rf"    Req/Sec *{_METRIC} *{_METRIC} *{_METRIC} *{_SHARE}{_END}"),
)
_TOTALS: Final = (
    ("'N requests in TIME, SIZE read'", rf"  ({_INT}) requests in {_TIME}, {_BINARY} read{_END}"),
    (
        "",
        rf"(?:  Socket errors: connect (-?{_INT}), read (-?{_INT}), write (-?{_INT}), "
        rf"timeout (-?{_INT}){_END})?",
    ),
    ("", rf"(?:  Non-2xx or 3xx responses: (-?{_INT}){_END})?"),
    ("'Requests/sec:'", rf"Requests/sec: *({_DECIMAL}){_END}"),
    ("'Transfer/sec:'", rf"Transfer/sec: *{_BINARY}(?=[ \t]*(?:\n|\Z))"),
)
_HEADER_RE: Final = re.compile(joined(_HEADER))
_BODY_RE: Final = re.compile(f"{joined(_TABLE)}(?:{joined(_DISTRIBUTION)})?{joined(_TOTALS)}")
_WRK2: Final = re.compile(
    r"^(?:  Thread calibration: |  Latency Distribution \(HdrHistogram|  Detailed Percentile)", re.M
)

# (multiplier, divisor) from hundredths of the unit to seconds: one correctly rounded division.
_SECONDS: Final = {
    "us": (1, 100_000_000),
    "ms": (1, 100_000),
    "s": (1, 100),
    "m": (60, 100),
    "h": (3600, 100),
}
_BYTES: Final[dict[str, int]] = {unit: 1024**power for power, unit in enumerate(("", *"KMGTP"))}
_COUNTER: Final = 1 << 32
_FIGURE: Final = re.compile(rb"^Requests/sec: *([0-9]{1,15}\.[0-9]+)", re.M)
_PERCENTS: Final = (50, 75, 90, 95, 99)


def parse_wrk(data: bytes, histogram: bytes | None = None) -> Record:
    """Return the record of the one output in ``data``.

    ``histogram`` is the file that ``wrk_histogram.lua`` wrote in the same run. Raises
    ``ParseError``: no whole output, more than one, or a histogram of another run.
    """
    text = decode(data)
    starts = [match.start() for match, _ in zip(START.finditer(text), range(2), strict=False)]
    if not starts:
        raise ParseError(1, "truncated: no output of wrk found ('Running ... test @ ...')")
    before = text.count("\n", 0, starts[0])
    if len(starts) > 1:
        line = 1 + text.count("\n", 0, starts[1])
        raise ParseError(line, "several: a second output of wrk begins; give one at a time")
    try:
        return read_wrk(text[starts[0] :], histogram)
    except ParseError as error:
        if error.reason.startswith("histogram:"):
            raise
        raise error.shifted(before) from None


def read_wrk(text: str, histogram: bytes | None = None) -> Record:
    """Return the record of ``text``, which starts with an output and holds no second one.

    Raises ``ParseError`` with the line in ``text``, or in the histogram where the reason begins
    with ``histogram``.
    """
    header = _HEADER_RE.match(text)
    if header is None:
        raise first_mismatch(text, 0, _HEADER)
    if wrk2 := _WRK2.search(text):
        line = 1 + text.count("\n", 0, wrk2.start())
        raise ParseError(line, "wrk2: its outputs are not read (wrk 4.1 and 4.2 are)")
    begin = text.find("\n" + _STATS, header.end() - 1) + 1
    if not begin:
        raise ParseError(text.count("\n") + 1, "truncated: ends before 'Thread Stats'")
    body = _BODY_RE.match(text, begin)
    if body is None:
        # With --latency the table of percentiles belongs to the output, whole.
        percentiles = _DISTRIBUTION if "\n  Latency Distribution" in text else ()
        raise first_mismatch(text, begin, (*_TABLE, *percentiles, *_TOTALS))
    return _record(header, body, histogram)


def _record(header: re.Match[str], body: re.Match[str], histogram: bytes | None) -> Record:
    (
        mean, mean_unit, sd, sd_unit, largest, largest_unit, share,
        p50, p50_unit, p75, p75_unit, p90, p90_unit, p99, p99_unit,
        requests, duration, duration_unit, size, size_unit,
        connect, read, write, timeout, status, rate, transfer, transfer_unit,
    ) = body.groups()  # fmt: skip
    if mean_unit == "m" and len(mean) > 6:
        # The column of the mean is 8 wide and cuts "1000.00ms"; a mean of 1000 minutes would not
        # have kept its unit (print_units in wrk.c).
        mean_unit = "ms"
    # No latency recorded: wrk prints 0.00us throughout, and -nan where it divides by the count.
    seen = "nan" not in share
    late = _count(timeout)
    printed = _seconds(largest, largest_unit) if seen else None
    recorded = (
        _recorded(histogram, int(requests) - late, largest, largest_unit)
        if histogram is not None
        else Summary(None, None, None, printed, (None,) * len(_PERCENTS))
    )
    quantiles = recorded.quantiles_s
    return Record(
        tool="wrk",
        threads=int(header["threads"]),
        connections=int(header["connections"]),
        duration_s=_seconds(duration, duration_unit),
        requests=int(requests),
        errors_connect=_count(connect),
        errors_read=_count(read),
        errors_write=_count(write),
        errors_timeout=late,
        errors_status=_count(status),
        throughput_rps=float(rate),
        transfer_bytes=_bytes(size, size_unit),
        transfer_bytes_per_s=float(transfer) * _BYTES[transfer_unit],
        latency_mean_s=recorded.mean_s,
        latency_sd_s=recorded.sd_s,
        latency_min_s=recorded.minimum_s,
        latency_p50_s=quantiles[0],
        latency_p75_s=quantiles[1],
        latency_p90_s=quantiles[2],
        latency_p95_s=quantiles[3],
        latency_p99_s=quantiles[4],
        latency_max_s=recorded.maximum_s,
        latency_corrected_mean_s=_seconds(mean, mean_unit) if seen else None,
        latency_corrected_sd_s=_seconds(sd, sd_unit) if seen else None,
        latency_corrected_p50_s=_seconds(p50, p50_unit) if seen and p50 else None,
        latency_corrected_p75_s=_seconds(p75, p75_unit) if seen and p75 else None,
        latency_corrected_p90_s=_seconds(p90, p90_unit) if seen and p90 else None,
        latency_corrected_p99_s=_seconds(p99, p99_unit) if seen and p99 else None,
    )


def _hundredths(number: str) -> int:
    return int(number[:-3] + number[-2:])


def _seconds(number: str, unit: str) -> float:
    multiplier, divisor = _SECONDS[unit]
    return _hundredths(number) * multiplier / divisor


def _bytes(number: str, unit: str) -> int:
    return (_hundredths(number) * _BYTES[unit] + 50) // 100


def _count(number: str | None) -> int:
    """Errors are 32-bit counters without a sign that wrk prints with one; no line means none."""
    return 0 if number is None else int(number) % _COUNTER


def _recorded(data: bytes, expected: int, largest: str, unit: str) -> Summary:
    """Summarise the histogram, after making sure that it is of the run that was printed.

    Every request that was answered in time is one sample (without pipelining), and the maximum is
    the one printed, to the two decimals that wrk prints.
    """
    values, counts = read_columns(data)
    samples = sum(counts)
    if samples != expected:
        raise ParseError(
            1,
            f"histogram: {samples} samples, but {expected} requests answered in time: it is of "
            "another run, or the run was pipelined",
        )
    if values:
        most = values[-1]
        multiplier, divisor = _SECONDS[unit]
        # In microseconds times divisor, to stay with whole numbers.
        difference = abs(_hundredths(largest) * multiplier * 10**6 - most * divisor)
        if 2 * difference > multiplier * 10**6:
            reason = f"histogram: the largest value is {most} us, but wrk printed {largest}{unit}"
            raise ParseError(len(values), reason)
    return summarise(values, counts, _PERCENTS)


class Wrk:
    """wrk as a load tool: a closed loop over TCP for a number of seconds."""

    name: Final = "wrk"
    capabilities: Final = Capabilities(
        open_loop=False, unix_sockets=False, histogram=True, inside=False
    )

    def arguments(self, load: Load) -> Invocation:
        """Return the invocation; ``ValueError`` for a number of requests or uneven threads."""
        check_closed(self.name, load)
        if load.duration_s is None:
            raise ValueError("wrk: runs for a time (duration_s), not for a number of requests")
        if load.concurrency % load.threads:
            raise ValueError(
                f"wrk: {load.concurrency} connections do not divide among {load.threads} threads, "
                "and wrk would open fewer than it says; choose a multiple"
            )
        return Invocation(
            argv=(
                "wrk", "--latency",
                "-t", str(load.threads),
                "-c", str(load.concurrency),
                "-d", f"{whole_seconds('duration_s', load.duration_s)}s",
                "--timeout", f"{whole_seconds('timeout_s', load.timeout_s)}s",
                *(() if load.keepalive else ("-H", "Connection: close")),
                "-s", f"{LIBRARY}/wrk_histogram.lua",
                called(self.name, load),
            ),
            env={
                "SOCKLAB_HISTOGRAM": f"{DIRECTORY}/histogram.tsv",
                "SOCKLAB_CONNECTIONS": str(load.concurrency),
            },
            files={"histogram": "histogram.tsv"},
        )  # fmt: skip

    def parse(self, stdout: bytes, files: Mapping[str, bytes], argv: Sequence[str] = ()) -> Record:
        """Return the record of one run; recorded latencies need the file ``histogram``."""
        return parse_wrk(stdout, files.get("histogram"))

    def histogram(self, stdout: bytes, files: Mapping[str, bytes]) -> list[tuple[int, int]]:
        """Return (value in us, count) as recorded; empty if there is no such file."""
        data = files.get("histogram")
        return [] if data is None else parse_histogram(data)

    def figure(self, stdout: bytes) -> str | None:
        """Return ``12,345 requests/s``."""
        return rate_of(stdout, _FIGURE, "requests/s")


TOOL: Final = Wrk()
