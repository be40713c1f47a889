"""The results that ab prints, from "Server Software:" to the longest request.

Reads one text into a ``Report``; ``ab.py`` says what is accepted and makes the record of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from collector.parse.ab_percentiles import Percentiles
from collector.parse.text import first_mismatch, joined, mismatch

# Bounded, so that no digits, however many, become an infinity or an error of int().
_INT: Final = r"([0-9]{1,18})"
_BYTES: Final = rf"{_INT} bytes"
_TWO: Final = r"[0-9]{1,15}\.[0-9]{2}"
_THREE: Final = r"[0-9]{1,15}\.[0-9]{3}"

# The keys that are read, with the whole value that ab prints. Of the two "Time per request" lines
# the first is each client's mean.
_VALUES: Final = {
    key: re.compile(value)
    for key, value in (
        ("Document Length", rf"(?:{_BYTES}|Variable)"),
        ("Concurrency Level", _INT),
        ("Time taken for tests", rf"({_THREE}) seconds"),
        ("Complete requests", _INT),
        ("Failed requests", _INT),
        ("Write errors", _INT),
        ("Non-2xx responses", _INT),
        ("Keep-Alive requests", _INT),
        ("Total transferred", _BYTES),
        ("HTML transferred", _BYTES),
        ("Requests per second", rf"({_TWO}) \[#/sec\] \(mean\)"),
        ("Time per request", rf"({_THREE}) \[ms\] \(mean\)"),
        ("Transfer rate", rf"({_TWO}) \[Kbytes/sec\] received"),
    )
}
_ALWAYS: Final = (
    "Document Length",
    "Concurrency Level",
    "Time taken for tests",
    "Complete requests",
    "Failed requests",
    "Total transferred",
    "HTML transferred",
)
_RATES: Final = ("Requests per second", "Time per request", "Transfer rate")

_KEY_LINE: Final = re.compile(r"([A-Z][A-Za-z0-9/ -]*): *(.*)")
_ACROSS: Final = re.compile(rf"{_THREE} \[ms\] \(mean, across all concurrent requests\)")
_BREAKDOWN: Final = re.compile(
    rf"   \(Connect: {_INT}, Receive: {_INT}, Length: {_INT}, Exceptions: {_INT}\)"
)
_SENT: Final = re.compile(r" {24}[0-9]+\.[0-9]{2} kb/s (?:sent|total)")

_TIMES: Final = "Connection Times (ms)"
_ROW: Final = r" *[0-9]+ +[0-9]+ +[0-9]+\.[0-9] +[0-9]+ +[0-9]+"
_TABLE: Final = (
    (f"'{_TIMES}'", r"Connection Times \(ms\)\n"),
    ("'min mean[+/-sd] median max'", r" +min +mean\[\+/-sd\] +median +max\n"),
    ("'Connect:' with five numbers", rf"Connect: {_ROW}\n"),
    ("'Processing:' with five numbers", rf"Processing: {_ROW}\n"),
    ("'Waiting:' with five numbers", rf"Waiting: {_ROW}\n"),
    (
        "'Total:' with five numbers",
        rf"Total: *{_INT} +[0-9]+ +([0-9]{{1,15}}\.[0-9]) +[0-9]+ +{_INT}\n",
    ),
    (
        "",
        r"(?:(?:WARNING|ERROR): The median and mean for [^\n]*\n(?: {7,8}[^\n]*\n)?)*",
    ),
)
# ab -S prints "%5d %5d%5d" after twelve columns, so the average and the maximum can touch. They are
# cut by width; what has outgrown it (100 s and more) is refused rather than guessed.
_WIDE: Final = r"(?:[0-9]{5}| [0-9]{4}|  [0-9]{3}|   [0-9]{2}|    [0-9])"
_SHORT_ROW: Final = r" *[0-9]+ +[0-9]+ *[0-9]+"
_SHORT_TABLE: Final = (
    _TABLE[0],
    ("'min avg max'", r" +min +avg +max\n"),
    ("'Connect:' with three numbers", rf"Connect: {_SHORT_ROW}\n"),
    ("'Processing:' with three numbers", rf"Processing: {_SHORT_ROW}\n"),
    ("", rf"(?:Waiting: {_SHORT_ROW}\n)?"),
    (
        "'Total:' with three numbers below 100000",
        rf"Total: {{6}}({_WIDE}) {_WIDE}({_WIDE})\n",
    ),
)
_TABLE_RE: Final = re.compile(joined(_TABLE))
_SHORT_TABLE_RE: Final = re.compile(joined(_SHORT_TABLE))

_SERVED_LINE: Final = "Percentage of the requests served within a certain time (ms)"
_SERVED: Final = (
    (
        f"'{_SERVED_LINE}' (ab -d leaves it out: run ab without it)",
        rf"{re.escape(_SERVED_LINE)}\n",
    ),
    *(
        (f"'{percent}%' with a number", rf"  {percent}% +{_INT}\n")
        for percent in (50, 66, 75, 80, 90, 95, 98, 99)
    ),
    ("'100%' with a number (longest request)", rf" 100% +{_INT} \(longest request\)"),
)
_SERVED_RE: Final = re.compile(joined(_SERVED))
# What ab itself prints after the times: seeing any of it is no sign that ab had ended before it.
_OWN: Final = re.compile(
    r"Percentage of|^ +[0-9]+% |\(longest request\)|^(?:WARNING|ERROR): The median", re.M
)


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of one output; seconds and bytes; ``None`` where ab does not say."""

    concurrency: int
    duration_s: float
    requests: int
    failed: int
    errors_connect: int | None
    errors_receive: int | None
    errors_length: int | None
    errors_exception: int | None
    errors_write: int | None
    errors_status: int
    keepalive: int | None
    transfer_bytes: int
    document_bytes: int | None
    throughput_rps: float | None
    transfer_bytes_per_s: float | None
    mean_s: float | None
    sd_s: float | None
    percentiles: Percentiles


