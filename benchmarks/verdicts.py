"""How often are the verdicts wrong? Campaigns with a known truth, judged by the real rule.

    python benchmarks/verdicts.py [--campaigns 1000] [--seed 1] [--measured STATE]

Each line is one kind of noise and one design (tests/pure/simulation.py). Wanted: *different* under
no difference in at most 5 % of the campaigns (a family of three contrasts), *equivalent* at the
margin in at most 5 %, a change between two campaigns where there is none in at most 5 % of pairs
(`compare OLD NEW`), *different* in at least 90 % at the margin plus twice the half-width, and
intervals that hold the truth in at least 93 % (more than 97 % is allowed). A campaign is stopped by
precision, as the engine does it, so what stopping does to the rates is in them.

``--measured`` prints instead what the noise of real campaigns looks like: of each cell of a lab's
dataset, the spread of one run, its correlation from run to run, its tails and its drift. The kinds
of noise that are simulated were chosen, and want to be held against it. Prints a table and one JSON
line; exit code 1 where a rate is outside its bound.
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[0:1] = [str(ROOT), str(ROOT / "tests" / "pure")]

from scipy import stats  # noqa: E402
from simulation import NOISES, Design, Rates, rates  # noqa: E402

from analysis.contrast import CELL  # noqa: E402
from analysis.dataset import good_runs, open_dataset  # noqa: E402

DEPLOYMENTS = (0.0, 0.5, 1.0)
DESIGNS = (Design(), Design(sharing=2))
FEWEST = 24


def simulate(count: int, seed: int) -> list[Rates]:
    """Every noise with every deployment spread and design; says how far it is as it goes."""
    jobs = [
        (noise.with_deployments(spread), design)
        for noise in NOISES
        for spread in DEPLOYMENTS
        for design in DESIGNS
    ]
    done: dict[int, Rates] = {}
    with ProcessPoolExecutor() as pool:
        futures = {pool.submit(rates, *job, count, seed): n for n, job in enumerate(jobs)}
        for future in as_completed(futures):
            done[futures[future]] = future.result()
            print(f"\r{len(done)} of {len(jobs)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return [done[n] for n in sorted(done)]


def show(found: list[Rates]) -> None:
    """A line a simulation, what is out of bounds marked."""
    print(
        f"{'noise':<22} {'deploym.':>8} {'sharing':>7} {'blocks':>6} {'+-':>6} "
        f"{'false diff.':>11} {'false equiv.':>12} {'false change':>12} {'power':>6} {'at':>6} "
        f"{'coverage':>8}"
    )
    for one in found:
        print(
            f"{one.noise.name:<22} {one.noise.deployment:>8.1f} {one.design.sharing:>7} "
            f"{one.blocks:>6.1f} {one.half_width:>6.1%} {one.false_different:>11.1%} "
            f"{one.false_equivalent:>12.1%} {one.false_changed:>12.1%} {one.power:>6.1%} "
            f"{one.effect:>6.1%} "
            f"{one.coverage:>8.1%}  {', '.join(one.faults())}"
        )


def measured(state: Path) -> None:
    """What the noise of real campaigns looks like, in log units; one line a cell."""
    runs = good_runs(open_dataset(state).runs())
    runs = runs[runs["throughput_rps"].gt(0) & ~runs["emulated"].eq(True)]
    ordered = runs.sort_values("started_wall_s")
    for (campaign, *cell), rows in ordered.groupby(["campaign", *CELL]):
        if len(rows) < FEWEST:
            continue
        log = np.log(rows["throughput_rps"].astype("float64"))
        left = (log - log.groupby([rows["arm"], rows["copy"]]).transform("median")).to_numpy()
        spread = float(left.std())
        lags = [float(np.corrcoef(left[:-k], left[k:])[0, 1]) for k in (1, 2, 4)]
        drift = float(np.polyfit(np.linspace(0, 1, left.size), left, 1)[0])
        print(
            f"{campaign} {cell[0]} {cell[3]} {cell[4]}: {left.size} runs, spread {spread:.3f}, "
            f"correlation at 1, 2, 4 runs {', '.join(f'{lag:.2f}' for lag in lags)}, "
            f"excess kurtosis {stats.kurtosis(left):.1f}, drift {drift:+.3f}"
        )


def main() -> int:
    """Simulate and print, or print what was measured; 1 where a rate is outside its bound."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--campaigns", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--measured", type=Path, metavar="STATE")
    asked = parser.parse_args()
    if asked.measured:
        measured(asked.measured)
        return 0
    found = simulate(asked.campaigns, asked.seed)
    show(found)
    print(json.dumps([asdict(one) for one in found]))
    return 1 if any(one.faults() for one in found) else 0


if __name__ == "__main__":
    sys.exit(main())
