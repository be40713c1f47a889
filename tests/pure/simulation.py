"""Campaigns with a known truth, judged by the analysis's own rule: how often is it wrong?

A campaign is made run by run, in the order of time: a slow wander of the machine (autoregressive),
a drift over the whole campaign, a spread between deployments, and what is left of a run, normal or
with heavy tails. In each block the arms come in random order, the baseline twice. Every arm is the
same system; a true effect is added to an arm's log ratios afterwards, which is what it would do.

The seed decides everything. Spreads are in log units, of one run.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy import stats
from scipy.signal import lfilter

from analysis.contrast import Cell, Pairs
from analysis.estimate import Floats, Location, hodges_lehmann, holm, noise_floor
from analysis.metric import primary_of
from analysis.newer import judge_change, margin_of
from analysis.noise import LEAST_MARGIN
from analysis.precision import width
from analysis.two_samples import rank_sum_p
from analysis.verdict import Contrast, Verdict, judge_all

gc.freeze()  # statsmodels collects garbage at each adjustment: eight times of all the rest together

TRANCHES: Final = (12, 18, 24, 30)
ARMS: Final = 3
HISTORY: Final = 2  # earlier campaigns whose A/A pairs are known too
METRIC: Final = primary_of("wrk")
CELL: Final = Cell("lab-2", "lab-1", "", "wrk", 16)


@dataclass(frozen=True, slots=True)
class Noise:
    """What moves a figure that should stay. ``spread``: SD of what is left of one run.

    ``deployment``: SD between deployments, over ``spread``. ``wander``: SD of the slow part, over
    ``spread``, and ``memory`` its correlation from run to run. ``drift``: what a whole campaign
    loses. ``tails``: degrees of freedom of a run's own noise, None for a normal one.
    """

    name: str
    spread: float
    deployment: float = 0.0
    wander: float = 0.0
    memory: float = 0.0
    drift: float = 0.0
    tails: float | None = None

    def with_deployments(self, spread: float) -> Noise:
        """The same with another spread between deployments."""
        return replace(self, deployment=spread)


NOISES: Final = (
    Noise("normal", 0.03),
    # Chosen to be hard, not measured: what a lab's own noise is, benchmarks/verdicts.py --measured
    # prints.
    Noise("wandering", 0.03, wander=1.0, memory=0.8, drift=0.05, tails=4.0),
)


@dataclass(frozen=True, slots=True)
class Design:
    """Blocks that share a deployment; one: each has its own, as the engine makes them."""

    sharing: int = 1


@dataclass(frozen=True, slots=True)
class Judged:
    """One campaign under no difference: its verdicts, and by ``shifted`` what other truths give.

    ``delta`` is the margin and ``half_width`` the first arm's, in log units.
    """

    n: int
    verdicts: tuple[Verdict, ...]
    intervals: tuple[Location, ...]
    delta: float
    half_width: float
    units: tuple[Floats, ...]

    def covered(self) -> list[bool]:
        """For each arm whether its interval holds the truth, no difference."""
        return [
            one.low <= 0 <= one.high
            for one in self.intervals
            if one.low is not None and one.high is not None
        ]

    def shifted(self, effect: float) -> Verdict:
        """The first arm's verdict, were its true log ratio ``effect``."""
        floor = self.verdicts[0].noise_floor
        known = None if floor is None else float(np.log1p(floor))
        units = [self.units[0] + effect, *self.units[1:]]
        return judge_all([_contrast(one, i, known) for i, one in enumerate(units)])[0]


