r"""h2load of nghttp2 1.40 and later, an open loop: the arguments, and the record of what it prints.

Unlike wrk and ab it asks on a schedule, whatever the answers do: the tool for tails. The format is
that of ``src/h2load.cc``. What stands between the start and "finished in" is its progress and is
not looked at. The smallest output:

>>> record = parse_h2load(b'''starting benchmark...
... spawning thread #0: 10 total client(s). 1000 total requests
...
... finished in 1.99s, 501.93 req/s, 21.08KB/s
... requests: 1000 total, 1000 started, 1000 done, 1000 succeeded, 0 failed, 0 errored, 0 timeout
... status codes: 1000 2xx, 0 3xx, 0 4xx, 0 5xx
... traffic: 41.9KB (42900) total, 14.6KB (14950) headers (space savings 0%), 4.9KB (5000) data
...                      min         max         mean         sd        +/- sd
... time for request:       72us      5.38ms       410us       522us    92.90%
... time for connect:       33us       586us       137us       162us    90.00%
... time to 1st byte:      329us      1.79ms       868us       527us    60.00%
... req/s           :      50.47       50.49       50.48        0.01    60.00%
... ''')
>>> record.connections, record.requests, record.latency_mean_s, record.latency_p99_s
(10, 1000, 0.00041, None)

Quantiles need the log (``h2load_log.py``); those charged from the schedule, ``latency_corrected_*``
as wrk's back-filled ones are, need the arguments too, for h2load does not print its rate.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

from collector.parse.h2load_log import read_log, scheduled
from collector.parse.histogram import Summary, summarise
from collector.parse.record import ParseError, Record
from collector.parse.text import decode, first_mismatch, joined
from collector.parse.tool import (
    DIRECTORY,
    Capabilities,
    Invocation,
    Load,
    called,
    rate_of,
    whole_seconds,
)

MARK: Final = r"starting benchmark\.\.\.[ \t]*\n|finished in [0-9.]+[a-z]+, [0-9.]+ req/s, "
# Its timer of a connection comes every 10 ms at most; faster ones are made up for in bursts.
MOST_PER_CONNECTION: Final = 100

_INT: Final = r"[0-9]{1,15}"
_DECIMAL: Final = r"[0-9]{1,15}(?:\.[0-9]{1,6})?"
_TIME: Final = rf"({_DECIMAL})(us|ms|s)"
_SIZE: Final = rf"{_DECIMAL}[KMGTP]?B"
_END: Final = r"[ \t]*\n"
_COLUMNS: Final = rf" +{_TIME} +{_TIME} +{_TIME} +{_TIME} +{_DECIMAL}%{_END}"
_START: Final = re.compile(r"^starting benchmark\.\.\.[ \t]*\n", re.M)
_THREAD: Final = re.compile(rf"^spawning thread #[0-9]{{1,5}}: ({_INT}) total client\(s\)\.", re.M)
_FINISHED: Final = re.compile(r"^finished in ", re.M)
_RESULTS: Final = (
    (
        "'finished in TIME, RATE req/s, SIZE/s'",
        rf"finished in {_TIME}, ({_DECIMAL}) req/s, {_SIZE}/s{_END}",
    ),
    (
        "'requests: N total, ...'",
        rf"requests: {_INT} total, {_INT} started, ({_INT}) done, {_INT} succeeded, "
        rf"({_INT}) failed, {_INT} errored, ({_INT}) timeout{_END}",
    ),
    (
        "'status codes: ...'",
        rf"status codes: {_INT} 2xx, {_INT} 3xx, ({_INT}) 4xx, ({_INT}) 5xx{_END}",
    ),
    ("'traffic: ...'", rf"traffic: {_SIZE} \(({_INT})\) total, [^\n]*\n"),
    ("the table's head", rf" +min +max +mean +sd +\+/- sd{_END}"),
    ("'time for request:'", rf"time for request:{_COLUMNS}"),
    ("'time for connect:'", rf"time for connect:{_COLUMNS}"),
    ("'time to 1st byte:'", rf"time to 1st byte:{_COLUMNS}"),
    ("'req/s           :'", r"req/s           : [^\n]*%(?=[ \t]*(?:\n|\Z))"),
)
_RESULTS_RE: Final = re.compile(joined(_RESULTS))
_FIGURE: Final = re.compile(rb"^finished in [0-9.]+[a-z]+, ([0-9]{1,15}\.[0-9]+) req/s", re.M)
_DIVISOR: Final = {"us": 1_000_000, "ms": 1_000, "s": 1}
PERCENTS: Final = (50, 75, 90, 95, 99)


def parse_h2load(data: bytes, log: bytes | None = None, argv: Sequence[str] = ()) -> Record:
    """Return the record of the one output in ``data``.

    ``log`` is the run's ``--log-file``; ``argv`` its arguments, for the schedule. Raises
    ``ParseError``: no whole output, more than one, or a log of another run.
    """
    text = decode(data)
    starts = [match.start() for match, _ in zip(_START.finditer(text), range(2), strict=False)]
    if not starts:
        raise ParseError(1, "truncated: no output of h2load found ('starting benchmark...')")
    before = text.count("\n", 0, starts[0])
    if len(starts) > 1:
        line = 1 + text.count("\n", 0, starts[1])
        raise ParseError(line, "several: a second output of h2load begins; give one at a time")
    try:
        return read_h2load(text[starts[0] :], log, argv)
    except ParseError as error:
        if error.reason.startswith("log:"):
            raise
        raise error.shifted(before) from None


def read_h2load(text: str, log: bytes | None = None, argv: Sequence[str] = ()) -> Record:
    """Return the record of ``text``, which starts with an output and holds no second one.

    Raises ``ParseError`` with the line in ``text``, or in the log where the reason begins with
    ``log``.
    """
    if not _START.match(text):
        raise ParseError(1, "truncated: begins after 'starting benchmark...'")
    finished = _FINISHED.search(text)
    if finished is None:
        line = text.count("\n") + 1
        raise ParseError(line, "truncated: ends before 'finished in' (h2load stopped early?)")
    results = _RESULTS_RE.match(text, finished.start())
    if results is None:
        raise first_mismatch(text, finished.start(), _RESULTS)
    clients = [int(match[1]) for match in _THREAD.finditer(text, 0, finished.start())]
    if not clients:
        raise ParseError(2, "unexpected: no 'spawning thread #0: N total client(s).'")
    return _record(clients, results.groups(), log, argv)


def _record(
    clients: Sequence[int], figures: Sequence[str], log: bytes | None, argv: Sequence[str]
) -> Record:
    (
        took, took_unit, rate, done, failed, timeout, status4, status5, traffic,
        least, least_unit, most, most_unit, mean, mean_unit, sd, sd_unit, *_,
    ) = figures  # fmt: skip
    requests, status = int(done), int(status4) + int(status5)
    # h2load counts a status of 400 and more as failed too, and time-outs as errored.
    lost, answered = int(failed) - status, requests > 0
    sent = Summary(
        _seconds(mean, mean_unit) if answered else None,
        _seconds(sd, sd_unit) if answered else None,
        _seconds(least, least_unit) if answered else None,
        _seconds(most, most_unit) if answered else None,
        (None,) * len(PERCENTS),
    )
    charged = Summary(None, None, None, None, (None,) * len(PERCENTS))
    if log is not None:
        sends, latencies = _of_this_run(log, requests)
        sent = _summary(latencies)
        period = period_us(argv)
        # Of a connection that was lost no place in the schedule is taken any more.
        if period is not None and not lost:
            charged = _summary(scheduled(sends, latencies, sum(clients), period))
    return Record(
        tool="h2load",
        threads=len(clients),
        connections=sum(clients),
        duration_s=_seconds(took, took_unit),
        requests=requests,
        requests_failed=lost,
        errors_timeout=int(timeout),
        errors_status=status,
        throughput_rps=float(rate),
        transfer_bytes=int(traffic),
        latency_mean_s=sent.mean_s,
        latency_sd_s=sent.sd_s,
        latency_min_s=sent.minimum_s,
        latency_p50_s=sent.quantiles_s[0],
        latency_p75_s=sent.quantiles_s[1],
        latency_p90_s=sent.quantiles_s[2],
        latency_p95_s=sent.quantiles_s[3],
        latency_p99_s=sent.quantiles_s[4],
        latency_max_s=sent.maximum_s,
        latency_corrected_mean_s=charged.mean_s,
        latency_corrected_sd_s=charged.sd_s,
        latency_corrected_p50_s=charged.quantiles_s[0],
        latency_corrected_p75_s=charged.quantiles_s[1],
        latency_corrected_p90_s=charged.quantiles_s[2],
        latency_corrected_p99_s=charged.quantiles_s[4],
    )


def _seconds(number: str, unit: str) -> float:
    return float(number) / _DIVISOR[unit]


def _of_this_run(log: bytes, done: int) -> tuple[array[int], array[int]]:
    sends, latencies = read_log(log)
    rows = log.count(b"\n")
    if rows != done:
        raise ParseError(
            1, f"log: {rows} requests, but h2load says {done} done: it is of another run"
        )
    return sends, latencies


def _summary(latencies: Sequence[int]) -> Summary:
    counted = sorted(Counter(latencies).items())
    values, counts = [value for value, _ in counted], [count for _, count in counted]
    return summarise(values, counts, PERCENTS)


def period_us(argv: Sequence[str]) -> float | None:
    """Return how often, in us, each connection asks by ``--rps``; None for a closed loop.

    >>> period_us(["h2load", "-c", "64", "--rps", "80", "http://192.0.2.1/"])
    12500.0
    """
    for option, value in pairwise(argv):
        if option == "--rps":
            try:
                rate = float(value)
            except ValueError:
                return None
            return 1e6 / rate if 0 < rate < float("inf") else None
    return None


def figure_of(stdout: bytes) -> str | None:
    """Return ``12,345 requests/s`` of an output, for a glance; None where there is none."""
    return rate_of(stdout, _FIGURE, "requests/s")


class H2load:
    """h2load as a load tool: HTTP/1.1 requests over TCP on a schedule, one thread."""

    name: Final = "h2load"
    capabilities: Final = Capabilities(
        open_loop=True, unix_sockets=False, histogram=True, inside=False
    )

    def arguments(self, load: Load) -> Invocation:
        """Return the invocation; ``ValueError`` for what h2load cannot keep to.

        A number of requests, and not ``-D``, ends the run: only then are the connections opened
        one after the other over the first period. With ``-D`` all of them ask at the same moments.
        """
        if load.rate_rps is None:
            raise ValueError("h2load: asks on a schedule; say how often (of_peak or rate_rps)")
        if load.duration_s is None:
            raise ValueError("h2load: runs for a time (duration_s), not for a number of requests")
        if load.threads != 1:
            raise ValueError(f"h2load: one thread keeps the schedule, not {load.threads}")
        if not load.keepalive:
            raise ValueError("h2load: keeps its connections; leave keepalive out or say true")
        each = load.rate_rps / load.concurrency
        if each > MOST_PER_CONNECTION:
            raise ValueError(
                f"h2load: a connection asks at most {MOST_PER_CONNECTION} times a second; "
                f"{load.rate_rps} requests/s take {-(-load.rate_rps // MOST_PER_CONNECTION)} "
                f"connections or more, not {load.concurrency}"
            )
        seconds = whole_seconds("duration_s", load.duration_s)
        apart_ms = max(1, round(1000 / load.rate_rps))
        return Invocation(
            argv=(
                "h2load", "--h1",
                "-n", str(max(1, round(each * seconds)) * load.concurrency),
                "-c", str(load.concurrency),
                "--rps", repr(each),
                "-r", str(max(1, round(load.rate_rps * apart_ms / 1000))),
                "--rate-period", f"{apart_ms}ms",
                "-N", str(whole_seconds("timeout_s", load.timeout_s)),
                "--log-file", f"{DIRECTORY}/log.tsv",
                called(self.name, load),
            ),
            files={"log": "log.tsv"},
        )  # fmt: skip

    def parse(self, stdout: bytes, files: Mapping[str, bytes], argv: Sequence[str] = ()) -> Record:
        """Return the record of one run; quantiles need the file ``log``."""
        return parse_h2load(stdout, files.get("log"), argv)

    def histogram(self, stdout: bytes, files: Mapping[str, bytes]) -> list[tuple[int, int]]:
        """Return (value in us, count) from the sending; empty if there is no log."""
        data = files.get("log")
        return [] if data is None else sorted(Counter(read_log(data)[1]).items())

    def figure(self, stdout: bytes) -> str | None:
        """Return ``12,345 requests/s``."""
        return figure_of(stdout)


TOOL: Final = H2load()
