"""The results that sysbench prints, from its banner to the threads' fairness, as patterns.

Matches one text into ``Results``; ``sysbench.py`` says what is accepted and makes the record of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from collector.parse.record import ParseError
from collector.parse.sysbench_histogram import HEADING, PARTS, read_rows
from collector.parse.text import first_mismatch, joined, shown

MARK: Final = r"sysbench [0-9]+\.[0-9]+[^\s(]{0,30} \(using [^\n]{0,30}LuaJIT"
START: Final = re.compile(rf"^{MARK}", re.M)

# Bounded, so that no digits, however many, become an infinity or an error of int().
_INT: Final = r"[0-9]{1,18}"
_TWO: Final = r"[0-9]{1,15}\.[0-9]{2}"
_FOUR: Final = r"[0-9]{1,15}\.[0-9]{4}"
_END: Final = r"[ \t]*\n"
_BLANK: Final = ("a blank line", _END)

_BANNER: Final = re.compile(r"sysbench (1\.0\.[0-9]+[^\s(]*) \(using [^\n]*\n")
_THREADS: Final = re.compile(rf"^Number of threads: ({_INT})[ \t]*$", re.M)
# ALERT and FATAL are how sysbench calls what ends it; both stand on standard output.
_FATAL: Final = re.compile(r"^(?:FATAL|ALERT): [^\n]*", re.M)
_QUOTED: Final = 200  # characters, enough for what a database says
_CHECKPOINT: Final = re.compile(r"^\[ [0-9]+s \] Checkpoint report:", re.M)
_BODY: Final = re.compile(rf"^(?:{HEADING}|SQL statistics:|General statistics:)", re.M)


def _line(name: str, value: str) -> tuple[str, str]:
    """One line of the form ``name:   value``, as ``first_mismatch`` takes it."""
    return f"'{name}:'", rf" *{re.escape(name)}: *{value}{_END}"


def _per_second(name: str, key: str) -> tuple[str, str]:
    return _line(name, rf"(?P<{key}>{_INT}) *\((?P<{key}_rate>{_TWO}) per sec\.\)")


_STATISTICS: Final = (
    ("'SQL statistics:'", rf"SQL statistics:{_END}"),
    ("'queries performed:'", rf" *queries performed:{_END}"),
    *(_line(name, _INT) for name in ("read", "write", "other", "total")),
    _per_second("transactions", "transactions"),
    _per_second("queries", "queries"),
    _per_second("ignored errors", "ignored"),
    _per_second("reconnects", "reconnects"),
    _BLANK,
    ("'General statistics:'", rf"General statistics:{_END}"),
    _line("total time", rf"(?P<time>{_FOUR})s"),
    _line("total number of events", rf"(?P<events>{_INT})"),
    _BLANK,
    ("'Latency (ms):'", rf"Latency \(ms\):{_END}"),
    _line("min", rf"(?P<min>{_TWO})"),
    _line("avg", rf"(?P<avg>{_TWO})"),
    _line("max", rf"(?P<max>{_TWO})"),
    (
        "'99th percentile:' or 'percentile stats:'",
        rf" *(?:(?P<percent>[0-9]{{1,3}})th percentile: *(?P<percentile>{_TWO})"
        rf"|percentile stats: *disabled){_END}",
    ),
    _line("sum", rf"(?P<sum>{_TWO})"),
    _BLANK,
    ("'Threads fairness:'", rf"Threads fairness:{_END}"),
    _line("events (avg/stddev)", rf"{_FOUR}/{_TWO}"),
    # Two decimals show that the last line is whole, also without its line end.
    (
        "'execution time (avg/stddev):'",
        rf" *execution time \(avg/stddev\): *{_FOUR}/{_TWO}(?=[ \t]*(?:\n|\Z))",
    ),
)
_STATISTICS_RE: Final = re.compile(joined(_STATISTICS))
_HISTOGRAM_RE: Final = re.compile(joined(PARTS))


@dataclass(frozen=True, slots=True)
class Results:
    """What is printed: ``found`` has the named groups of the statistics, as they are printed.

    ``histogram`` is (value in us, count), empty where no transaction was made; ``None`` without
    ``--histogram``.
    """

    version: str
    threads: int
    histogram: list[tuple[int, int]] | None
    found: re.Match[str]


def match_results(text: str) -> Results:
    """Return the results in ``text``, which starts with an output and holds no second one.

    Raises ``ParseError`` with the line in ``text``.
    """
    banner = _BANNER.match(text)
    if banner is None:
        if "\n" not in text:
            raise ParseError(1, "truncated: ends before 'Running the test'")
        first = text.partition("\n")[0]
        raise ParseError(1, f"other_sysbench: {shown(first)} is not read (sysbench 1.0 is)")
    body = _BODY.search(text)
    head = text[: body.start() if body else len(text)]
    if failed := _FATAL.search(head):
        line = 1 + text.count("\n", 0, failed.start())
        raise ParseError(line, f"failed: {failed[0][:_QUOTED]!r}")
    if checkpoint := _CHECKPOINT.search(text):
        line = 1 + text.count("\n", 0, checkpoint.start())
        raise ParseError(line, "several: a checkpoint's report; run without --report-checkpoints")
    threads = _THREADS.search(head)
    if body is None:
        raise ParseError(1 + text.count("\n"), "truncated: ends before 'SQL statistics:'")
    if threads is None:
        line = 1 + text.count("\n", 0, body.start())
        raise ParseError(line, "unexpected: no line 'Number of threads: ...' before the results")
    histogram, begin = None, body.start()
    if re.match(HEADING, body[0]):
        table = _HISTOGRAM_RE.match(text, begin)
        if table is None:
            raise first_mismatch(text, begin, PARTS)
        try:
            histogram, begin = read_rows(table["rows"]), table.end()
        except ParseError as error:
            raise error.shifted(text.count("\n", 0, table.start("rows"))) from None
    found = _STATISTICS_RE.match(text, begin)
    if found is None:
        raise first_mismatch(text, begin, _STATISTICS)
    return Results(banner[1], int(threads[1]), histogram, found)
