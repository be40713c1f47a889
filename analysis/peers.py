"""Programs of others beside ours: do they say the same of the same two mechanisms?

The newest campaign of the experiment ``ipc-peers`` in the same dataset stands beside a campaign of
``ipc`` on the same hosts and CPUs. Absolute figures differ by what each program does for a message,
so what is compared is the ratio of two mechanisms on one host. Theirs and ours are called agreeing
where they differ by no more than ``BAND``, as estimated; the intervals stand beside. A program that
knows one mechanism only stands beside ours with its figure, and one whose figures are of work of
its own (stress-ng) with the order in which it puts the mechanisms.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pandas as pd

from analysis.metric import MESSAGES, PRIMARY, ROUND_TRIPS
from analysis.verdict import Verdict

OURS: Final = "ipc"
THEIRS: Final = "ipc-peers"
BAND: Final = 0.15
_SMALL: Final = "64 B"
_MIDDLE: Final = "4,096 B"
_LARGE: Final = "32,768 B"

# Tool, arm and baseline there; tool, size, arm and baseline here.
_RATIOS: Final = (
    ("peer-get", "redis-unix", "redis-tcp", ROUND_TRIPS, _SMALL, "unix-stream", "tcp"),
    ("peer-set", "redis-unix", "redis-tcp", ROUND_TRIPS, _SMALL, "unix-stream", "tcp"),
    ("peer-latency", "sockperf-udp", "sockperf-tcp", ROUND_TRIPS, _SMALL, "udp", "tcp"),
)
# Tool and arm there; tool, size and arm here. All are counted a second.
_FIGURES: Final = (
    ("peer-get", "redis-tcp", ROUND_TRIPS, _SMALL, "tcp"),
    ("peer-latency", "sockperf-tcp", ROUND_TRIPS, _SMALL, "tcp"),
    ("peer-latency", "sockperf-udp", ROUND_TRIPS, _SMALL, "udp"),
    ("peer-latency", "perf-pipe", ROUND_TRIPS, _SMALL, "pipe"),
    ("peer-throughput", "iperf3-tcp", MESSAGES, _LARGE, "tcp"),
)
_ORDERED: Final = {
    "stress-ng-pipe": "pipe",
    "stress-ng-mq": "posix-queue",
    "stress-ng-msg": "system-v-queue",
    "stress-ng-sockpair": "unix-stream",
    "stress-ng-udp": "udp",
}


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two verdicts on the same two mechanisms, theirs and ours, each with its interval.

    ``off``: their ratio over ours, less one.
    """

    theirs: Verdict
    ours: Verdict
    off: float

    @property
    def agrees(self) -> bool:
        """Whether the ratios are within ``BAND`` of each other, whichever is the larger."""
        return 1 / (1 + BAND) <= 1 + self.off <= 1 + BAND


@dataclass(frozen=True, slots=True)
class Beside:
    """Medians a second of one mechanism on a host: their program's, and ours."""

    host: str
    arm: str
    theirs: float
    mechanism: str
    what: str
    ours: float


@dataclass(frozen=True, slots=True)
class Order:
    """Mechanisms from the fastest: by their program, and by ours, which sends 4 KiB.

    ``alike`` of ``pairs`` pairs of mechanisms stand in the same order.
    """

    host: str
    theirs: tuple[str, ...]
    ours: tuple[str, ...]
    alike: int
    pairs: int


@dataclass(frozen=True, slots=True)
class Peers:
    """What a campaign of theirs says beside ours."""

    campaign: str
    band: float
    agreements: tuple[Agreement, ...]
    beside: tuple[Beside, ...]
    orders: tuple[Order, ...]


def compare_peers(
    campaign: str, theirs: Sequence[Verdict], ours: Sequence[Verdict],
    their_medians: pd.DataFrame, our_medians: pd.DataFrame,
) -> Peers:  # fmt: skip
    """Put the two campaigns' verdicts and medians beside each other, host by host."""
    return Peers(
        campaign,
        BAND,
        tuple(_agreements(theirs, ours)),
        tuple(_beside(their_medians, our_medians)),
        tuple(_orders(their_medians, our_medians)),
    )


def _agreements(theirs: Iterable[Verdict], ours: Sequence[Verdict]) -> Iterator[Agreement]:
    for one in theirs:
        for tool, arm, base, our_tool, size, our_arm, our_base in _RATIOS:
            if (one.cell.tool, one.arm, one.baseline, one.metric) != (tool, arm, base, PRIMARY):
                continue
            for other in ours:
                cell = (other.cell.host, other.cell.tool, other.cell.offered, other.cell.variant)
                named = (other.arm, other.baseline, other.metric)
                if cell == (one.cell.host, our_tool, size, "") and named == (
                    our_arm, our_base, PRIMARY,
                ) and one.ratio and other.ratio:  # fmt: skip
                    yield Agreement(one, other, one.ratio / other.ratio - 1)


def _rates(medians: pd.DataFrame) -> dict[tuple[str, str, str, str], float]:
    """(host, tool, size, arm) -> median a second."""
    own = medians[(medians["metric"] == PRIMARY) & (medians["copy"] == "a")]
    return {
        (cell.host, cell.tool, cell.offered, str(arm)): float(median)
        for cell, arm, median in zip(own["cell"], own["arm"], own["median"], strict=True)
    }


def _beside(theirs: pd.DataFrame, ours: pd.DataFrame) -> Iterator[Beside]:
    here = _rates(ours)
    for (host, their_tool, _, their_arm), rate in _rates(theirs).items():
        for tool, arm, our_tool, size, our_arm in _FIGURES:
            own = here.get((host, our_tool, size, our_arm))
            if (tool, arm) == (their_tool, their_arm) and own is not None:
                yield Beside(host, arm, rate, our_arm, f"{our_tool}, {size}", own)


def _orders(theirs: pd.DataFrame, ours: pd.DataFrame) -> Iterator[Order]:
    here = _rates(ours)
    of_host: dict[str, dict[str, tuple[float, float]]] = {}
    for (host, _, _, arm), rate in _rates(theirs).items():
        name = _ORDERED.get(arm)
        own = here.get((host, MESSAGES, _MIDDLE, name or ""))
        if name and own is not None:
            of_host.setdefault(host, {})[name] = (rate, own)
    for host, rates in of_host.items():
        pairs = list(itertools.combinations(rates.values(), 2))
        if pairs:
            alike = sum((one[0] > two[0]) == (one[1] > two[1]) for one, two in pairs)
            by_theirs, by_ours = (_from_the_fastest(rates, which) for which in (0, 1))
            yield Order(host, by_theirs, by_ours, alike, len(pairs))


def _from_the_fastest(rates: Mapping[str, tuple[float, float]], which: int) -> tuple[str, ...]:
    return tuple(sorted(rates, key=lambda name: -rates[name][which]))
