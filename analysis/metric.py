"""The metrics that are contrasted: name, words, display unit, direction; by load tool.

What a tool counts decides the words: requests (wrk, ab, fortio, h2load, inside a deployment too),
transactions (sysbench), messages (stream, ipc's throughput, serialisation), round trips and
connections (ipc). In an open loop
(h2load) the rate is given, and latency, charged from the schedule, is what is asked; of what is
timed one by one, as a round trip is, it is the median, and of a format's work the mean: the largest
messages are too few for a quantile, and what stands between them is nothing but the program's own
work. A message of 64 bytes and one of 64 KiB are not the same work, so where bytes go one way CPU
is given per MB of payload (10^6 bytes).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

PRIMARY: Final = "throughput_rps"
STREAM: Final = "stream"
OPEN_LOOP: Final = "h2load"
ROUND_TRIPS: Final = "ipc-latency"
CONNECTIONS: Final = "ipc-connect"
MESSAGES: Final = "ipc-throughput"
ENCODINGS: Final = "serialisation-encode"
DECODINGS: Final = "serialisation-decode"
EXCHANGES: Final = "serialisation-exchange"
BY_MEAN: Final = frozenset({ENCODINGS, DECODINGS, EXCHANGES})
ONE_WAY: Final = frozenset({STREAM, MESSAGES})
# What is timed one by one, and how that is called.
ONE_BY_ONE: Final = {
    ROUND_TRIPS: "round trip",
    CONNECTIONS: "connection set-up",
    ENCODINGS: "encoding",
    DECODINGS: "decoding",
    EXCHANGES: "exchange",
}
OF_CELLS: Final = frozenset({*ONE_BY_ONE, MESSAGES})  # parts of a run (analysis.cells)
PARTED: Final = frozenset(tool.partition("-")[0] for tool in OF_CELLS)  # what runs them
PEER: Final = "peer-"  # of other people's programs, each of which says what it says
MB: Final = 1e6


@dataclass(frozen=True, slots=True)
class Metric:
    """One value a run. ``scale`` turns the stored unit into ``unit``, the one that is shown.

    ``higher_is_better``: None where nobody has said.

    ``optional``: the tool's output does not always say it; where it never does, nothing is shown.
    ``precise``: the half-width, in log units, at which a campaign need not measure it any further;
    None where it is not what a campaign is run for.
    """

    name: str
    label: str
    unit: str
    scale: float
    higher_is_better: bool | None
    caveat: str = ""
    optional: bool = False
    precise: float | None = None

    @property
    def words(self) -> str:
        """Name for a sentence: ``requests/s``, ``p50 latency``."""
        return self.unit if self.name == PRIMARY else self.label


@dataclass(frozen=True, slots=True)
class Words:
    """What a tool counts (``work``), over what at once (``flow``), what its CPU is given per."""

    work: str
    flow: str
    cpu_per: str


_REQUESTS: Final = Words("request", "connection", "request")
_OPERATIONS: Final = Words("operation", "pair", "operation")
_WORDS: Final = {
    "sysbench": Words("transaction", "thread", "transaction"),
    STREAM: Words("message", "flow", "MB"),
    **dict.fromkeys(PARTED, Words("run", "pair", "run")),
    MESSAGES: Words("message", "pair", "MB"),
    ROUND_TRIPS: Words("round trip", "pair", "round trip"),
    CONNECTIONS: Words("connection", "pair", "connection"),
    ENCODINGS: Words("message", "pair", "message"),
    DECODINGS: Words("message", "pair", "message"),
    EXCHANGES: Words("exchange", "pair", "exchange"),
    f"{PEER}latency": Words("round trip", "pair", "round trip"),
    f"{PEER}throughput": Words("message", "pair", "message"),
}
CLOSED_LOOP: Final = "closed loop: not a fair tail comparison across arms whose throughput differs"


# What is asked of an open loop: how long a caller waits who comes on the schedule.
_ON_SCHEDULE: Final = (
    Metric("latency_corrected_p99_s", "p99 latency", "us", 1e6, False, precise=0.05),
    Metric("latency_corrected_p50_s", "p50 latency", "us", 1e6, False, precise=0.02),
    Metric("latency_p99_s", "p99 from the sending", "us", 1e6, False),
    Metric("cpu_per_request_s", "CPU per request", "us", 1e6, False),
)


def words_of(tool: str) -> Words:
    """What ``tool`` counts; a tool that is not known counts requests."""
    return _WORDS.get(tool, _OPERATIONS if tool.startswith(PEER) else _REQUESTS)


def metrics_of(tool: str) -> tuple[Metric, ...]:
    """The metrics of a tool's cells, the primary one first."""
    words = words_of(tool)
    rate = Metric(PRIMARY, "throughput", f"{words.work}s/s", 1.0, True, precise=0.02)
    if tool == OPEN_LOOP:
        return (*_ON_SCHEDULE, dataclasses.replace(rate, precise=None))
    if what := ONE_BY_ONE.get(tool):
        which, name = ("mean", "latency_mean_s") if tool in BY_MEAN else ("median", "latency_p50_s")
        return (
            Metric(name, f"{which} {what}", "us", 1e6, False, precise=0.02),
            Metric("latency_p99_s", f"p99 {what}", "us", 1e6, False, optional=True),
            dataclasses.replace(rate, label=f"{words.work}s", precise=None),
            Metric("cpu_per_request_s", f"CPU per {words.cpu_per}", "us", 1e6, False),
        )
    if tool in ONE_WAY:
        return (
            rate,
            Metric("transfer_bytes_per_s", "transfer rate", "MB/s", 1 / MB, True),
            Metric("cpu_per_mb_s", "CPU per MB", "us", 1e6, False),
        )
    printed = tool == "sysbench" or tool.startswith(PEER)
    return (
        rate,
        Metric("latency_p50_s", "p50 latency", "us", 1e6, False, optional=printed, precise=0.02),
        Metric("latency_p99_s", "p99 latency", "us", 1e6, False, CLOSED_LOOP, optional=printed),
        Metric("cpu_per_request_s", f"CPU per {words.cpu_per}", "us", 1e6, False, optional=printed),
    )


