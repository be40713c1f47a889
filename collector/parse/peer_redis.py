r"""redis-benchmark 7.0 with ``--csv -t set,get -c 1``: a cell for each of the two tests.

>>> record = read_redis('''"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms",\
... "p95_latency_ms","p99_latency_ms","max_latency_ms"
... "SET","37037.04","0.021","0.008","0.023","0.055","0.111","3.207"
... "GET","41152.26","0.019","0.008","0.023","0.023","0.087","8.535"
... ''')
>>> [(cell.mode, cell.rate_per_s, cell.latency_p50_s) for cell in record.cells]
[('set', 37037.04, 2.3e-05), ('get', 41152.26, 2.3e-05)]

A latency is a round trip: a command and its answer. The program sorts latencies into classes of
8 us (``hdr_init`` from 10 us, in ``src/redis-benchmark.c``) and prints the end of one, so the rate
is what short round trips are compared by. It prints neither its version, nor how many requests it
made, nor the size of a value. Its rate is over whole milliseconds: ``inf`` below one.

Refused: other tests, and rows that more than one connection made.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final

from collector.parse.record import Cell, ParseError, Record
from collector.parse.text import first_refusal, joined, line_of

PROGRAM: Final = "redis-benchmark"
# What it says on standard error stands before the head where both go to one file.
_GONE: Final = r"Could not connect to Redis at [^\n]*"
MARK: Final = (
    rf'"test","rps",|{_GONE}(?:\n(?:Could not connect|WARNING: )[^\n]*)*(?:\n"test","rps",)?'
)
QUOTED: Final = r'"test","rps",|Could not connect to Redis at '

_TESTS: Final = ("SET", "GET")
_COLUMNS: Final = ("min", "p50", "p95", "p99", "max")
_RATE: Final = r"[0-9]{1,12}\.[0-9]{2}|inf"
_MS: Final = r"[0-9]{1,9}\.[0-9]{3}"
_FAILURE: Final = re.compile(rf"^(?:{_GONE}|Error(?: from server)?: [^\n]*)", re.M)
# The mean is told to half a class, and the rate of a short run to a millisecond.
_HALF_A_CLASS_S: Final = 4.5e-6
_MOST_AT_ONCE: Final = 1.5


def _row(test: str) -> str:
    latencies = "".join(rf',"(?P<{test}_{name}>{_MS})"' for name in ("mean", *_COLUMNS))
    return rf'"{test}","(?P<{test}>{_RATE})"{latencies}'


_OUTPUT: Final = (
    (
        'the head \'"test","rps",...\'',
        '"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms",'
        '"p99_latency_ms","max_latency_ms"[ \\t]*\\n',
    ),
    ('the row of "SET"', rf"{_row('SET')}[ \t]*\n"),
    ('the row of "GET"', rf"{_row('GET')}(?=[ \t]*(?:\n|\Z))"),
)
_OUTPUT_RE: Final = re.compile(joined(_OUTPUT))
_ANOTHER: Final = re.compile(r'[ \t]*\n"')


def read_redis(text: str) -> Record:
    """Return the record of ``text``, which starts with an output and holds no second one.

    Raises ``ParseError`` with the line in ``text``.
    """
    match = _OUTPUT_RE.match(text)
    if match is None:
        raise first_refusal(text, _OUTPUT, _FAILURE)
    if _ANOTHER.match(text, match.end()):
        raise ParseError(line_of(match, "GET") + 1, "unexpected: a row after those of SET and GET")
    cells = tuple(_cell(match, test) for test in _TESTS)
    return Record(tool="peer", tool_version=PROGRAM, connections=1, cells=cells)


def _cell(match: re.Match[str], test: str) -> Cell:
    line, rate = line_of(match, test), float(match[test])
    if not 0 < rate < float("inf"):
        raise ParseError(line, f"no_data: {match[test]} requests/s of {test}; give it a larger -n")
    seconds = [float(match[f"{test}_{name}"]) / 1e3 for name in _COLUMNS]
    if any(left > right for left, right in pairwise(seconds)):
        raise ParseError(line, f"unexpected: the latencies of {test} do not rise from min to max")
    mean_s = float(match[f"{test}_mean"]) / 1e3
    if not seconds[0] <= mean_s <= seconds[-1]:
        raise ParseError(line, f"unexpected: the mean of {test} is not between min and max")
    at_once = rate * (mean_s - _HALF_A_CLASS_S)
    if at_once > _MOST_AT_ONCE:
        reason = f"unexpected: {at_once:.1f} requests of {test} at once; have one connection (-c 1)"
        raise ParseError(line, reason)
    least, median, _, slow, most = seconds
    return Cell(
        mode=test.lower(),
        message_bytes=None,
        state="measured",
        rate_per_s=rate,
        latency_min_s=least,
        latency_p50_s=median,
        latency_p99_s=slow,
        latency_max_s=most,
    )