def read_report(text: str, ended: bool) -> Report:
    """Return the figures of ``text``, which starts with "Server Software:".

    ``ended``: it is known from elsewhere that ab got to its end, so that an output without a table
    of percentiles is one of ``ab -d``. Raises ``ParseError`` with the line in ``text``.
    """
    # An editor may have left blanks at the ends of lines; ab prints one where a value is empty.
    text = "\n".join(line.rstrip(" \t") for line in text.split("\n"))
    values, breakdown, position = _read_keys(text)
    requests = int(values["Complete requests"])
    sd, percentiles = None, Percentiles()
    if requests:
        sd, percentiles = _read_tables(text, position, requests, ended)
    mean = values.get("Time per request")
    rate = values.get("Transfer rate")
    length = values["Document Length"]
    throughput = values.get("Requests per second")
    return Report(
        concurrency=int(values["Concurrency Level"]),
        duration_s=_thousandths(values["Time taken for tests"]) / 1000,
        requests=requests,
        failed=int(values["Failed requests"]),
        errors_connect=breakdown[0],
        errors_receive=breakdown[1],
        errors_length=breakdown[2],
        errors_exception=breakdown[3],
        errors_write=_optional(values.get("Write errors")),
        errors_status=int(values.get("Non-2xx responses", "0")),
        keepalive=_optional(values.get("Keep-Alive requests")),
        transfer_bytes=int(values["Total transferred"]),
        document_bytes=_optional(length or None),
        throughput_rps=None if throughput is None else float(throughput),
        transfer_bytes_per_s=None if rate is None else float(rate) * 1024,
        mean_s=None if mean is None else _thousandths(mean) / 1e6,
        sd_s=sd,
        percentiles=percentiles,
    )


def _thousandths(number: str) -> int:
    return int(number.replace(".", ""))


def _optional(number: str | None) -> int | None:
    return None if number is None else int(number)


