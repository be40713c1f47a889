r"""ipc 1, the program in ``workloads/ipc``: the record of its lines of JSON, and its cells.

The first line opens, the last one ends; between them is a line for each cell, a mode and a size:

>>> record = parse_ipc(b'''{"ipc":"1.0.0","mechanism":"pipe","state":"opened","clock_ns":20}
... {"mode":"latency","bytes":64,"state":"measured","count":3,"lost":0,"ns":30000,\
... "cpu_ns":[9000,8000],"switches":[3,3],"least_ns":5000,"most_ns":9020,\
... "histogram":[[5008,2],[9024,1]]}
... {"mode":"throughput","bytes":4096,"state":"measured","count":500,"lost":0,"ns":1000000,\
... "cpu_ns":[9000,8000],"switches":[3,3]}
... {"mode":"connect","state":"not_applicable"}
... {"state":"ended"}
... ''')
>>> latency, throughput, connect = record.cells
>>> latency.latency_min_s, throughput.rate_per_s, connect.state
(4.98e-06, 500000.0, 'not_applicable')

Of pipes the first line may say ``"pipe_bytes":[65536,65536]``: what the one to the serving end
holds, and the one from it. A latency is a round trip, from which the program's own reading of the
clock was taken (``clock_s``). Where the kernel forbids the mechanism there are no cells, and the
record's ``unavailable`` says why. ``cells`` has what is refused.
"""

from __future__ import annotations

import re
from typing import Final

from collector.parse.cells import CellTool, Program, parse_cells, read_cells
from collector.parse.record import Record

PROGRAM: Final = Program(
    "ipc",
    modes=("latency", "throughput", "connect"),
    one_way=("throughput",),
    sizeless=("connect",),
    limited=True,
    opening=("pipe_bytes",),
)
MARK: Final = PROGRAM.mark

_FIGURE: Final = re.compile(
    rb'"mode":"throughput","bytes":([0-9]{1,9}),"state":"measured",'
    rb'"count":([0-9]{1,15}),"lost":[0-9]{1,15},"ns":([1-9][0-9]{0,15})'
)


def parse_ipc(data: bytes) -> Record:
    """Return the record of the one output in ``data``; ``ParseError`` if it is refused."""
    return parse_cells(PROGRAM, data)


def read_ipc(text: str) -> Record:
    """Return the record of ``text``, which starts with an output and holds no second one."""
    return read_cells(PROGRAM, text)


class Ipc(CellTool):
    """ipc as a load tool."""

    def figure(self, stdout: bytes) -> str | None:
        """Return the last throughput, ``1,234 MB/s at 32768 B``, in millions of bytes."""
        throughputs = _FIGURE.findall(stdout)
        if not throughputs:
            return None
        size, count, ns = map(int, throughputs[-1])
        return f"{1e3 * size * count / ns:,.0f} MB/s at {size} B"


TOOL: Final = Ipc(PROGRAM)
