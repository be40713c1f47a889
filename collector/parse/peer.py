r"""peer: programs of others beside ``ipc``, so that a reader sees that they agree with it.

Which program printed an output is told by how it begins; the record's ``tool_version`` names it,
with its version where it prints one. They are Debian 12's, each with a module of its own that says
what its figures are (``peer_redis``, ``peer_perf``, ...):

>>> record = parse_peer(b'''# Running 'sched/pipe' benchmark:
... # Executed 20000 pipe operations between two processes
...
...      Total time: 0.197 [sec]
...
...        9.898350 usecs/op
...          101026 ops/sec
... ''')
>>> record.tool, record.tool_version, record.cells[0].mode
('peer', 'perf bench', 'latency')

Every latency is a whole round trip: what prints half of one is refused. A cell has a size where
the program says it, or has but one; null elsewhere.

Refused: an output that does not end, another program's, a program that says that it failed or did
nothing, figures that contradict each other, and more than one connection.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from collector.parse import peer_iperf3, peer_perf, peer_redis, peer_sockperf, peer_stress_ng
from collector.parse.record import ParseError, Record
from collector.parse.text import decode
from collector.parse.tool import Capabilities, Invocation, Load, invoke_pair


@dataclass(frozen=True, slots=True)
class Format:
    """One program's output: patterns for how it begins, plain and quoted, and what reads it."""

    mark: str
    quoted: str
    read: Callable[[str], Record]


_FORMATS: Final = (
    Format(peer_redis.MARK, peer_redis.QUOTED, peer_redis.read_redis),
    Format(peer_perf.MARK, peer_perf.QUOTED, peer_perf.read_perf),
    Format(peer_sockperf.MARK, peer_sockperf.QUOTED, peer_sockperf.read_sockperf),
    Format(peer_iperf3.MARK, peer_iperf3.QUOTED, peer_iperf3.read_iperf3),
    Format(peer_stress_ng.MARK, peer_stress_ng.QUOTED, peer_stress_ng.read_stress_ng),
)
MARK: Final = "|".join(f"(?:{each.mark})" for each in _FORMATS)
QUOTED: Final = "|".join(f"(?:{each.quoted})" for each in _FORMATS)

_START: Final = re.compile(f"^(?:{MARK})", re.M)
# What a rate counts; of a stressor they are its bogo ops.
_COUNTED: Final = {"latency": "round trips/s", "set": "requests/s", "get": "requests/s"}


def parse_peer(data: bytes) -> Record:
    """Return the record of the one output in ``data``.

    Raises ``ParseError``: no whole output, more than one, or one that says that it failed.
    """
    text = decode(data)
    starts = [match.start() for match, _ in zip(_START.finditer(text), range(2), strict=False)]
    if not starts:
        programs = "redis-benchmark --csv, perf bench, sockperf, iperf3 -J or stress-ng"
        raise ParseError(1, f"truncated: no output of peer found (one of {programs})")
    if len(starts) > 1:
        line = 1 + text.count("\n", 0, starts[1])
        raise ParseError(line, "several: a second output of peer begins; give one at a time")
    try:
        return read_peer(text[starts[0] :])
    except ParseError as error:
        raise error.shifted(text.count("\n", 0, starts[0])) from None


def read_peer(text: str) -> Record:
    """Return the record of ``text``, which starts with an output and holds no second one.

    Raises ``ParseError`` with the line in ``text``.
    """
    read = next(each.read for each in _FORMATS if re.match(each.mark, text))
    return read(text)


class Peer:
    """Such a program as a load tool.

    The script ``/local/load`` in the container fixes which it is, and its arguments.
    """

    name: Final = "peer"
    capabilities: Final = Capabilities(
        open_loop=False, unix_sockets=True, histogram=False, inside=True
    )

    def arguments(self, load: Load) -> Invocation:
        """Return the invocation; ``ValueError`` for anything but one conversation for a time."""
        return invoke_pair(self.name, load)

    def parse(self, stdout: bytes, files: Mapping[str, bytes], argv: Sequence[str] = ()) -> Record:
        """Return the record of one run; the programs write no files."""
        return parse_peer(stdout)

    def histogram(self, stdout: bytes, files: Mapping[str, bytes]) -> list[tuple[int, int]]:
        """Return an empty list: no program prints its samples."""
        return []

    def figure(self, stdout: bytes) -> str | None:
        """Return the last cell's rate, ``41,152 requests/s``, or what else the program gives."""
        try:
            cell = parse_peer(stdout).cells[-1]
        except ParseError:
            return None
        if cell.transfer_bytes_per_s is not None:
            return f"{cell.transfer_bytes_per_s / 1e6:,.0f} MB/s at {cell.message_bytes} B"
        if cell.rate_per_s is not None:
            return f"{cell.rate_per_s:,.0f} {_COUNTED.get(cell.mode, 'bogo ops/s')}"
        return f"{cell.duration_s} s"


TOOL: Final = Peer()
