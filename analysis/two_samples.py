"""How far two independent samples lie apart: the Hodges-Lehmann shift and its exact interval.

The dual of the rank-sum test (Mann & Whitney): the interval holds every shift that the test does
not refuse (Hollander, Wolfe & Chicken, Nonparametric Statistical Methods, 4.2 and 4.3).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Final

import numpy as np
from scipy import stats

from analysis.estimate import Floats, Location

EXACT: Final = 50  # units of the larger sample, above which the rank-sum is taken as normal


def rank_sum_p(old: Floats, new: Floats) -> float:
    """Exact two-sided p of "they lie alike"; with ties or many units the normal one. Empty: 1."""
    if not (old.size and new.size):
        return 1.0
    return float(stats.mannwhitneyu(new, old, method=_method(old, new)).pvalue)


def shift(old: Floats, new: Floats, alpha: float) -> Location:
    """Median of all differences ``new`` - ``old``; ``n`` is the smaller sample's size.

    The interval is (D[k], D[M + 1 - k]) of the M sorted differences (1-based) with the largest k
    for which P(U < k) <= ``alpha`` / 2: a 95 % interval takes 4 and 4 units, or 5 and 3. Below,
    None. Raises ``ValueError`` where a sample is empty.
    """
    if not (old.size and new.size):
        raise ValueError("a sample without values")
    pairs, n = old.size * new.size, min(old.size, new.size)
    ranked = _ranked(np.sort(old), np.sort(new))
    value = (ranked((pairs - 1) // 2) + ranked(pairs // 2)) / 2
    k, coverage = _below(old.size, new.size, alpha)
    if k == 0:
        return Location(value, None, None, None, n)
    return Location(value, ranked(k - 1), ranked(pairs - k), coverage, n)


def _ranked(old: Floats, new: Floats) -> Callable[[int], float]:
    """The difference of a 0-based rank among all, of sorted samples.

    Large samples' differences are not written down: the range is halved until no double is left.
    """
    if max(old.size, new.size) <= EXACT:
        apart = np.sort(np.subtract.outer(new, old), axis=None)
        return lambda rank: float(apart[rank])

    def find(rank: int) -> float:
        low, high = float(np.nextafter(new[0] - old[-1], -np.inf)), float(new[-1] - old[0])
        while (middle := (low + high) / 2) not in (low, high):
            if int(np.searchsorted(new, old + middle, "right").sum()) > rank:
                high = middle
            else:
                low = middle
        return high

    return find


def _method(old: Floats, new: Floats) -> str:
    both = np.concatenate([old, new])
    ties = np.unique(both).size < both.size
    return "asymptotic" if ties or max(old.size, new.size) > EXACT else "exact"


def _below(first: int, second: int, alpha: float) -> tuple[int, float]:
    if max(first, second) > EXACT:
        mean = first * second / 2
        deviation = math.sqrt(first * second * (first + second + 1) / 12)
        k = max(0, math.floor(mean + 0.5 + deviation * float(stats.norm.ppf(alpha / 2))))
        return k, 1 - 2 * float(stats.norm.cdf((k - 0.5 - mean) / deviation))
    ways = _ways(first, second)
    total = sum(ways)
    below = list(accumulate(ways))
    k = sum(count / total <= alpha / 2 for count in below)
    return k, 1 - 2 * below[k - 1] / total if k else 0.0


def _ways(first: int, second: int) -> Sequence[int]:
    """In how many orders of the two samples U is 0, 1, ...: the Gaussian binomial's coefficients.

    It is the product of (1 - x^(first + i)) / (1 - x^i) over i to ``second``, in whole numbers.
    """
    ways = [1] + [0] * (first * second)
    for i in range(1, second + 1):
        for u in range(len(ways) - 1, first + i - 1, -1):
            ways[u] -= ways[u - first - i]
        for u in range(i, len(ways)):
            ways[u] += ways[u - i]
    return ways
