r"""sockperf 3.7, ``ping-pong --full-rtt`` over TCP or UDP: one cell.

>>> (cell,) = read_sockperf('''sockperf: == version #3.7-no.git ==
... sockperf[CLIENT] send on:sockperf: using recvfrom() to block on socket(s)
...
... [ 0] IP = 127.0.0.1       PORT = 18311 # TCP
... sockperf: Warmup stage (sending a few dummy messages)...
... sockperf: Starting test...
... sockperf: Test end (interrupted by timer)
... sockperf: Test ended
... sockperf: [Total Run] RunTime=1.000 sec; Warm up time=400 msec; SentMessages=26996; \
... ReceivedMessages=26995
... sockperf: ========= Printing statistics for Server No: 0
... sockperf: [Valid Duration] RunTime=0.550 sec; SentMessages=10566; ReceivedMessages=10566
... sockperf: ====> avg-rtt=52.001 (std-dev=313.077)
... sockperf: # dropped messages = 0; # duplicated messages = 0; # out-of-order messages = 0
... sockperf: Summary: Round trip is 52.001 usec
... sockperf: Total 10566 observations; each percentile contains 105.66 observations
... sockperf: ---> <MAX> observation = 16147.960
... sockperf: ---> percentile 99.999 = 16147.960
... sockperf: ---> percentile 99.990 = 6843.951
... sockperf: ---> percentile 99.900 = 4007.877
... sockperf: ---> percentile 99.000 =  820.383
... sockperf: ---> percentile 90.000 =   27.200
... sockperf: ---> percentile 75.000 =   21.041
... sockperf: ---> percentile 50.000 =   20.430
... sockperf: ---> percentile 25.000 =   19.969
... sockperf: ---> <MIN> observation =   18.487
... ''').cells
>>> cell.count, cell.latency_p50_s, cell.latency_p99_s, cell.lost
(10566, 2.043e-05, 0.000820383, 0)

With ``--full-rtt`` it says ``rtt`` and ``Round trip``; without, ``latency``, which is half of one,
and is refused. Of the time that it ran, 400 ms at the start and 50 ms at the end are not in its
figures (Valid Duration). It does not print the size of a message. ``lost`` are messages that were
dropped, came twice or out of their order. The standard deviation is the record's: a cell has none.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final

from collector.parse.record import Cell, ParseError, Record
from collector.parse.text import first_refusal, joined, line_of

PROGRAM: Final = "sockperf"
MARK: Final = r"sockperf: == version #"
QUOTED: Final = MARK

_INT: Final = r"[0-9]{1,15}"
_SECONDS: Final = r"[0-9]{1,9}\.[0-9]{3}"
_US: Final = r"[0-9]{1,12}\.[0-9]{3}"
_END: Final = r"[ \t]*\n"
_QUANTILES: Final = ("99.999", "99.990", "99.900", "99.000", "90.000", "75.000", "50.000", "25.000")
_HALF: Final = re.compile(r"^sockperf: ====> avg-latency=", re.M)
_EMPTY: Final = re.compile(r"^sockperf: No valid observations found", re.M)
_FAILURE: Final = re.compile(
    r"^sockperf: (?:ERROR: |No messages were |Test end \(interrupted by (?:user|signal))[^\n]*",
    re.M,
)


def _said(expected: str, pattern: str) -> tuple[str, str]:
    return expected, rf"sockperf: {pattern}{_END}"


def _quantile(percent: str) -> tuple[str, str]:
    name = percent.partition(".")
    pattern = rf"---> percentile {re.escape(percent)} = +(?P<p{name[0]}_{name[2]}>{_US})"
    expected, line = _said(f"'percentile {percent}'", pattern)
    # Of a single observation there is no lower quarter.
    return expected, f"(?:{line})?" if percent == "25.000" else line


_OUTPUT: Final = (
    _said("'== version #'", r"== version #(?P<version>[0-9][0-9A-Za-z.+~-]{0,40}) =="),
    ("'sockperf[CLIENT] send on:'", rf"sockperf\[CLIENT\] send on:[^\n]*{_END}"),
    ("an empty line", _END),
    ("'[ 0] IP = ...'", rf"\[ 0\] IP = [^\n]*# (?:TCP|UDP){_END}"),
    _said("'Warmup stage'", r"Warmup stage \(sending a few dummy messages\)\.\.\."),
    _said("'Starting test...'", r"Starting test\.\.\."),
    _said("'Test end (interrupted by timer)'", r"Test end \(interrupted by timer\)"),
    _said("'Test ended'", "Test ended"),
    _said(
        "'[Total Run] ...'",
        rf"\[Total Run\] RunTime={_SECONDS} sec; Warm up time={_INT} msec; SentMessages={_INT}; "
        rf"ReceivedMessages={_INT}",
    ),
    _said("'Printing statistics for Server No: 0'", "=+ Printing statistics for Server No: 0"),
    _said(
        "'[Valid Duration] ...'",
        rf"\[Valid Duration\] RunTime=(?P<seconds>{_SECONDS}) sec; SentMessages=(?P<sent>{_INT}); "
        rf"ReceivedMessages=(?P<count>{_INT})",
    ),
    _said("'====> avg-rtt=...'", rf"====> avg-rtt=(?P<mean>{_US}) \(std-dev=(?P<sd>{_US})\)"),
    _said(
        "'# dropped messages = ...'",
        rf"# dropped messages = (?P<dropped>{_INT}); # duplicated messages = (?P<twice>{_INT}); "
        rf"# out-of-order messages = (?P<late>{_INT})",
    ),
    _said("'Summary: Round trip is ...'", rf"Summary: Round trip is (?P<summary>{_US}) usec"),
    _said(
        "'Total N observations'",
        rf"Total (?P<total>{_INT}) observations; each percentile contains "
        rf"(?P<hundredth>{_INT}\.[0-9]{{2}}) observations",
    ),
    _said("'<MAX> observation'", rf"---> <MAX> observation = +(?P<most>{_US})"),
    *map(_quantile, _QUANTILES),
    (
        "'<MIN> observation'",
        rf"sockperf: ---> <MIN> observation = +(?P<least>{_US})(?=[ \t]*(?:\n|\Z))",
    ),
)
_OUTPUT_RE: Final = re.compile(joined(_OUTPUT))


def read_sockperf(text: str) -> Record:
    """Return the record of ``text``, which starts with an output and holds no second one.

    Raises ``ParseError`` with the line in ``text``.
    """
    match = _OUTPUT_RE.match(text)
    if match is None:
        raise _refusal(text)
    count, seconds = int(match["count"]), float(match["seconds"])
    _check_counts(match, count)
    _check_latencies(match, count, seconds)
    cell = Cell(
        mode="latency",
        message_bytes=None,
        state="measured",
        count=count,
        lost=int(match["dropped"]) + int(match["twice"]) + int(match["late"]),
        duration_s=seconds,
        rate_per_s=count / seconds,
        latency_mean_s=_us(match, "mean") / 1e6,
        latency_min_s=_us(match, "least") / 1e6,
        latency_p50_s=_us(match, "p50_000") / 1e6,
        latency_p90_s=_us(match, "p90_000") / 1e6,
        latency_p99_s=_us(match, "p99_000") / 1e6,
        latency_max_s=_us(match, "most") / 1e6,
    )
    return Record(
        tool="peer",
        tool_version=f"{PROGRAM} {match['version']}",
        connections=1,
        duration_s=seconds,
        requests=count,
        latency_mean_s=cell.latency_mean_s,
        latency_sd_s=_us(match, "sd") / 1e6,
        cells=(cell,),
    )


def _us(match: re.Match[str], group: str) -> float:
    return float(match[group])


def _refusal(text: str) -> ParseError:
    for pattern, reason in (
        (_HALF, "unexpected: a latency here is half a round trip; run sockperf with --full-rtt"),
        (_EMPTY, "no_data: no valid observations; give it a longer --time"),
    ):
        if found := pattern.search(text):
            return ParseError(1 + text.count("\n", 0, found.start()), reason)
    return first_refusal(text, _OUTPUT, _FAILURE)


def _check_counts(match: re.Match[str], count: int) -> None:
    if not count or not float(match["seconds"]):
        raise ParseError(line_of(match, "count"), "no_data: no message in any measured time")
    sent, dropped, late = int(match["sent"]), int(match["dropped"]), int(match["late"])
    if not count + dropped <= sent <= count + dropped + late:
        reason = f"unexpected: {count} received, {dropped} dropped, {late} late of {sent} sent"
        raise ParseError(line_of(match, "dropped"), reason)
    if int(match["total"]) != count or match["hundredth"] != f"{count / 100:.2f}":
        reason = f"unexpected: {count} messages, and not as many observations"
        raise ParseError(line_of(match, "total"), reason)


def _check_latencies(match: re.Match[str], count: int, seconds: float) -> None:
    falling = ["most", *(f"p{percent.replace('.', '_')}" for percent in _QUANTILES), "least"]
    known = [name for name in falling if match[name] is not None]
    for above, below in pairwise(known):
        if _us(match, below) > _us(match, above):
            raise ParseError(line_of(match, below), "unexpected: a value above the one before")
    mean, line = _us(match, "mean"), line_of(match, "mean")
    if not _us(match, "least") <= mean <= _us(match, "most"):
        raise ParseError(line, "unexpected: the mean is not between MIN and MAX")
    if match["summary"] != match["mean"]:
        raise ParseError(line_of(match, "summary"), f"unexpected: avg-rtt is {match['mean']} usec")
    # One message is under way at a time. Both were rounded to three decimals.
    if count * (mean - 6e-4) / 1e6 > seconds + 6e-4:
        reason = f"unexpected: {count} round trips of {mean} us do not fit into {seconds} s"
        raise ParseError(line, reason)
