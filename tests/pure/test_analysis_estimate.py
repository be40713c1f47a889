"""Estimators against brute force, scipy, the facts' tables and small simulations."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.estimate import (
    EXACT,
    flag_outliers,
    hodges_lehmann,
    holm,
    least_units,
    median_interval,
    noise_floor,
    signed_rank_p,
    units_for_margin,
    walsh_averages,
    win_fraction,
)

small_numbers = st.lists(st.integers(-6, 6).map(float), min_size=1, max_size=9)


def enumerated_p(values: list[float]) -> float:
    """Signed-rank p by going through every assignment of signs."""
    kept = np.array([v for v in values if v != 0])
    if kept.size == 0:
        return 1.0
    ranks = stats.rankdata(np.abs(kept))
    observed = ranks[kept > 0].sum()
    observed = min(observed, ranks.sum() - observed)
    sums = [ranks[list(s)].sum() for s in itertools.product([False, True], repeat=kept.size)]
    return float(min(1.0, 2 * np.mean([total <= observed + 1e-9 for total in sums])))


@given(small_numbers)
@settings(max_examples=60, deadline=None)
def test_signed_rank_p_is_the_enumeration_with_ties_and_zeros(values: list[float]) -> None:
    assert signed_rank_p(values) == pytest.approx(enumerated_p(values))


@pytest.mark.parametrize("n", [6, 8, 12, 20, 30])
def test_signed_rank_p_is_scipys_exact_one_without_ties(n: int) -> None:
    values = np.random.default_rng(n).normal(0.3, 1, n)
    assert signed_rank_p(values) == pytest.approx(stats.wilcoxon(values, method="exact").pvalue)


def untied(values: np.ndarray, shift: float) -> bool:
    """No two values equally far from ``shift``, and none on it: midranks are another test."""
    away = np.sort(np.abs(values - shift))
    return bool(away[0] > 1e-9 and (np.diff(away) > 1e-9).all())


def check_duality(values: np.ndarray) -> int:
    """Shifts inside the interval are not refused at 5 %, shifts outside are; returns how many."""
    at = hodges_lehmann(values)
    assert at.low is not None and at.high is not None
    averages = walsh_averages(values)
    middles = (averages[:-1] + averages[1:]) / 2
    shifts = [s for s in (*middles, at.low - 0.01, at.high + 0.01) if untied(values, s)]
    for shift in shifts:
        assert (signed_rank_p(values - shift) > 0.05) == (at.low < shift < at.high)
    return len(shifts)


@given(st.lists(st.integers(-(10**6), 10**6), min_size=6, max_size=12, unique=True))
@settings(max_examples=60, deadline=None)
def test_interval_is_what_the_test_does_not_refuse(values: list[int]) -> None:
    check_duality(np.array(values) / 1e6)


@pytest.mark.parametrize("n", [6, 7, 8, 12, 20, 30])
def test_interval_is_what_the_test_does_not_refuse_for_noise(n: int) -> None:
    assert check_duality(np.random.default_rng(n).normal(size=n)) > n * (n - 1) / 2


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=10), st.floats(-3, 3))
@settings(max_examples=60, deadline=None)
def test_hodges_lehmann_shifts_with_its_data(values: list[float], shift: float) -> None:
    moved = hodges_lehmann([v + shift for v in values])
    assert moved.value == pytest.approx(hodges_lehmann(values).value + shift, abs=1e-9)
    brute = [(values[i] + values[j]) / 2 for i in range(len(values)) for j in range(i + 1)]
    assert hodges_lehmann(values).value == pytest.approx(float(np.median(brute)))


def test_90_interval_lies_in_the_95_interval() -> None:
    values = np.random.default_rng(1).normal(size=9)
    wide, narrow = hodges_lehmann(values), hodges_lehmann(values, 0.10)
    assert wide.low <= narrow.low <= narrow.high <= wide.high


@pytest.mark.parametrize(
    ("n", "ranks", "coverage"),
    [
        (6, (1, 6), 0.969),
        (10, (2, 9), 0.979),
        (12, (3, 10), 0.961),
        (20, (6, 15), 0.959),
        (30, (10, 21), 0.957),
    ],
)
def test_median_interval_has_the_exact_ranks(
    n: int, ranks: tuple[int, int], coverage: float
) -> None:
    at = median_interval(np.arange(1.0, n + 1))
    assert (at.low, at.high) == ranks
    assert at.coverage == pytest.approx(coverage, abs=5e-4)


def test_too_few_values_have_no_95_interval() -> None:
    assert median_interval([1, 2, 3, 4, 5]).low is None
    assert hodges_lehmann([1, 2, 3, 4, 5]).low is None
    assert hodges_lehmann([1, 2, 3, 4, 5], 0.10).low == 1
    assert hodges_lehmann([1, 2, 3, 4], 0.10).low is None


@pytest.mark.parametrize("bad", [[], [1.0, math.nan], [math.inf]])
def test_no_numbers_are_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match=r"no values|finite"):
        hodges_lehmann(bad)


def test_holm_and_the_least_n_agree_with_the_facts() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
    assert [least_units(m) for m in (1, 2, 10, 30)] == [6, 7, 9, 11]
    for tests in (1, 2, 10, 30):
        n = least_units(tests)
        assert 2 * 0.5**n * tests <= 0.05 < 2 * 0.5 ** (n - 1) * tests


def test_win_fraction_counts_a_tie_half() -> None:
    assert win_fraction([1, 1, 0, -1]) == pytest.approx(0.625)


def test_units_for_margin_follow_the_spread() -> None:
    values = [0.0, 0.02, -0.02, 0.04, -0.04, 0.01]
    t, s = stats.t.ppf(0.975, 5), np.std(values, ddof=1)
    assert units_for_margin(values, 0.02) == math.ceil((t * s / 0.02) ** 2)
    assert units_for_margin([0.1], 0.02) is None


def test_outliers_are_flagged_by_the_median_deviation() -> None:
    values = [1.0, 1.01, 0.99, 1.02, 0.98, 1.5]
    assert flag_outliers(values).tolist() == [False] * 5 + [True]
    assert not flag_outliers([1.0, 1.0, 1.0, 2.0]).any()


def test_noise_floor_is_seeded_and_grows_with_noise() -> None:
    pairs = np.random.default_rng(3).normal(0, 0.02, 40)
    assert noise_floor(pairs, 8, seed=1) == noise_floor(pairs, 8, seed=1)
    assert noise_floor(3 * pairs, 8, 1) == pytest.approx(3 * (noise_floor(pairs, 8, 1) or 0))
    assert (noise_floor(pairs, 8, 1) or 0) > (noise_floor(pairs, 30, 1) or 0)
    assert noise_floor([], 8, 1) is None


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(11)
    hits = medians = 0
    draws = 300
    for _ in range(draws):
        values = rng.standard_t(4, 10) + 0.5
        at, middle = hodges_lehmann(values), median_interval(values)
        hits += at.low <= 0.5 <= at.high
        medians += middle.low <= 0.5 <= middle.high
    # Nominal 95.1 % and 97.9 %; three standard errors of 300 draws are 3.7 points.
    assert hits / draws > 0.91
    assert medians / draws > 0.94


@pytest.mark.parametrize("n", [EXACT + 1, 501])
def test_many_values_are_estimated_as_few_are(n: int) -> None:
    """Above ``EXACT`` nothing is tabled; the answers are those of the table all the same."""
    values = np.random.default_rng(n).standard_t(3, n) * 0.02 + 0.01
    found = hodges_lehmann(values)
    averages = walsh_averages(values)
    assert found.value == pytest.approx(float(np.median(averages)), rel=1e-12)
    at = [int(np.searchsorted(averages, bound * (1 + 1e-12))) for bound in (found.low, found.high)]
    assert averages.size - at[1] == at[0] - 1, "as many averages beyond either end"
    peer = stats.wilcoxon(values - found.value, method="asymptotic", correction=True)
    assert signed_rank_p(values - found.value) == pytest.approx(peer.pvalue)
    assert signed_rank_p(values - found.low) == pytest.approx(0.05, abs=0.001)
    assert found.coverage == pytest.approx(0.95, abs=0.001)


def test_exact_and_normal_meet_where_one_takes_over() -> None:
    values = np.random.default_rng(3).normal(0.004, 0.02, EXACT)
    exact, normal = hodges_lehmann(values), hodges_lehmann([*values, float(np.median(values))])
    assert (normal.low, normal.high) == pytest.approx((exact.low, exact.high), abs=1e-4)
    nearer = values - 0.002
    assert signed_rank_p(nearer) == pytest.approx(
        stats.wilcoxon(nearer, method="asymptotic", correction=True).pvalue, rel=0.02
    )


def test_the_noise_of_many_blocks_shrinks_as_their_root_but_not_below_a_lasting_difference() -> (
    None
):
    pairs = np.random.default_rng(5).normal(0, 0.02, 400)
    pairs -= np.median(pairs)
    at = {n: noise_floor(pairs, n, seed=1) or 0 for n in (100, 101, 400, 10_000)}
    assert at[101] == pytest.approx(at[100], rel=0.02)
    assert at[400] == pytest.approx(at[100] / 2, rel=0.1)
    assert (noise_floor(pairs + 0.01, 10_000, seed=1) or 0) > 0.009
