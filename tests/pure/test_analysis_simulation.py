"""The verdicts' error rates, by simulation: the fast part of ``benchmarks/verdicts.py``."""

from __future__ import annotations

import numpy as np
import pytest
from simulation import NOISES, TRANCHES, Design, Noise, campaigns, judge, rates


@pytest.mark.parametrize("noise", NOISES, ids=lambda noise: noise.name)
def test_the_rates_are_within_their_bounds(noise: Noise) -> None:
    found = rates(noise.with_deployments(0.5), Design(), 100, seed=20261122)
    assert found.faults() == []
    assert found.false_different <= 0.05
    assert found.false_changed <= 0.05
    assert found.coverage >= 0.93
    assert found.power >= 0.9


def test_blocks_that_share_a_deployment_are_one_unit() -> None:
    noise = NOISES[0].with_deployments(1.0)
    shared = next(judge(campaigns(noise, Design(2), 1, seed=3), Design(2), seed=3))
    assert shared.verdicts[0].n == shared.n // 2
    # Taken for units of their own, the same blocks would promise more than they hold.
    wrong = campaigns(noise, Design(2), 80, seed=3)
    missed = [not all(one.covered()) for one in judge(wrong, Design(), seed=3)]
    honest = [not all(one.covered()) for one in judge(wrong, Design(2), seed=3)]
    assert np.mean(honest) < np.mean(missed)


def test_quiet_campaigns_stop_early_and_loud_ones_at_the_cap() -> None:
    quiet = judge(campaigns(Noise("quiet", 0.005), Design(), 3, seed=1), Design(), seed=1)
    assert {one.n for one in quiet} == {TRANCHES[0]}
    loud = judge(campaigns(Noise("loud", 0.2), Design(), 3, seed=1), Design(), seed=1)
    assert {one.n for one in loud} == {TRANCHES[-1]}


def test_the_noise_is_what_its_name_says() -> None:
    still = campaigns(Noise("still", 0.03), Design(), 200, seed=1)
    assert still.std() == pytest.approx(0.03, rel=0.02)
    wandering = campaigns(Noise("wandering", 0.03, wander=1.0, memory=0.9), Design(), 200, seed=1)
    assert wandering.std() == pytest.approx(0.03 * np.sqrt(2), rel=0.03)
    means = wandering.mean(axis=2)
    together = np.corrcoef(means[:, :-1].ravel(), means[:, 1:].ravel())[0, 1]
    assert together > 0.4, "neighbouring blocks are alike"
    heavy = campaigns(Noise("heavy", 0.03, tails=3.0), Design(), 200, seed=1)
    assert (abs(heavy) > 0.15).mean() > 10 * (abs(still) > 0.15).mean()