def metric_of(tool: str, name: str) -> Metric:
    """The metric of that name of a tool. Raises ``KeyError`` for one that the tool has not."""
    return {metric.name: metric for metric in metrics_of(tool)}[name]


def primary_of(tool: str) -> Metric:
    """What a contrast's answer is in: throughput; of an open loop, which sets it, the tail."""
    return metrics_of(tool)[0]


def is_primary(tool: str, metric: str) -> bool:
    """Whether ``metric`` is what a contrast's answer is in."""
    return primary_of(tool).name == metric


def answers_first(tools: Iterable[str]) -> list[tuple[Metric, bool]]:
    """Every metric of the tools, once by name and label, and whether a tool's answer is in it.

    What the median is of, each tool says for itself. Those with an answer come first.
    """
    found: dict[tuple[str, str], Metric] = {}
    primary = set()
    for tool in tools:
        primary.add((primary_of(tool).name, primary_of(tool).label))
        for metric in metrics_of(tool):
            found.setdefault((metric.name, metric.label), metric)
    both = [(metric, key in primary) for key, metric in found.items()]
    return sorted(both, key=lambda one: not one[1])


def is_called(metric: Metric, tool: str, name: str) -> bool:
    """Whether ``name``, of ``tool``, is this metric, and called so."""
    return metric.name == name and metric_of(tool, name).label == metric.label


def metrics_in(tools: Iterable[str]) -> list[Metric]:
    """Every metric of the tools, once by name, as the first of them has it."""
    found: dict[str, Metric] = {}
    for tool in tools:
        for metric in metrics_of(tool):
            found.setdefault(metric.name, metric)
    return list(found.values())
