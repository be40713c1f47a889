"""One request's way through a chain of services, from the spans that a sampled run kept.

A service's span lasts from the request's arrival to its answer; that of its asking, from sending to
the next one's answer. What of the asking the next one does not serve is on the way, or waits there.
The times are the services' own and those of the measured load, in us since the first service had
the request; on two hosts they are as good as the hosts' clocks agree.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from analysis.contrast import Cell, cells_of

SERVES: Final = "serves"
ASKS: Final = "asks the next one"
_WORDS: Final = {"server": SERVES, "client": ASKS}


@dataclass(frozen=True, slots=True)
class Span:
    """What a service did, and when: ``what`` is one of ``SERVES`` and ``ASKS``."""

    service: str
    what: str
    start_us: float
    duration_us: float


@dataclass(frozen=True, slots=True)
class Trace:
    """One request of an arm in a cell; the first span is the whole of it."""

    cell: Cell
    arm: str
    spans: tuple[Span, ...]


def find_traces(good: pd.DataFrame) -> Iterator[Trace]:
    """Yield a request for each arm that kept spans: of all runs', the one in the middle by time."""
    for cell, rows in cells_of(good[good["spans"].notna()]):
        for arm, own in rows.groupby("arm", sort=True):
            read = [spans for text in own["spans"] if (spans := _spans(json.loads(text)))]
            if read:
                read.sort(key=lambda spans: spans[0].duration_us)
                yield Trace(cell, str(arm), read[len(read) // 2])


def _spans(listed: list[dict[str, Any]]) -> tuple[Span, ...]:
    """Spans by their start; those whose times or kind are not known are left out."""
    known = [
        Span(one["service"], _WORDS[one["kind"]], one["start_us"], one["duration_us"])
        for one in listed
        if one["kind"] in _WORDS and None not in (one["start_us"], one["duration_us"])
    ]
    return tuple(sorted(known, key=lambda span: (span.start_us, -span.duration_us)))
