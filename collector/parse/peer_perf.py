r"""perf bench of Linux 6.1, ``sched pipe`` and ``sched messaging`` in its default format: a cell.

>>> (cell,) = read_perf('''# Running 'sched/pipe' benchmark:
... # Executed 20000 pipe operations between two processes
...
...      Total time: 0.197 [sec]
...
...        9.898350 usecs/op
...          101026 ops/sec
... ''').cells
>>> cell.mode, cell.count, cell.message_bytes, cell.duration_s, round(cell.rate_per_s)
('latency', 20000, 4, 0.197967, 101027)
>>> (cell,) = read_perf('''# Running 'sched/messaging' benchmark:
... # 20 sender and receiver processes per group
... # 2 groups == 80 processes run
...
...      Total time: 0.244 [sec]
... ''').cells
>>> cell.mode, cell.duration_s, cell.rate_per_s
('messaging', 0.244, None)

An operation on the pipe is a round trip: an ``int`` there and one back, and the start of the
second process is in the time (``tools/perf/bench/sched-pipe.c``). Total time is cut to a
millisecond, so the time is taken from what an operation took. ``messaging`` prints the same for
sockets and (``-p``) pipes, and does not say how many messages there were. The version is not
printed.

Refused: other benchmarks, and threads in place of processes.
"""

from __future__ import annotations

import re
from typing import Final

from collector.parse.record import Cell, ParseError, Record
from collector.parse.text import first_refusal, joined, line_of, shown

PROGRAM: Final = "perf bench"
QUOTED: Final = r"Running '[a-z0-9]+/[a-z0-9_-]+' benchmark:"
MARK: Final = f"# {QUOTED}"  # where it is quoted, its own '# ' is taken for a part of that

_INT: Final = r"[0-9]{1,15}"
_END: Final = r"[ \t]*\n"
_LAST: Final = r"(?=[ \t]*(?:\n|\Z))"
_TOTAL: Final = r" +Total time: (?P<total>[0-9]{1,9}\.[0-9]{3}) \[sec\]"
_PIPE: Final = (
    ("'# Running 'sched/pipe' benchmark:'", rf"# Running 'sched/pipe' benchmark:{_END}"),
    (
        "'# Executed N pipe operations between two processes'",
        rf"# Executed (?P<count>{_INT}) pipe operations between two processes{_END}",
    ),
    ("an empty line", _END),
    ("'Total time: S [sec]'", _TOTAL + _END),
    ("an empty line", _END),
    ("'N usecs/op'", rf" +(?P<each>[0-9]{{1,12}}\.[0-9]{{6}}|inf) usecs/op{_END}"),
    ("'N ops/sec'", rf" +(?P<rate>{_INT}) ops/sec{_LAST}"),
)
_MESSAGING: Final = (
    ("'# Running 'sched/messaging' benchmark:'", rf"# Running 'sched/messaging' benchmark:{_END}"),
    (
        "'# N sender and receiver processes per group'",
        rf"# (?P<each>{_INT}) sender and receiver processes per group{_END}",
    ),
    (
        "'# N groups == N processes run'",
        rf"# (?P<groups>{_INT}) groups == (?P<processes>{_INT}) processes run{_END}",
    ),
    ("an empty line", _END),
    ("'Total time: S [sec]'", _TOTAL + _LAST),
)
_BENCHMARKS: Final = {"sched/pipe": _PIPE, "sched/messaging": _MESSAGING}
_NAME: Final = re.compile(r"# Running '([^'\n]*)'")
_FAILURE: Final = re.compile(r"^perf: [^\n]*", re.M)
_INT_BYTES: Final = 4  # what sched pipe sends, sizeof(int) on every architecture of the lab


def read_perf(text: str) -> Record:
    """Return the record of ``text``, which starts with an output and holds no second one.

    Raises ``ParseError`` with the line in ``text``.
    """
    name = _NAME.match(text)
    parts = _BENCHMARKS.get(name[1]) if name else None
    if parts is None:
        said = shown(text.partition("\n")[0])
        raise ParseError(1, f"unexpected: {said}; sched pipe and sched messaging are read")
    match = re.match(joined(parts), text)
    if match is None:
        raise first_refusal(text, parts, _FAILURE)
    cell = _pipe(match) if parts is _PIPE else _messaging(match)
    # It is told a number, so that its time says nothing of a run that was cut short.
    return Record(
        tool="peer",
        tool_version=PROGRAM,
        connections=1,
        requests=cell.count,
        cells=(cell,),
    )


def _pipe(match: re.Match[str]) -> Cell:
    count, total_s, each_us = int(match["count"]), float(match["total"]), float(match["each"])
    if not count or each_us == float("inf"):
        reason = f"no_data: {count} pipe operations of {match['each']} us"
        raise ParseError(line_of(match, "count"), reason)
    duration_s = round(count * each_us) / 1e6  # it divided whole microseconds
    # Total time is cut to milliseconds, and what an operation took is rounded.
    slack_s = 1e-6 + count * 1e-12
    if not total_s - slack_s <= duration_s < total_s + 1e-3 + slack_s or not duration_s:
        reason = f"unexpected: {count} operations of {each_us} us are not {total_s} s"
        raise ParseError(line_of(match, "each"), reason)
    rate = count / duration_s
    if abs(rate - int(match["rate"])) > 1 + rate * 1e-6 / each_us:
        reason = f"unexpected: {each_us} us an operation are not {match['rate']} a second"
        raise ParseError(line_of(match, "rate"), reason)
    return Cell(
        mode="latency",
        message_bytes=_INT_BYTES,
        state="measured",
        count=count,
        duration_s=duration_s,
        rate_per_s=rate,
    )


def _messaging(match: re.Match[str]) -> Cell:
    each, groups, processes = int(match["each"]), int(match["groups"]), int(match["processes"])
    if processes != 2 * each * groups:
        reason = f"unexpected: {groups} groups of {each} and {each} are not {processes} processes"
        raise ParseError(line_of(match, "processes"), reason)
    if not processes:
        raise ParseError(line_of(match, "processes"), "no_data: 0 processes run")
    duration_s = float(match["total"])
    if not duration_s:
        reason = "no_data: less than a millisecond; give it more groups (-g) or loops (-l)"
        raise ParseError(line_of(match, "total"), reason)
    return Cell(mode="messaging", message_bytes=None, state="measured", duration_s=duration_s)
