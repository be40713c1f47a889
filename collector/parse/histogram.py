r"""The file that ``wrk_histogram.lua`` writes: every recorded latency, and figures from it.

One line for each value: ``value_us<TAB>count``, values rising, counts above zero. These are the
samples that wrk recorded, without the ones that it back-fills before it prints (the script undoes
that), so there are as many as requests that were answered in time.

>>> values, counts = read_columns(b"120\t7\n121\t9\n")
>>> values, counts
((120, 121), (7, 9))
>>> summarise(values, counts).minimum_s, summarise(values, counts).maximum_s
(0.00012, 0.000121)
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from operator import ge, mul
from typing import Final

from collector.parse.record import ParseError

_LARGEST: Final = 2**63 - 1  # what fits a column of the dataset


def parse_histogram(data: bytes) -> list[tuple[int, int]]:
    """Return (value in us, count), values rising; errors as ``read_columns``."""
    return list(zip(*read_columns(data), strict=True))


@lru_cache(maxsize=1)  # a run's figures and its rows are asked for one after the other
def read_columns(data: bytes) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the values, in us and rising, and their counts.

    An empty file is a run in which no latency was recorded. Raises ``ParseError`` with the line of
    this file; what the script says instead of rows (``error<TAB>reason``) is passed on.
    """
    rows = data.count(b"\n")
    numbers = data.split()
    # Without its digits a good file is nothing but this; a check by line would cost more than
    # everything else here.
    if data.translate(None, b"0123456789") != b"\t\n" * rows or len(numbers) != 2 * rows:
        raise _refusal(data)
    if not rows:
        return (), ()
    try:
        values = tuple(map(int, numbers[0::2]))
        counts = tuple(map(int, numbers[1::2]))
    except ValueError:  # int() takes 4,300 digits and no more
        raise ParseError(1, "histogram: a number of thousands of digits") from None
    if any(map(ge, values, values[1:])):
        line = next(n for n in range(1, rows) if values[n - 1] >= values[n]) + 1
        raise ParseError(line, "histogram: values do not rise")
    if min(counts) < 1 or sum(counts) > _LARGEST or values[-1] > _LARGEST:
        raise ParseError(1, f"histogram: numbers outside of 1 to {_LARGEST}")
    return values, counts


def _refusal(data: bytes) -> ParseError:
    if data.startswith(b"error\t"):
        reason = data[6:].decode("utf-8", "replace").strip()
        return ParseError(1, f"histogram: {reason}")
    lines = data.split(b"\n")
    for number, line in enumerate(lines[:-1], 1):
        value, _, count = line.partition(b"\t")
        if not (value.isdigit() and count.isdigit()):
            return ParseError(number, "histogram: expected value_us<TAB>count")
    return ParseError(len(lines), "histogram: truncated: the last line does not end")


@dataclass(frozen=True, slots=True)
class Summary:
    """Figures of a histogram, in seconds; ``None`` where there are too few samples."""

    mean_s: float | None
    sd_s: float | None
    minimum_s: float | None
    maximum_s: float | None
    quantiles_s: tuple[float | None, ...]


def summarise(
    values: Sequence[int], counts: Sequence[int], percents: Sequence[int] = ()
) -> Summary:
    """Return the figures of a histogram, one quantile for each of ``percents`` (1 to 99).

    The quantile q of n samples is the smallest recorded value that at least ``ceil(q n)`` samples
    do not exceed (the inverse of the empirical distribution), and ``None`` below 100 / (1 - q)
    samples. The standard deviation is the sample's (n - 1).
    """
    if not values:
        return Summary(None, None, None, None, (None,) * len(percents))
    weighted = list(map(mul, values, counts))
    cumulated = list(accumulate(counts))
    n, total = cumulated[-1], sum(weighted)
    spread = None
    if n > 1:
        # Whole numbers all the way: no rounding, however long the run.
        spread = math.sqrt((n * sum(map(mul, weighted, values)) - total**2) / (n * (n - 1))) / 1e6
    quantiles = tuple(
        values[bisect_left(cumulated, -(-n * percent // 100))] / 1e6
        if n * (100 - percent) >= 100 * 100
        else None
        for percent in percents
    )
    return Summary(total / n / 1e6, spread, values[0] / 1e6, values[-1] / 1e6, quantiles)
