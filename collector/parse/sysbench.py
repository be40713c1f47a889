r"""sysbench 1.0 with a database (the ``oltp_*`` scripts): the arguments, and the record.

The formats are those of sysbench's ``src/sysbench.c``, ``src/db_driver.c`` and
``src/sb_histogram.c``. Every line from the histogram, or else "SQL statistics:", to the end must be
one that sysbench prints, in its order; before them stand its settings, intermediate reports and
what scripts print. The smallest output, without ``--histogram``:

>>> record = parse_sysbench(b'''sysbench 1.0.20 (using system LuaJIT 2.1.0-beta3)
...
... Running the test with following options:
... Number of threads: 1
... Initializing random number generator from current time
...
... Initializing worker threads...
...
... Threads started!
...
... SQL statistics:
...     queries performed:
...         read:                            22095
...         write:                           0
...         other:                           0
...         total:                           22095
...     transactions:                        22095  (22057.75 per sec.)
...     queries:                             22095  (22057.75 per sec.)
...     ignored errors:                      0      (0.00 per sec.)
...     reconnects:                          0      (0.00 per sec.)
...
... General statistics:
...     total time:                          1.0003s
...     total number of events:              22095
...
... Latency (ms):
...          min:                                    0.01
...          avg:                                    0.04
...          max:                                    4.51
...          99th percentile:                        0.14
...          sum:                                  992.38
...
... Threads fairness:
...     events (avg/stddev):           22095.0000/0.00
...     execution time (avg/stddev):   0.9924/0.00
... ''')
>>> record.requests, record.throughput_rps, record.latency_mean_s, record.latency_p99_s
(22095, 22057.75, 4.49142339895904e-05, 0.00014)

A request is a transaction (sysbench's event), of one query or of many. Latencies are printed in
hundredths of a millisecond, a fifth of a fast query, so the mean is taken from the printed sum,
and percentiles, where there is a histogram, from that (``sysbench_histogram.py``). The percentile
that sysbench itself prints is kept however few the transactions are: with a histogram it is the
same bucket in three decimals, else as printed. Smallest and largest latency are as printed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from collector.parse.histogram import summarise
from collector.parse.record import ParseError, Record
from collector.parse.sysbench_histogram import nearest_rank
from collector.parse.sysbench_report import START, Results, match_results
from collector.parse.text import decode
from collector.parse.tool import (
    INSIDE,
    Capabilities,
    Invocation,
    Load,
    check_inside,
    rate_of,
    whole_seconds,
)

_PERCENTS: Final = (50, 75, 90, 95, 99)
_FIGURE: Final = re.compile(rb"^ *transactions: *[0-9]+ *\(([0-9]{1,15}\.[0-9]+) per sec", re.M)


def parse_sysbench(data: bytes) -> Record:
    """Return the record of the one output in ``data``.

    Raises ``ParseError``: no whole output, more than one, one that says it failed, or one without
    a transaction.
    """
    text, before = _only_output(decode(data))
    try:
        return read_sysbench(text)
    except ParseError as error:
        raise error.shifted(before) from None


def _only_output(text: str) -> tuple[str, int]:
    starts = [match.start() for match, _ in zip(START.finditer(text), range(2), strict=False)]
    if not starts:
        raise ParseError(1, "truncated: no output of sysbench found ('sysbench ... (using ...')")
    if len(starts) > 1:
        line = 1 + text.count("\n", 0, starts[1])
        raise ParseError(line, "several: a second output of sysbench begins; give one at a time")
    return text[starts[0] :], text.count("\n", 0, starts[0])


def read_sysbench(text: str) -> Record:
    """Return the record of ``text``, which starts with an output and holds no second one.

    Raises ``ParseError`` with the line in ``text``.
    """
    results = match_results(text)
    _check(text, results.found, results.histogram)
    return _record(results)


def _line_of(text: str, found: re.Match[str], group: str) -> int:
    return 1 + text.count("\n", 0, found.start(group))


def _check(text: str, found: re.Match[str], histogram: list[tuple[int, int]] | None) -> None:
    """Make sure that the printed figures are of one run, and that there was one."""
    events = int(found["events"])
    line = _line_of(text, found, "events")
    if events != int(found["transactions"]):
        raise ParseError(line, f"unexpected: {events} events, {found['transactions']} transactions")
    if events == 0:
        raise ParseError(line, "no_data: sysbench made no transaction")
    mean = float(found["sum"]) / events
    if abs(mean - float(found["avg"])) > 0.0051:
        line = _line_of(text, found, "sum")
        raise ParseError(line, f"unexpected: the sum over {events} is {mean:.3f} ms, not the avg")
    if histogram is None:
        return
    samples = sum(count for _, count in histogram)
    if samples != events:
        raise ParseError(line, f"histogram: {samples} samples, but {events} events")
    if found["percentile"] and int(found["percent"]) in _PERCENTS:
        value_ms = nearest_rank(histogram, int(found["percent"])) / 1e3
        # Both were rounded, to three decimals and to two.
        if abs(value_ms - float(found["percentile"])) > 0.0056:
            line = _line_of(text, found, "percentile")
            raise ParseError(line, f"histogram: this percentile is {value_ms:.3f} ms there")


def _record(results: Results) -> Record:
    found = results.found
    quantiles = _quantiles(results.histogram, found)
    return Record(
        tool="sysbench",
        tool_version=results.version,
        threads=results.threads,
        duration_s=float(found["time"]),
        requests=int(found["events"]),
        errors_ignored=int(found["ignored"]),
        errors_reconnect=int(found["reconnects"]),
        throughput_rps=float(found["transactions_rate"]),
        latency_mean_s=_seconds(found["sum"], int(found["events"])),
        latency_min_s=_seconds(found["min"]),
        latency_p50_s=quantiles[50],
        latency_p75_s=quantiles[75],
        latency_p90_s=quantiles[90],
        latency_p95_s=quantiles[95],
        latency_p99_s=quantiles[99],
        latency_max_s=_seconds(found["max"]),
    )


def _seconds(milliseconds: str, shared_by: int = 1) -> float:
    """Two decimals of a millisecond as seconds; as whole numbers, for one rounding only."""
    return int(milliseconds.replace(".", "")) / (100_000 * shared_by)


def _quantiles(
    histogram: list[tuple[int, int]] | None, found: re.Match[str]
) -> dict[int, float | None]:
    quantiles: dict[int, float | None] = dict.fromkeys(_PERCENTS)
    if histogram is not None:
        values, counts = zip(*histogram, strict=True)
        own = summarise(values, counts, _PERCENTS).quantiles_s
        quantiles.update(zip(_PERCENTS, own, strict=True))
    percent = int(found["percent"] or 0)
    if percent in quantiles:
        quantiles[percent] = (
            _seconds(found["percentile"])
            if histogram is None
            else nearest_rank(histogram, percent) / 1e6
        )
    return quantiles


class Sysbench:
    """sysbench as a load tool: a closed loop, one thread a connection, for a time or transactions.

    The script ``/local/load`` in the container fixes database, tables and the ``oltp_*`` script,
    ``--histogram`` and ``--percentile=99``.
    """

    name: Final = "sysbench"
    capabilities: Final = Capabilities(
        open_loop=False, unix_sockets=True, histogram=True, inside=True
    )

    def arguments(self, load: Load) -> Invocation:
        """Return the invocation; ``ValueError`` for a URL, odd threads, too few requests.

        ``timeout_s`` has no meaning: sysbench waits for its database.
        """
        check_inside(self.name, load)
        if load.requests is not None and load.requests < load.concurrency:
            raise ValueError(
                f"sysbench: {load.requests} requests are fewer than {load.concurrency} threads"
            )
        extent = (
            (f"--events={load.requests}", "--time=0")
            if load.duration_s is None
            else (f"--time={whole_seconds('duration_s', load.duration_s)}",)
        )
        return Invocation(argv=(INSIDE, f"--threads={load.concurrency}", *extent))

    def parse(self, stdout: bytes, files: Mapping[str, bytes], argv: Sequence[str] = ()) -> Record:
        """Return the record of one run; sysbench writes no files."""
        return parse_sysbench(stdout)

    def histogram(self, stdout: bytes, files: Mapping[str, bytes]) -> list[tuple[int, int]]:
        """Return (value in us, count) as printed; empty without ``--histogram``."""
        text, before = _only_output(decode(stdout))
        try:
            return match_results(text).histogram or []
        except ParseError as error:
            raise error.shifted(before) from None

    def figure(self, stdout: bytes) -> str | None:
        """Return ``1,234 transactions/s``."""
        return rate_of(stdout, _FIGURE, "transactions/s")


TOOL: Final = Sysbench()
