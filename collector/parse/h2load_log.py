r"""The file of ``h2load --log-file``: every request, and what it cost by the schedule.

A line a request, in the order of their ends: when it was sent (us since 1970), its status (-1 where
none came), us from there to the end of the answer:

>>> sent, latency = read_log(b"1795348037621626\t200\t419\n1795348037621634\t503\t451\n")
>>> list(sent), list(latency)
([1795348037621626, 1795348037621634], [419, 451])

h2load sends late where a connection is still waiting for an answer, and the log counts from the
sending. A caller who came on time waited longer: ``scheduled`` says how long.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Final

from collector.parse.record import ParseError

ON_TIME: Final = 0.1  # the share of its sendings by which a place in the schedule is known
_LARGEST: Final = 2**53  # us; every whole number below is a float


def read_log(data: bytes) -> tuple[array[int], array[int]]:
    """Return when each request was sent, in us since 1970, and its latency in us, by sending.

    Requests without an answer are left out. Raises ``ParseError`` with the line of this file.
    """
    rows = data.count(b"\n")
    numbers = data.split()
    shape = data.replace(b"\t-1\t", b"\t1\t").translate(None, b"0123456789")
    if shape != b"\t\t\n" * rows or len(numbers) != 3 * rows:
        raise _refusal(data)
    try:
        found = sorted(
            (int(sent), int(took))
            for sent, status, took in zip(numbers[0::3], numbers[1::3], numbers[2::3], strict=True)
            if status != b"-1"
        )
    except ValueError:  # int() takes 4,300 digits and no more
        raise ParseError(1, "log: a number of thousands of digits") from None
    if any(max(row) > _LARGEST for row in found):
        raise ParseError(1, f"log: numbers above {_LARGEST}")
    return array("q", [sent for sent, _ in found]), array("q", [took for _, took in found])


def _refusal(data: bytes) -> ParseError:
    lines = data.split(b"\n")
    for number, line in enumerate(lines[:-1], 1):
        fields = line.split(b"\t")
        if len(fields) != 3 or not all(one.isdigit() for one in (fields[0], fields[2])):
            return ParseError(number, "log: expected sent_us<TAB>status<TAB>latency_us")
        if not (fields[1].isdigit() or fields[1] == b"-1"):
            return ParseError(number, "log: expected a status or -1 in the second column")
    return ParseError(len(lines), "log: truncated: the last line does not end")


def scheduled(
    sent: Sequence[int], latency: Sequence[int], connections: int, period_us: float
) -> list[int]:
    """Return each latency charged from when its request was due, in us.

    ``sent`` rises, in us; each of the ``connections`` asks once a ``period_us``. The log does not
    say which connection a request was on, so the schedule is taken as one queue: in every period
    there are as many places as connections, the n-th request sent belongs to the n-th place, and a
    place is due at the same moment of every period. When that is shows in the periods in which it
    was on time: the first decile of its sendings (the first of all would be one that h2load sent
    early; its timers are of milliseconds, so that half a millisecond is charged to every request).
    Of one queue the sum of the waits is exact, and their spread a little less than it was.

    Source: coordinated omission, G. Tene, "How NOT to Measure Latency"; h2load's schedule,
    ``rps_cb`` in its source.
    """
    due = [
        _first_decile(
            [sent[n] - n // connections * period_us for n in range(k, len(sent), connections)]
        )
        for k in range(min(connections, len(sent)))
    ]
    return [
        took + max(0, round(at - (due[n % connections] + n // connections * period_us)))
        for n, (at, took) in enumerate(zip(sent, latency, strict=True))
    ]


def _first_decile(moments: list[float]) -> float:
    return sorted(moments)[int(len(moments) * ON_TIME)]
