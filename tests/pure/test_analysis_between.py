"""Estimates between hosts: published examples, and simulations whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from analysis.between import (
    Estimate,
    average,
    combine,
    difference,
    effect_of,
    prediction_interval,
)

# Kacker, Metrologia 41 (2004): nine laboratories. The results are those of R's metafor, rma() with
# method="PM", as statsmodels prints them in stats/tests/results/results_meta.py (exk1_metafor).
LABORATORIES = [61.0, 61.4, 62.21, 62.3, 62.34, 62.6, 62.7, 62.84, 65.9]
VARIANCES = [0.2025, 1.2100, 0.0900, 0.2025, 0.3844, 0.5625, 0.0676, 0.0225, 1.8225]


def hosts(values: list[float], variances: list[float]) -> list[Estimate]:
    return [Estimate(y, math.sqrt(v), 11) for y, v in zip(values, variances, strict=True)]


def test_random_effects_are_those_of_metafor() -> None:
    found = combine(hosts(LABORATORIES, VARIANCES))
    assert found.mean.value == pytest.approx(62.4076199113286, rel=1e-7)
    assert found.tau**2 == pytest.approx(0.705395309224248, rel=1e-5)
    # After Paule and Mandel's estimate Hartung and Knapp's factor is 1: se is that of rma().
    assert found.mean.se == pytest.approx(0.338030602684471, rel=1e-5)
    half = float(stats.t.ppf(0.975, 8)) * 0.338030602684471
    assert found.mean.interval() == pytest.approx(
        (62.4076199113286 - half, 62.4076199113286 + half), rel=1e-6
    )


def test_the_prediction_interval_is_that_of_the_r_package_meta() -> None:
    # Seventeen trials, metabin(sm="OR", method.tau="DL", hakn=TRUE, prediction=TRUE) of R's meta;
    # the same file of statsmodels (results_or_dl_hk: TE_random ... upper_predict).
    mean = Estimate(0.429520368698268, 0.0915952752397692, 16)
    assert mean.interval() == pytest.approx((0.235347059333852, 0.623693678062684))
    assert prediction_interval(mean, 0.0016783981912744, 17) == pytest.approx(
        (0.215650965184522, 0.643389772212014)
    )
    assert mean.p == pytest.approx(0.000246175101510513)


def test_hosts_that_agree_have_no_spread_between_them() -> None:
    found = combine(hosts([0.1, 0.101, 0.099], [0.0004] * 3))
    assert found.tau == 0
    assert found.mean.value == pytest.approx(0.1)


def test_hosts_that_happen_to_agree_are_no_surer_than_each_hosts_own_error_makes_them() -> None:
    """Hartung and Knapp's error alone would be 0 here: of no width, and no number over another."""
    same = combine(hosts([0.1] * 3, [0.0004] * 3))
    fixed = math.sqrt(0.0004 / 3)
    assert (same.mean.value, same.mean.se) == (pytest.approx(0.1), pytest.approx(fixed))
    half = float(stats.t.ppf(0.975, 1)) * fixed
    assert same.predicted == pytest.approx((0.1 - half, 0.1 + half))
    nothing = difference(same.mean, same.mean)
    assert (nothing.value, nothing.p) == (0, 1)
    assert nothing.se == pytest.approx(fixed * math.sqrt(2))
    near = combine(hosts([0.1, 0.101, 0.099], [0.0004] * 3))
    assert near.mean.se == pytest.approx(fixed)


def test_two_hosts_are_no_sample() -> None:
    with pytest.raises(ValueError, match="2 hosts are no sample, which takes 3"):
        combine(hosts([0.1, 0.2], [0.1, 0.1]))
    with pytest.raises(ValueError, match="no effects"):
        average([])


def test_a_difference_is_welchs() -> None:
    rng = np.random.default_rng(2)
    first, second = rng.normal(1, 1, 9), rng.normal(0, 4, 14)
    ends = [
        Estimate(float(x.mean()), float(x.std(ddof=1)) / math.sqrt(x.size), x.size - 1)
        for x in (first, second)
    ]
    found = difference(*ends)
    welch = stats.ttest_ind(first, second, equal_var=False)
    assert found.p == pytest.approx(welch.pvalue)
    assert found.interval() == pytest.approx(tuple(welch.confidence_interval()))


def test_the_average_of_equal_hosts_adds_their_degrees_of_freedom() -> None:
    found = average([Estimate(0.1, 0.02, 7), Estimate(0.3, 0.02, 7)])
    assert (found.value, found.df) == (pytest.approx(0.2), pytest.approx(14))
    assert found.se == pytest.approx(0.02 / math.sqrt(2))


@pytest.mark.parametrize("units", [[0.1] * 5, [0.1, 0.2, 0.1, 0.2, 0.3], [0.1] * 8, []])
def test_too_few_or_equal_units_have_no_effect(units: list[float]) -> None:
    assert effect_of(np.array(units, dtype=float)) is None


def simulated(rng: np.random.Generator, truth: float, spread: float, blocks: int) -> Estimate:
    found = effect_of(rng.normal(truth, spread, blocks))
    assert found is not None
    return found


@pytest.mark.parametrize(("blocks", "spreads"), [(6, (0.02, 0.02)), (8, (0.01, 0.05))])
def test_the_ratio_of_ratios_of_two_hosts_covers_the_truth(
    blocks: int, spreads: tuple[float, float]
) -> None:
    rng = np.random.default_rng(blocks)
    draws, hits = 500, 0
    for _ in range(draws):
        arm, intel = (
            simulated(rng, truth, spread, blocks)
            for truth, spread in zip((0.15, 0.10), spreads, strict=True)
        )
        low, high = difference(arm, intel).interval()
        hits += low <= 0.05 <= high
    # Nominal 95 %; three standard errors of 500 draws are 2.9 points.
    assert hits / draws > 0.92


@pytest.mark.parametrize("between", [0.0, 0.01, 0.03])
def test_summaries_and_their_ratio_cover_the_truth(between: float) -> None:
    rng = np.random.default_rng(12)
    draws = 250
    mean = further = ratio = 0
    for _ in range(draws):
        found = [
            combine([simulated(rng, rng.normal(at, between), 0.02, 8) for _ in range(3)])
            for at in (0.15, 0.10)
        ]
        low, high = found[0].mean.interval()
        mean += low <= 0.15 <= high
        low, high = found[0].predicted
        further += low <= rng.normal(0.15, between) <= high
        low, high = difference(found[0].mean, found[1].mean).interval()
        ratio += low <= 0.05 <= high
    # Three standard errors of 250 draws at 95 % are 4.1 points.
    assert mean / draws > 0.90
    assert ratio / draws > 0.90
    assert further / draws > 0.93
