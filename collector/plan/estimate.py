"""What a plan costs and what it can show, before anything is started."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from scipy.special import stdtrit

from collector.plan.model import Load, Plan

RUN_OVERHEAD_S: Final = 0.3  # the target of the harness (launch, snapshots, sync)
DEPLOYMENT_S: Final = 10.0  # registering a block's arms until they answer, and stopping them
ASSUMED_RPS: Final = 500.0  # a request at a time through nginx and an interpreter: 400 to 700
NOISE_SD: Final = 0.05  # of the paired log-ratio, quick runs with CPUs set apart


@dataclass(frozen=True, slots=True)
class Estimate:
    """Size of a plan. ``blocks``, ``runs`` and ``seconds`` are the first tranche's.

    ``*_cap`` are of all tranches. ``detectable`` is the smallest effect, as a ratio less 1, whose
    95 % interval would leave out "no difference" after the first tranche; ``detectable_cap`` after
    the last. None with fewer than two blocks a cell.
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

    @property
    def minutes(self) -> float:
        """Minutes of the first tranche."""
        return self.seconds / 60


def detectable_effect(blocks: int, noise_sd: float = NOISE_SD) -> float | None:
    """Smallest effect that ``blocks`` paired blocks would show, as a ratio less 1.

    Half-width of the t interval of the mean log-ratio: exp(t(0.975, n - 1) sd / sqrt(n)) - 1.
    None for fewer than two blocks. The verdict's own interval (Hodges-Lehmann) is close to it, and
    its margin comes on top.

    >>> f"{detectable_effect(8):.3f}"
    '0.043'
    """
    if blocks < 2:
        return None
    quantile = float(stdtrit(blocks - 1, 0.975))
    return math.expm1(quantile * noise_sd / math.sqrt(blocks))


def _load_seconds(plan: Plan, load: Load) -> float:
    measured = plan.profile.measure_s if load.requests is None else load.requests / ASSUMED_RPS
    return plan.profile.warmup_s + measured


def estimate(plan: Plan, noise_sd: float = NOISE_SD) -> Estimate:
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
    )
