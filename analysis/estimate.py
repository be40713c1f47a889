"""Estimators on plain numbers: median, Hodges-Lehmann, signed-rank test, Holm, noise floor.

All are exact for small n and none assumes a distribution's shape. Log ratios go in and come out as
log ratios; who shows them exponentiates.

The signed-rank null distribution is built by convolution: each unit's rank is added to the
statistic or not, with probability one half. Ranks are doubled so that midranks (ties) are whole
numbers; the result is the exact permutation distribution of signs, the same as enumerating all 2^n
of them. A campaign's n is tens, so this costs microseconds. Above ``EXACT`` units, which only
other people's figures have, the distribution is taken as normal and the averages are not written
down, for tables of n^2 averages and n^3 sums would not end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import stats
from statsmodels.stats.multitest import multipletests

Floats = npt.NDArray[np.float64]

ALPHA: Final = 0.05
EXACT: Final = 200
FLOOR_UNITS: Final = 100
FLAG_MAD: Final = 14.826  # 10 standard deviations of a normal distribution
BOOTSTRAP_DRAWS: Final = 4000
BOOTSTRAP_BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class Location:
    """An estimate and its interval; ``low`` and ``high`` are None where n is too small for one.

    ``coverage`` is the interval's exact coverage, at least what was asked for.
    """

    value: float
    low: float | None
    high: float | None
    coverage: float | None
    n: int

    def within(self, delta: float) -> bool:
        """Whether there is an interval and it lies wholly inside +-``delta``."""
        return (
            self.low is not None
            and self.high is not None
            and -delta < self.low
            and self.high < delta
        )

    def beyond(self, delta: float) -> bool:
        """Whether there is an interval and it lies wholly outside +-``delta``."""
        return (self.low is not None and self.low > delta) or (
            self.high is not None and self.high < -delta
        )


def _array(values: Sequence[float] | Floats) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not np.isfinite(array).all():
        raise ValueError("expected a flat sequence of finite numbers")
    return array


def median_interval(values: Sequence[float] | Floats, alpha: float = ALPHA) -> Location:
    """Median with the order-statistic interval of exact binomial coverage >= 1 - ``alpha``.

    1-based ranks (r, n + 1 - r) with the largest r whose coverage suffices: n = 6 gives (1, 6),
    10 (2, 9), 12 (3, 10), 20 (6, 15), 30 (10, 21). With n < 6 there is no 95 % interval: None.
    Raises ``ValueError`` for no values or a value that is not finite.
    """
    array = np.sort(_array(values))
    n = array.size
    if n == 0:
        raise ValueError("no values")
    middle = float(np.median(array))
    tails = 2 * stats.binom.cdf(np.arange((n + 1) // 2), n, 0.5)
    rank = int((tails <= alpha).sum())
    if rank == 0:
        return Location(middle, None, None, None, n)
    coverage = 1 - float(tails[rank - 1])
    return Location(middle, float(array[rank - 1]), float(array[n - rank]), coverage, n)


def walsh_averages(values: Sequence[float] | Floats) -> Floats:
    """Sorted averages of all pairs, each value with itself too: n (n + 1) / 2 of them."""
    array = _array(values)
    first, second = np.triu_indices(array.size)
    return np.sort((array[first] + array[second]) / 2)


def _median_average(ordered: Floats) -> float:
    """Median of the Walsh averages of sorted values."""
    count = ordered.size * (ordered.size + 1) // 2
    if ordered.size <= EXACT:
        return float(np.median(walsh_averages(ordered)))
    middle = [_ranked_average(ordered, rank) for rank in {(count - 1) // 2, count // 2}]
    return sum(middle) / len(middle)


def _ranked_average(ordered: Floats, rank: int) -> float:
    """The Walsh average of that 0-based rank, found by halving the range until no double is left.

    How many averages a bound has below it takes n log n steps and no table.
    """
    low, high = np.nextafter(ordered[0], -np.inf), ordered[-1]
    while (middle := (low + high) / 2) not in (low, high):
        # Each pair of two values is seen from either end, a value with itself once.
        pairs = int(np.searchsorted(ordered, 2 * middle - ordered, "right").sum())
        alone = int(np.searchsorted(ordered, middle, "right"))
        if (pairs + alone) // 2 > rank:
            high = middle
        else:
            low = middle
    return float(high)


def _below(n: int, alpha: float) -> tuple[int, float]:
    """The largest k with P(T < k) <= ``alpha`` / 2, T the signed-rank sum; and 1 - 2 P(T < k)."""
    if n <= EXACT:
        below = np.cumsum(_null_distribution(2 * np.arange(1, n + 1))[::2])
        k = int((below <= alpha / 2).sum())
        return k, 1 - 2 * float(below[k - 1]) if k else 0.0
    mean, deviation = n * (n + 1) / 4, math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
    k = math.floor(mean + 0.5 + deviation * float(stats.norm.ppf(alpha / 2)))
    return k, 1 - 2 * float(stats.norm.cdf((k - 0.5 - mean) / deviation))


def _null_distribution(doubled_ranks: npt.NDArray[np.int64]) -> Floats:
    """P(sum of the doubled ranks of positive signs = index), signs being fair coins."""
    chance = np.zeros(int(doubled_ranks.sum()) + 1)
    chance[0] = 1.0
    top = 0
    for rank in doubled_ranks.tolist():
        shifted = chance[: top + 1] / 2
        chance[: top + 1] /= 2
        chance[rank : rank + top + 1] += shifted
        top += rank
    return chance


def hodges_lehmann(values: Sequence[float] | Floats, alpha: float = ALPHA) -> Location:
    """Median of the Walsh averages with the exact signed-rank interval.

    The interval is (W[k], W[M + 1 - k]) of the M sorted averages (1-based) with the largest k for
    which P(T < k) <= ``alpha`` / 2 (Hollander, Wolfe & Chicken, Nonparametric Statistical Methods,
    3.3). A 95 % interval needs n >= 6, a 90 % interval n >= 5: below, None. Raises ``ValueError``
    for no values.
    """
    array = _array(values)
    n = array.size
    if n == 0:
        raise ValueError("no values")
    ordered = np.sort(array)
    value = _median_average(ordered)
    k, coverage = _below(n, alpha)
    if k == 0:
        return Location(value, None, None, None, n)
    if n <= EXACT:
        averages = walsh_averages(ordered)
        return Location(value, float(averages[k - 1]), float(averages[-k]), coverage, n)
    last = n * (n + 1) // 2 - 1
    low, high = (_ranked_average(ordered, rank) for rank in (k - 1, last - (k - 1)))
    return Location(value, low, high, coverage, n)


def signed_rank_p(values: Sequence[float] | Floats) -> float:
    """Exact two-sided signed-rank p of "the values are symmetric about zero".

    Zeros are dropped (Wilcoxon's own rule) and ties get midranks. Without either it equals
    ``scipy.stats.wilcoxon(method="exact")`` and is the dual of ``hodges_lehmann``'s interval; with
    ties the two may part by a step, and a verdict of *different* asks for both.
    No values, or zeros only: 1.
    """
    array = _array(values)
    array = array[array != 0]
    if array.size == 0:
        return 1.0
    if array.size > EXACT:
        return float(stats.wilcoxon(array, correction=True, method="asymptotic").pvalue)
    ranks = np.rint(2 * stats.rankdata(np.abs(array))).astype(np.int64)
    chance = _null_distribution(ranks)
    observed = int(ranks[array > 0].sum())
    observed = min(observed, int(ranks.sum()) - observed)
    return min(1.0, 2 * float(chance[: observed + 1].sum()))


def win_fraction(values: Sequence[float] | Floats) -> float:
    """P(arm > baseline) over log ratios; an exact tie counts half."""
    array = _array(values)
    if array.size == 0:
        raise ValueError("no values")
    return float(((array > 0).sum() + (array == 0).sum() / 2) / array.size)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm-adjusted p values, in the order given.

    statsmodels collects all garbage in each call: programs that ask often freeze what they have
    imported first (``gc.freeze``).
    """
    if len(p_values) < 2:
        return [float(p) for p in p_values]
    return [float(p) for p in multipletests(list(p_values), method="holm")[1]]


def least_units(tests: int) -> int:
    """Smallest n whose most extreme signed-rank p survives Holm over ``tests`` contrasts.

    n >= 1 + log2(tests / 0.05): 6 for 1, 7 for 2, 9 for 10, 11 for 30.
    """
    return math.ceil(1 + math.log2(max(tests, 1) / ALPHA))


def units_for_margin(values: Sequence[float] | Floats, margin: float) -> int | None:
    """About how many units make the interval's half-width ``margin``: (t s / margin)^2.

    Log units. None where fewer than two units leave the spread unknown.
    """
    array = _array(values)
    if array.size < 2:
        return None
    t = float(stats.t.ppf(1 - ALPHA / 2, array.size - 1))
    return math.ceil((t * float(array.std(ddof=1)) / margin) ** 2)


def noise_floor(pairs: Sequence[float] | Floats, n: int, seed: int) -> float | None:
    """95th percentile of |Hodges-Lehmann| over bootstrap samples of ``n`` A/A log ratios.

    It is the difference that identical systems show when ``n`` of these pairs are compared. The
    same input and seed give the same value. Above ``FLOOR_UNITS`` samples of so many are drawn, and
    their deviations from the pool's own estimate shrunk as the square root of n. None for no pairs
    or ``n`` < 1.
    """
    array = _array(pairs)
    if array.size == 0 or n < 1:
        return None
    rng = np.random.default_rng(seed)
    drawn = min(n, FLOOR_UNITS)
    first, second = np.triu_indices(drawn)
    middle = sorted({(first.size - 1) // 2, first.size // 2})
    batches: list[Floats] = []
    for _ in range(BOOTSTRAP_DRAWS // BOOTSTRAP_BATCH):
        draw = array[rng.integers(0, array.size, (BOOTSTRAP_BATCH, drawn))]
        sums = draw[:, first]
        sums += draw[:, second]
        sums.partition(middle, axis=1)  # in place: a third of the time of np.median
        batches.append(sums[:, middle].mean(axis=1) / 2)
    found = np.concatenate(batches)
    if n > drawn:
        centre = _median_average(np.sort(array))
        found = centre + (found - centre) * math.sqrt(drawn / n)
    return float(np.quantile(np.abs(found), 0.95))


def flag_outliers(values: Sequence[float] | Floats) -> npt.NDArray[np.bool_]:
    """True where |x - median| / MAD > 14.826: shown as such, never deleted."""
    array = _array(values)
    if array.size == 0:
        return np.zeros(0, dtype=np.bool_)
    away = np.abs(array - np.median(array))
    spread = float(np.median(away))
    if spread == 0:
        return np.zeros(array.size, dtype=np.bool_)
    flagged: npt.NDArray[np.bool_] = away / spread > FLAG_MAD
    return flagged
