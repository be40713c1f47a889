"""One request's way through a chain of services, from the spans that a sampled run kept.

A service's span lasts from the request's arrival to its answer; that of its asking, from sending to
the next one's answer. What of the asking the next one does not serve is on the way, or waits there.
The times are the services' own and those of the measured load, in us since the first service had
the request; on two hosts they are as good as the hosts' clocks agree.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
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
    """The whole, then each service's further down the chain; nothing where the whole is not known.

    A start says nothing of who asked whom: on two hosts one clock may be behind by more than a hop.
    Spans whose times or kind are not known are left out.
    """
    parents = {one["span"]: one["parent"] for one in listed}
    known = [
        (_depth(one["span"], parents), one["start_us"], -one["duration_us"], one)
        for one in listed
        if one["kind"] in _WORDS and None not in (one["start_us"], one["duration_us"])
    ]
    known.sort(key=lambda placed: placed[:3])
    if not known or known[0][0] > 0:
        return ()
    return tuple(
        Span(one["service"], _WORDS[one["kind"]], one["start_us"], one["duration_us"])
        for *_, one in known
    )


def _depth(span: str, parents: Mapping[str, str | None]) -> int:
    """How many spans of the request are above one; a circle has no end, and no whole."""
    above: set[str] = set()
    parent = parents[span]
    while parent is not None and parent in parents and parent not in above:
        above.add(parent)
        parent = parents[parent]
    return len(above)
