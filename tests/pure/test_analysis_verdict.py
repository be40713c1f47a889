"""Verdicts: the rule's cases, and that a known effect and none come out as such."""

from __future__ import annotations

import math

import numpy as np
import pytest

from analysis import __version__
from analysis.contrast import Cell, Pairs
from analysis.noise import Twin
from analysis.verdict import Contrast, Verdict, judge_all, judge_twin

CELL = Cell("lab-2", "lab-1", "", "wrk", 16)
SPREAD = [-0.004, -0.003, -0.002, -0.001, 0.001, 0.002, 0.003, 0.004]


def contrast(units: list[float], arm: str = "uds", floor: float | None = None) -> Contrast:
    pairs = Pairs(np.array(units, dtype=float), len(units), 0)
    return Contrast(CELL, "throughput_rps", arm, "tcp-loopback", pairs, floor)


def judge(units: list[float], floor: float | None = None) -> Verdict:
    return judge_all([contrast(units, floor=floor)])[0]


@pytest.mark.parametrize(
    ("shift", "floor", "word"),
    [
        (0.10, None, "different"),
        (-0.10, None, "different"),
        (0.0, None, "equivalent"),
        (0.012, None, "equivalent"),
        (0.02, None, "inconclusive"),  # at the margin's edge
        (0.10, 0.12, "equivalent"),  # the lab cannot tell 10 % from noise
        (0.05, 0.045, "different"),
        (0.05, 0.048, "inconclusive"),
    ],
)
def test_the_rule(shift: float, floor: float | None, word: str) -> None:
    verdict = judge([shift + s for s in SPREAD], floor)
    assert verdict.word == word
    assert verdict.ratio == pytest.approx(math.exp(shift))
    assert verdict.margin == pytest.approx(max(0.02, math.expm1(floor or 0)))
    assert verdict.analysis == __version__


def test_equivalence_is_judged_by_the_90_interval() -> None:
    verdict = judge([0.010 + 2.2 * s for s in SPREAD])
    edge = 1.02
    assert verdict.high90 is not None and verdict.high is not None
    assert verdict.high90 < edge
    assert verdict.word == "equivalent"


def test_no_pairs_and_too_few_are_inconclusive_without_an_interval() -> None:
    none = judge([])
    assert (none.word, none.ratio, none.p, none.n) == ("inconclusive", None, None, 0)
    assert "no block has a good run" in none.reason
    few = judge([0.1 + s for s in SPREAD[:4]])
    assert (few.word, few.low, few.blocks_needed) == ("inconclusive", None, 6)
    assert "takes 6" in few.reason


def test_holm_can_hold_back_a_clear_effect_and_says_how_many_blocks_it_takes() -> None:
    alone = [0.2 + s for s in SPREAD[1:7]]
    family = [contrast(alone, f"arm-{i}") for i in range(2)]
    assert judge(alone).word == "different"
    held = judge_all(family)[0]
    assert held.word == "inconclusive"
    assert held.p_adjusted == pytest.approx(2 * 2 / 2**6)
    assert held.blocks_needed == 7
    assert "cannot survive Holm over 2, which takes 7" in held.reason


def test_an_empty_contrast_stays_in_the_family() -> None:
    verdicts = judge_all([contrast([0.2 + s for s in SPREAD]), contrast([], "other")])
    assert verdicts[0].tests == 2
    assert verdicts[0].p_adjusted == pytest.approx(2 * verdicts[0].p)


def test_a_wide_interval_asks_for_more_blocks_and_a_narrow_one_at_the_edge_does_not() -> None:
    wide = judge([20 * s for s in SPREAD])
    assert wide.word == "inconclusive"
    assert wide.blocks_needed is not None and wide.blocks_needed > wide.n
    assert judge([0.02 + s for s in SPREAD]).blocks_needed is None


def test_the_gate_uses_a_fixed_margin_and_not_the_floor() -> None:
    units = np.array([0.05 + s for s in SPREAD])
    twin = Twin(CELL, "throughput_rps", "tcp-loopback", Pairs(units, 8, 0), units, 1)
    verdict = judge_twin(twin)
    assert verdict.word == "different"
    assert verdict.margin == pytest.approx(0.02)


@pytest.mark.parametrize(("effect", "expected"), [(0.08, "different"), (0.0, "equivalent")])
def test_known_effects_are_found(effect: float, expected: str) -> None:
    rng = np.random.default_rng(5)
    words = [judge(list(rng.normal(effect, 0.01, 12))).word for _ in range(100)]
    assert words.count(expected) >= 95


def test_no_effect_is_hardly_ever_different() -> None:
    rng = np.random.default_rng(6)
    words = [judge(list(rng.normal(0, 0.05, 8))).word for _ in range(300)]
    assert words.count("different") <= 6
