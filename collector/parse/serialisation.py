r"""serialisation 1, the program in ``workloads/serialisation``: the record of its lines of JSON.

The first line opens, the last one ends; between them is a line for each cell, a mode and a size:

>>> record = parse_serialisation(b'''{"serialisation":"1.0.0","mechanism":"msgpack",\
... "state":"opened","clock_ns":40}
... {"mode":"encode","bytes":1024,"state":"measured","count":3,"lost":0,"ns":30000,\
... "cpu_ns":[9000,0],"switches":[0,0],"wire_bytes":747,"least_ns":5040,"most_ns":9040,\
... "histogram":[[5008,2],[9024,1]]}
... {"mode":"decode","bytes":1024,"state":"not_applicable"}
... {"mode":"exchange","bytes":1024,"state":"measured","count":2,"lost":0,"ns":62500,\
... "cpu_ns":[9000,8000],"switches":[2,2],"wire_bytes":747,"least_ns":15040,"most_ns":19040,\
... "histogram":[[15008,1],[19040,1]]}
... {"state":"ended"}
... ''')
>>> encode, decode, exchange = record.cells
>>> encode.latency_min_s, encode.wire_bytes, decode.state, exchange.rate_per_s
(5e-06, 747, 'not_applicable', 32000.0)

``mechanism`` is the format. The latency of an exchange is a round trip; from every latency the
program's own reading of the clock was taken (``clock_s``). ``cells`` has what is refused.
"""

from __future__ import annotations

import re
from typing import Final

from collector.parse.cells import CellTool, Program, parse_cells, read_cells
from collector.parse.record import Record

PROGRAM: Final = Program("serialisation", modes=("encode", "decode", "exchange"), wired=True)
MARK: Final = PROGRAM.mark

_FIGURE: Final = re.compile(
    rb'"mode":"exchange","bytes":([0-9]{1,9}),"state":"measured",'
    rb'"count":([0-9]{1,15}),"lost":[0-9]{1,15},"ns":([1-9][0-9]{0,15})'
)


def parse_serialisation(data: bytes) -> Record:
    """Return the record of the one output in ``data``; ``ParseError`` if it is refused."""
    return parse_cells(PROGRAM, data)


def read_serialisation(text: str) -> Record:
    """Return the record of ``text``, which starts with an output and holds no second one."""
    return read_cells(PROGRAM, text)


class Serialisation(CellTool):
    """serialisation as a load tool."""

    def figure(self, stdout: bytes) -> str | None:
        """Return the last cell of exchanges, ``1,234 exchanges/s at 1024 B``."""
        exchanges = _FIGURE.findall(stdout)
        if not exchanges:
            return None
        size, count, ns = map(int, exchanges[-1])
        return f"{1e9 * count / ns:,.0f} exchanges/s at {size} B"


TOOL: Final = Serialisation(PROGRAM)
