"""What a plan costs and what it can show, before anything is started."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from scipy.special import stdtrit

from collector.plan.history import ASSUMED_SD
from collector.plan.model import Load, Plan
from collector.plan.tools import warmup_s

RUN_OVERHEAD_S: Final = 0.3  # the target of the harness (launch, snapshots, sync)
DEPLOYMENT_S: Final = 10.0  # registering a block's arms until they answer, and stopping them
ASSUMED_RPS: Final = 500.0  # a request at a time through nginx and an interpreter: 400 to 700
MARGIN: Final = 0.02  # the least that a verdict calls a difference
NORMAL_95: Final = 1.959964
LEAST_BLOCKS: Final = 6  # fewer have no 95 % interval


@dataclass(frozen=True, slots=True)
class Estimate:
    """Size of a plan. ``blocks``, ``runs`` and ``seconds`` are the first tranche's.

    ``*_cap`` are of all tranches. ``detectable`` is ``detectable_effect`` after the first tranche,
    ``detectable_cap`` after the last; ``to_know`` is ``blocks_to_know``.
    """

    hosts: int
    cells: int
    blocks: int
    blocks_cap: int
    runs: int
    runs_cap: int
    seconds: float
    seconds_cap: float
    detectable: float | None
    detectable_cap: float | None
    to_know: int

    @property
    def minutes(self) -> float:
        """Minutes of the first tranche."""
        return self.seconds / 60


def detectable_effect(blocks: int, noise_sd: float = ASSUMED_SD) -> float | None:
    """Smallest true effect that ``blocks`` paired blocks find *different* as often as not.

    A ratio less 1: the margin (2 %, or what identical systems seem to differ by in 95 of 100
    campaigns, 1.96 sd / sqrt(n)) and on top of it the half-width of the interval,
    t(0.975, n - 1) sd / sqrt(n). None for fewer than two blocks. The verdict's own interval
    (Hodges-Lehmann) is close to that.

    >>> f"{detectable_effect(8):.3f}"
    '0.080'
    """
    if blocks < 2:
        return None
    error = noise_sd / math.sqrt(blocks)
    margin = max(math.log1p(MARGIN), NORMAL_95 * error)
    return math.expm1(margin + float(stdtrit(blocks - 1, 0.975)) * error)


def blocks_to_know(noise_sd: float) -> int:
    """Blocks a cell until the interval's half-width is the least margin, 2 %: six or more."""
    n = LEAST_BLOCKS
    while float(stdtrit(n - 1, 0.975)) * noise_sd / math.sqrt(n) > math.log1p(MARGIN):
        n += 1
    return n


def _load_seconds(plan: Plan, load: Load) -> float:
    measured = plan.profile.measure_s if load.requests is None else load.requests / ASSUMED_RPS
    return warmup_s(plan.profile, load) + measured


def estimate(plan: Plan, noise_sd: float = ASSUMED_SD) -> Estimate:
    """Count a plan's blocks and runs, and estimate its time and the effect that it can show.

    Time: blocks one after the other, each its load seconds, 0.3 s a run and 10 s for its
    deployments; a load of N requests is taken to need N / 500 seconds. ``noise_sd``: standard
    deviation of a paired log-ratio.
    """
    blocks = runs = first_replicates = replicates = 0
    seconds = seconds_cap = 0.0
    for block in plan.blocks:
        each = _load_seconds(plan, block.load) + RUN_OVERHEAD_S
        cost = DEPLOYMENT_S + each * len(block.runs)
        seconds_cap += cost
        replicates = max(replicates, block.replicate)
        if block.tranche == 1:
            blocks += 1
            runs += len(block.runs)
            seconds += cost
            first_replicates = max(first_replicates, block.replicate)
    return Estimate(
        hosts=len({block.host for block in plan.blocks}),
        cells=len({(block.host, block.variant, block.load) for block in plan.blocks}),
        blocks=blocks,
        blocks_cap=len(plan.blocks),
        runs=runs,
        runs_cap=sum(len(block.runs) for block in plan.blocks),
        seconds=seconds,
        seconds_cap=seconds_cap,
        detectable=detectable_effect(first_replicates, noise_sd),
        detectable_cap=detectable_effect(replicates, noise_sd),
        to_know=blocks_to_know(noise_sd),
    )
