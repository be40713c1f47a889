"""Two independent samples: against enumeration, scipy, and a textbook's example."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from analysis.two_samples import rank_sum_p, shift

# Permeability of the human chorioamnion at term and before: Hollander & Wolfe (1973), table 4.1,
# the example of R's wilcox.test, which prints p = 0.1272 for the one-sided test.
TERM = np.array([0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46])
BEFORE = np.array([1.15, 0.88, 0.90, 0.74, 1.21])


def test_the_textbooks_example() -> None:
    assert rank_sum_p(BEFORE, TERM) == pytest.approx(2 * 0.1272, abs=1e-4)
    found = shift(BEFORE, TERM, 0.05)
    assert found.value == pytest.approx(0.305)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0 < found.high
    assert found.n == 5


@pytest.mark.parametrize(("first", "second"), [(4, 4), (3, 5), (6, 4), (5, 7)])
@pytest.mark.parametrize("alpha", [0.05, 0.1])
def test_the_interval_is_the_narrowest_that_enumeration_allows(
    first: int, second: int, alpha: float
) -> None:
    rng = np.random.default_rng(first * 10 + second)
    old, new = rng.normal(size=first), rng.normal(size=second)
    found = shift(old, new, alpha)
    assert found.low is not None
    assert found.high is not None
    assert found.coverage is not None
    apart = np.sort(np.subtract.outer(new, old), axis=None)
    k = int(np.searchsorted(apart, found.low)) + 1
    ranks = Counter(
        sum(chosen) - second * (second - 1) // 2
        for chosen in combinations(range(first + second), second)
    )
    total = sum(ranks.values())
    tail = [sum(count for u, count in ranks.items() if u < at) / total for at in (k, k + 1)]
    assert tail[0] <= alpha / 2 < tail[1]
    assert found.coverage == pytest.approx(1 - 2 * tail[0])
    assert found.high == apart[-k]


@pytest.mark.parametrize(("first", "second"), [(3, 4), (2, 30), (1, 60)])
def test_too_few_units_have_no_interval(first: int, second: int) -> None:
    found = shift(np.arange(first) * 1.0, np.arange(second) * 1.1 + 9, 0.05)
    if (first, second) == (2, 30):
        assert found.low is not None, "two against thirty do have one"
    else:
        assert (found.low, found.high, found.coverage) == (None, None, None)


def test_the_interval_refuses_what_the_test_refuses() -> None:
    rng = np.random.default_rng(5)
    for _ in range(50):
        old, new = rng.normal(size=6), rng.normal(0.8, 1, size=7)
        found = shift(old, new, 0.05)
        assert found.low is not None
        assert found.high is not None
        assert (found.low > 0 or found.high < 0) == (rank_sum_p(old, new) <= 0.05)


def test_many_units_take_the_normal_approximation_and_meet_the_exact_one() -> None:
    rng = np.random.default_rng(6)
    old, new = rng.normal(size=51), rng.normal(0.5, 1, size=49)
    found = shift(old, new, 0.05)
    assert found.low is not None
    assert found.high is not None
    for edge in (found.low, found.high):
        p = stats.mannwhitneyu(new - edge, old, method="exact").pvalue
        assert p == pytest.approx(0.05, abs=0.003)
    assert rank_sum_p(old, new) == pytest.approx(
        stats.mannwhitneyu(new, old, method="exact").pvalue, rel=0.05
    )


def test_large_samples_give_what_all_differences_would() -> None:
    rng = np.random.default_rng(7)
    for sizes in ((60, 80), (61, 75)):
        old, new = rng.normal(size=sizes[0]), rng.normal(0.2, 1, size=sizes[1])
        apart = np.sort(np.subtract.outer(new, old), axis=None)
        found = shift(old, new, 0.05)
        assert found.value == pytest.approx(float(np.median(apart)), abs=1e-12)
        for edge in (found.low, found.high):
            assert edge is not None
            assert np.abs(apart - edge).min() < 1e-12


def test_ties_do_not_break_it() -> None:
    same = np.ones(6)
    assert rank_sum_p(same, same) == 1
    found = shift(same, same, 0.05)
    assert (found.low, found.value, found.high) == (0, 0, 0)


def test_nothing_is_known_of_an_empty_sample() -> None:
    assert rank_sum_p(np.zeros(0), np.ones(3)) == 1
    with pytest.raises(ValueError, match="without values"):
        shift(np.zeros(0), np.ones(3), 0.05)
