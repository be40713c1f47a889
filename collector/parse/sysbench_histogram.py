r"""The histogram that ``sysbench --histogram`` prints before its results.

One row a bucket that is not empty: its value in milliseconds with three decimals, a bar, its
count. From sysbench's ``src/sb_histogram.c`` and ``src/sb_logger.c``: 1,024 buckets lie evenly on
a logarithmic scale from 0.001 ms to 100 s, so each is 1.8 % above the one before. A latency goes
to the bucket whose value is nearest on that scale (``floor(x + 0.5)``), so what is printed is the
middle of its bucket, and a latency lies within 0.9 % of it; what is beyond an end goes to the
bucket there. Below about 0.055 ms buckets are closer than the three decimals that are printed, and
those that print alike are put together here:

>>> read_rows("       0.014 |*                                        252\n"
...           "       0.014 |*******                                  1633\n"
...           "       0.015 |**                                       571\n")
[(14, 1885), (15, 571)]
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from collector.parse.record import ParseError

HEADING: Final = r"Latency histogram \(values are in milliseconds\)"

_ROW: Final = r" *[0-9]{1,9}\.[0-9]{3} \|[* ]{41}[0-9]{1,18}[ \t]*\n"
# Without a transaction there is the heading and no table.
PARTS: Final = (
    ("'Latency histogram'", rf"{HEADING}[ \t]*\n"),
    ("", r"(?: *value +-+ distribution -+ count[ \t]*\n)?"),
    ("", rf"(?P<rows>(?:{_ROW})*)"),
    ("a row 'value |*** count' or the histogram's end", r"[ \t]*\n"),
)
_FIELDS: Final = re.compile(r"([0-9]+)\.([0-9]{3}) \|[* ]+?([0-9]+)[ \t]*\n")


def read_rows(rows: str) -> list[tuple[int, int]]:
    """Return (value in us, count), values rising, of rows that match ``PARTS``.

    Raises ``ParseError`` with the row, from 1, where values fall.
    """
    found: list[tuple[int, int]] = []
    for number, match in enumerate(_FIELDS.finditer(rows), 1):
        value, count = int(match[1] + match[2]), int(match[3])
        if found and value < found[-1][0]:
            raise ParseError(number, "histogram: values do not rise")
        if found and value == found[-1][0]:
            count += found.pop()[1]
        found.append((value, count))
    return found


def nearest_rank(rows: Sequence[tuple[int, int]], percent: int) -> int:
    """Return the percentile in us as sysbench finds it: of the event of rank ``n p`` rounded."""
    wanted = (sum(count for _, count in rows) * percent + 50) // 100
    for value, count in rows:
        wanted -= count
        if wanted <= 0:
            return value
    raise ValueError("no rows")
