r"""The file of ``ab -e``: latency at 0, 1, ..., 100 percent, in ms to three decimals.

>>> text = "Percentage served,Time in ms\n" + "".join(f"{n},{n / 10:.3f}\n" for n in range(101))
>>> parse_percentiles(text.encode(), requests=1000).p99_s
0.0099

ab takes row n of 1 to 99 from its sorted samples at ``int(0.5 + requests * n / 100)``, counted from
zero. With 50 requests or fewer the last rows so come from behind the last sample and hold whatever
was in memory there; those are ``None`` here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from collector.parse.record import ParseError

_HEAD: Final = "Percentage served,Time in ms\n"
_FILE: Final = re.compile(
    _HEAD + "".join(rf"{n},([0-9]{{1,12}})\.([0-9]{{3}})\n" for n in range(101))
)
_ROW: Final = re.compile(r"([0-9]+),[0-9]+\.[0-9]{3}")


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Latencies in seconds; ``None`` where the source does not say."""

    minimum_s: float | None = None
    p50_s: float | None = None
    p75_s: float | None = None
    p90_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None
    maximum_s: float | None = None


def parse_percentiles(data: bytes, requests: int) -> Percentiles:
    """Return the latencies of a run of ``requests``; ``ParseError`` with the line of this file."""
    text = data.decode("ascii", "replace").replace("\r\n", "\n")
    match = _FILE.fullmatch(text)
    if match is None:
        raise _refusal(text)
    digits = match.groups()
    # Thousandths of a millisecond: ab keeps whole microseconds.
    values = [int(a + b) for a, b in zip(digits[0::2], digits[1::2], strict=True)]
    real = [n for n in range(100) if int(0.5 + requests * n / 100.0) < requests] + [100]
    for earlier, later in pairwise(real):
        if values[earlier] > values[later]:
            raise ParseError(later + 2, f"percentiles: {later} % is below {earlier} %")

    def at(percent: int) -> float | None:
        return values[percent] / 1e6 if percent in real else None

    return Percentiles(at(0), at(50), at(75), at(90), at(95), at(99), at(100))


def _refusal(text: str) -> ParseError:
    lines = text.split("\n")
    if len(lines) > 1 and lines[0] + "\n" != _HEAD:
        return ParseError(1, f"percentiles: expected {_HEAD.strip()!r}")
    for percent, line in enumerate(lines[1:-1]):
        row = _ROW.fullmatch(line)
        if row is None or int(row[1]) != percent:
            return ParseError(percent + 2, f"percentiles: expected '{percent},<ms>'")
    return ParseError(len(lines), "percentiles: truncated: expected rows 0 to 100")
