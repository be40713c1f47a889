"""Does the lab find a difference where there is none? Campaigns whose arms are all the same arm.

    python benchmarks/aa.py [-i INVENTORY] [--campaigns 3] [--blocks 9]

Measures the experiment ``aa`` anew so many times on a lab that is up, and prints each contrast's
verdict on three metrics. One *different* in twenty families would be chance; exit code 1 if there
is any, so that somebody looks.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0:1] = [str(ROOT)]

from collector.plan.inventory import load_inventory  # noqa: E402

METRICS = ("throughput_rps", "latency_p50_s", "cpu_per_request_s")


def run(*argv: str, shown: bool = False, allowed: tuple[int, ...] = (0,)) -> str:
    """Run ``python -m ...`` from the repository's root; end with what it said where it fails."""
    done = subprocess.run(
        [sys.executable, "-m", *argv], cwd=ROOT, text=True, check=False,
        stdout=None if shown else subprocess.PIPE,
    )  # fmt: skip
    if done.returncode not in allowed:
        sys.exit(f"python -m {' '.join(argv)}: exit code {done.returncode}")
    return done.stdout or ""


def verdicts(state: Path, metric: str) -> list[tuple[str, str, float | None, float]]:
    """(arm, word, ratio, margin) of the newest campaign."""
    asked = ("--baseline", "tcp-loopback", "--metric", metric, "--format", "json")
    found = json.loads(run("analysis", "compare", str(state), *asked))
    return [
        (one["arm"], one["word"], one["ratio"], one["margin"])
        for table in found["tables"]
        for one in table["verdicts"]
    ]


def main() -> int:
    """Measure and print; 1 where something was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("-i", "--inventory", type=Path, default=Path("inventories/local"))
    parser.add_argument("--campaigns", type=int, default=3)
    parser.add_argument("--blocks", type=int, default=9)
    asked = parser.parse_args()
    state = load_inventory(asked.inventory).lab_state
    wrong = total = 0
    for number in range(1, asked.campaigns + 1):
        measure = ("measure", "aa", "-i", str(asked.inventory), "--new")
        run("collector", *measure, "--blocks", str(asked.blocks), "--events", "plain", shown=True)
        # 1: something in this lab is quarantined, which is no matter here.
        run("collector", "collect", "--state", str(state), allowed=(0, 1))
        for metric in METRICS:
            for arm, word, ratio, margin in verdicts(state, metric):
                total += 1
                wrong += word == "different"
                effect = "none" if ratio is None else f"{ratio - 1:+.2%}"
                print(
                    f"campaign {number} {metric:<18} {arm:<7} {effect:>7} "
                    f"(margin {margin:.1%}) {word}"
                )
    print(f"{wrong} of {total} verdicts found a difference where there is none")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