_Breakdown = tuple[int | None, int | None, int | None, int | None]


def _read_keys(text: str) -> tuple[dict[str, str], _Breakdown, int]:
    """Return the keys' values, the breakdown of failures, and where the tables begin."""
    values: dict[str, str] = {}
    breakdown: _Breakdown | None = None
    position = 0
    while not text.startswith(_TIMES, position):
        end = text.find("\n", position)
        line = text[position:] if end < 0 else text[position:end]
        key = _read_line(line, values) if line.strip() else ""
        if key is None:
            counts = _BREAKDOWN.fullmatch(line)
            if counts is None and not _SENT.fullmatch(line):
                raise mismatch(text, position, f"'Key: value' or '{_TIMES}'")
            if counts is not None:
                connect, receive, length, exceptions = map(int, counts.groups())
                breakdown = (connect, receive, length, exceptions)
        # Without requests this is the last line, and its "bytes" shows that it is whole.
        if key == "HTML transferred" and values.get("Complete requests") == "0":
            break
        if end < 0:
            raise mismatch(text, position, f"'{_TIMES}'")
        if key in _VALUES and key not in values:
            expected = _VALUES[key].pattern.replace("\\", "")
            raise mismatch(text, position, f"'{key}: {expected}', once")
        position = end + 1
    return values, _complete(text, position, values, breakdown), position


def _read_line(line: str, values: dict[str, str]) -> str | None:
    """Put the value of a known key into ``values``; return the key, ``None`` if it is no key.

    A known key with a value that ab does not print, or for the second time, is left out.
    """
    match = _KEY_LINE.fullmatch(line)
    if match is None:
        return None
    key, value = match[1], match[2]
    if key == "Time per request" and _ACROSS.fullmatch(value):
        return ""
    if key in _VALUES:
        known = _VALUES[key].fullmatch(value)
        if known is None or key in values:
            values.pop(key, None)
        else:
            values[key] = known[1] or ""
    return key


def _complete(
    text: str, position: int, values: dict[str, str], breakdown: _Breakdown | None
) -> _Breakdown:
    """Refuse results that lack a line; return the breakdown, which ab omits without failures."""
    wanted: tuple[str, ...] = _ALWAYS
    if values.get("Complete requests") != "0" and values.get("Time taken for tests") != "0.000":
        wanted += _RATES
    for key in wanted:
        if key not in values:
            raise mismatch(text, position, f"'{key}:'")
    if breakdown is not None:
        return breakdown
    if values["Failed requests"] != "0":
        raise mismatch(text, position, "'(Connect: ..., Receive: ..., ...)'")
    # ab counts failed connects, but shows the number in that line only; the others are parts of
    # the failures, of which there are none.
    return None, 0, 0, 0


def _read_tables(
    text: str, position: int, requests: int, ended: bool
) -> tuple[float | None, Percentiles]:
    """Return the standard deviation (``None`` with ``-S``) and the latencies, in seconds."""
    short = " avg " in text[position : position + 64]
    match = (_SHORT_TABLE_RE if short else _TABLE_RE).match(text, position)
    if match is None:
        raise first_mismatch(text, position, _SHORT_TABLE if short else _TABLE)
    least, most = int(match[1]) / 1000, int(match[match.re.groups]) / 1000
    deviation = None if short else int(match[2].replace(".", "")) / 10_000
    begin = match.end() + text.startswith("\n", match.end())
    served = _SERVED_RE.match(text, begin)
    if served is not None:
        p50, _, p75, _, p90, p95, _, p99, most = (int(value) / 1000 for value in served.groups())
        return deviation, Percentiles(least, p50, p75, p90, p95, p99, most)
    begun = _OWN.search(text, match.end()) is not None
    followed = any(line.strip() for line in text[match.end() :].split("\n")[:-1])
    if requests == 1 or (not begun and (ended or followed)):
        return deviation, Percentiles(minimum_s=least, maximum_s=most)
    raise first_mismatch(text, begin, _SERVED)