def campaigns(noise: Noise, design: Design, count: int, seed: int) -> Floats:
    """Log figures (campaign, block, slot); slots: the baseline, its copy, the arms."""
    rng = np.random.default_rng(seed)
    blocks, slots = TRANCHES[-1], 2 + ARMS
    runs = blocks * slots
    own = rng.normal(size=(count, runs))
    if noise.tails is not None:
        own = rng.standard_t(noise.tails, (count, runs)) / np.sqrt(noise.tails / (noise.tails - 2))
    step = rng.normal(size=(count, runs)) * np.sqrt(1 - noise.memory**2)
    step[:, 0] /= np.sqrt(1 - noise.memory**2)
    slow = lfilter([1.0], [1.0, -noise.memory], step, axis=1)
    in_time = noise.spread * (own + noise.wander * slow)
    in_time = in_time - noise.drift * np.linspace(0, 1, runs)
    order = rng.permuted(np.tile(np.arange(slots), (count, blocks, 1)), axis=2)
    figures = np.take_along_axis(in_time.reshape(count, blocks, slots), order, axis=2)
    deployed = rng.normal(size=(count, -(-blocks // design.sharing), slots))
    deployed = np.repeat(deployed, design.sharing, axis=1)[:, :blocks]
    found: Floats = figures + noise.spread * noise.deployment * deployed
    return found


def judge(figures: Floats, design: Design, seed: int) -> Iterator[Judged]:
    """Judge each campaign, stopping it by precision, its noise floor from its A/A pairs."""
    before: deque[Floats] = deque(maxlen=HISTORY)
    for i, one in enumerate(figures):
        blocks, units = _until_precise(one, design)
        intervals = [hodges_lehmann(each) for each in units]
        own = _units(one[:blocks, 1] - one[:blocks, 0], design)
        pool = np.concatenate([own, *before])
        before.append(own)
        floor = noise_floor(pool, own.size, seed + i)
        verdicts = judge_all([_contrast(each, arm, floor) for arm, each in enumerate(units)])
        yield Judged(
            n=blocks,
            verdicts=tuple(verdicts),
            intervals=tuple(intervals),
            delta=max(float(np.log1p(LEAST_MARGIN)), floor or 0.0),
            half_width=_half_width(intervals[0]),
            units=tuple(units),
        )


def _until_precise(one: Floats, design: Design) -> tuple[int, list[Floats]]:
    for blocks in TRANCHES:
        ratios = one[:blocks, 2:] - one[:blocks, :1]
        units = [_units(ratios[:, arm], design) for arm in range(ARMS)]
        if all(width(each, "", "", METRIC).reached for each in units):
            break
    return blocks, units


def _half_width(at: Location) -> float:
    return np.inf if at.low is None or at.high is None else (at.high - at.low) / 2


def _units(ratios: Floats, design: Design) -> Floats:
    """One unit a pair of deployments: the median of its blocks, as ``analysis.contrast`` has it."""
    if design.sharing == 1:
        return ratios
    parts = np.split(ratios, range(design.sharing, ratios.size, design.sharing))
    return np.array([np.median(part) for part in parts])


def _contrast(units: Floats, arm: int, floor: float | None) -> Contrast:
    pairs = Pairs(units, int(units.size), 0)
    return Contrast(CELL, METRIC.name, f"arm-{arm}", "baseline", pairs, floor)


@dataclass(frozen=True, slots=True)
class Rates:
    """What a simulation found. Rates are of campaigns; ``coverage`` is of intervals.

    ``power`` is the rate of *different* at ``effect``, the usual margin plus twice the usual
    half-width. ``false_changed``: of pairs of campaigns, one after the other, those in which an arm
    is *different* from before.
    """

    noise: Noise
    design: Design
    campaigns: int
    false_different: float
    false_equivalent: float
    power: float
    effect: float
    coverage: float
    half_width: float
    blocks: float
    false_changed: float

    def faults(self) -> list[str]:
        """What is outside its bound, by more than chance can do in so many campaigns."""
        wrong = {
            "false different": self.false_different > self._allowed(0.05, self.campaigns),
            "false equivalent": self.false_equivalent > self._allowed(0.05, self.campaigns),
            "power": 1 - self.power > self._allowed(0.10, self.campaigns),
            "false changed": self.false_changed > self._allowed(0.05, self.campaigns // 2),
            "coverage": 1 - self.coverage > self._allowed(0.07, self.campaigns),
        }
        return [name for name, is_wrong in wrong.items() if is_wrong]

    @staticmethod
    def _allowed(rate: float, count: int) -> float:
        """The largest share that a true ``rate`` gives in 999 of 1,000 simulations."""
        return float(stats.binom.ppf(0.999, count, rate)) / count


def rates(noise: Noise, design: Design, count: int, seed: int) -> Rates:
    """Simulate ``count`` campaigns and count the errors."""
    found = list(judge(campaigns(noise, design, count, seed), design, seed))
    half_width = float(np.median([one.half_width for one in found]))
    effect = float(np.median([one.delta for one in found])) + 2 * half_width
    covered = [each for one in found for each in one.covered()]
    return Rates(
        noise=noise,
        design=design,
        campaigns=count,
        false_different=_share(any(v.word == "different" for v in one.verdicts) for one in found),
        false_equivalent=_share(one.shifted(one.delta).word == "equivalent" for one in found),
        power=_share(one.shifted(effect).word == "different" for one in found),
        effect=effect,
        coverage=_share(covered),
        half_width=half_width,
        blocks=float(np.mean([one.n for one in found])),
        false_changed=_share(map(_changed, found[::2], found[1::2])),
    )


def _changed(then: Judged, now: Judged) -> bool:
    """Whether ``compare OLD NEW`` finds that an arm is not what it was."""
    pairs = list(zip(then.units, now.units, strict=True))
    adjusted = holm([rank_sum_p(*pair) for pair in pairs])
    delta = margin_of(then.verdicts[0], now.verdicts[0])
    judged = (judge_change(*pair, delta, p, ARMS) for pair, p in zip(pairs, adjusted, strict=True))
    return any(word == "different" for word, _ in judged)


def _share(values: Sequence[bool] | Iterator[bool]) -> float:
    listed = list(values)
    return sum(listed) / len(listed) if listed else float("nan")
