"""How fast and how large is collecting? Synthetic sealed block files into a dataset.

    python benchmarks/collector.py [--runs 100000] [--few 1000]

Block files of 100 runs each, with wrk's output, histograms of about 300 rows, and snapshots of two
hosts with eight cgroups each. Making them is not timed. Each collect runs in a process of its own,
its start included: FEW runs into an empty dataset, RUNS runs into another (all_s), FEW more added
to those (added_s), and once more with nothing new (again_s). ``cost_ratio`` is CPU a run, start
apart, at RUNS against FEW: whether the cost grows with the dataset. The targets are for two cores
that nobody else uses; ``load_average`` says whether that was so. Prints a table and one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# This folder comes first otherwise, and this file would be found as `collector`.
sys.path[0:1] = [str(ROOT), str(ROOT / "tests" / "pure")]

from blockfiles import Campaign  # noqa: E402

from collector.blockfile import SCHEMA, block_name, encode_line  # noqa: E402
from collector.dataset.account import account  # noqa: E402
from collector.dataset.store import (  # noqa: E402
    Places,
    campaign_folders,
    campaign_plan,
    collect,
)

RUNS_A_BLOCK = 100
ARMS = (("arm-a", "a"), ("arm-b", "a"), ("arm-c", "a"), ("arm-a", "b"))
TARGETS = {"all_s": 45.0, "peak_mib": 1024.0, "cost_ratio": 1.2, "added_s": 3.0}


def campaign(runs: int) -> Campaign:
    """A campaign of ``runs`` runs in blocks of ``RUNS_A_BLOCK``."""
    return Campaign(
        blocks=runs // RUNS_A_BLOCK,
        arms=ARMS,
        rounds=RUNS_A_BLOCK // len(ARMS),
        values=300,
        idle_cgroups=8,
    )


def make(made: Campaign, state: str, first: int, last: int) -> None:
    """Write the block files ``first`` to ``last``; not synced, only the format matters here."""
    folder = made.folder(Path(state)) / "blocks"
    for block in range(first, last + 1):
        bodies = [{"type": "header", "schema": SCHEMA, **made.header(block)}]
        bodies += [{"type": "run", **body} for body in made.run_bodies(block)]
        bodies.append({"type": "seal", "runs": len(bodies) - 1, "ended_wall_ns": 0})
        previous = ""
        with (folder / f"{block_name(block, 1)}.jsonl").open("wb") as stream:
            for body in bodies:
                line, previous = encode_line(previous, body)
                stream.write(line)


def make_all(made: Campaign, state: Path, blocks: range) -> None:
    """Write block files on every usable CPU."""
    made.write_plan(state)
    cpus = len(os.sched_getaffinity(0))
    step = max(len(blocks) // (cpus * 8), 1)
    with ProcessPoolExecutor(cpus) as pool:
        tasks = [
            pool.submit(make, made, str(state), first, min(first + step - 1, blocks[-1]))
            for first in blocks[::step]
        ]
        for task in tasks:
            task.result()


@dataclass
class Cost:
    """What one collect cost: wall seconds, CPU seconds of its processes, peak resident MiB.

    Shared pages are counted in each process. CPU time says more than wall time on a busy machine.
    """

    wall_s: float
    cpu_s: float
    peak_mib: float


def usage(session: int) -> dict[int, tuple[float, float]]:
    """Process id -> (CPU seconds, resident MiB) of a session's processes."""
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            facts = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(facts[3]) == session:
            cpu_s = (int(facts[11]) + int(facts[12])) / ticks
            found[int(folder.name)] = (cpu_s, int(facts[21]) * page / 2**20)
    return found


def timed(state: Path) -> Cost:
    """Collect ``state`` in a process of its own, its start included."""
    began = time.perf_counter()
    argv = [sys.executable, __file__, "--collect", str(state)]
    child = subprocess.Popen(argv, start_new_session=True)
    peak, cpu = 0.0, {}
    while child.poll() is None:
        now = usage(child.pid)
        peak = max(peak, sum(mib for _, mib in now.values()))
        cpu.update({pid: seconds for pid, (seconds, _) in now.items()})
        time.sleep(0.05)
    assert child.returncode == 0, f"collect ended with {child.returncode}"
    return Cost(time.perf_counter() - began, sum(cpu.values()), peak)


def collect_here(state: Path) -> None:
    """What is timed: the dataset and the sum, as the command does."""
    places = Places(state)
    index = collect(places)
    for folder in campaign_folders(places):
        counted = account(places, index, campaign_plan(folder))
        assert counted.counts["good"] + counted.counts["missing"] == counted.planned, counted.line()


def measure(runs: int, some: int) -> dict[str, float]:
    """Make the block files and collect them; see the module's text for the names."""
    with tempfile.TemporaryDirectory(prefix="collector-bench-") as temporary:
        few, many, none = (Path(temporary, name) for name in ("few", "many", "none"))
        made, last = campaign(runs + some), runs // RUNS_A_BLOCK
        make_all(campaign(some), few, range(1, some // RUNS_A_BLOCK + 1))
        make_all(made, many, range(1, last + 1))
        raw = sum(path.stat().st_size for path in many.rglob("*.jsonl"))
        start, small, large = timed(none), timed(few), timed(many)
        make_all(made, many, range(last + 1, last + some // RUNS_A_BLOCK + 1))
        added, again = timed(many), timed(many)
        parts = sum(path.stat().st_size for path in Places(many).dataset.rglob("*.parquet"))
    few_us = 1e6 * (small.cpu_s - start.cpu_s) / some
    many_us = 1e6 * (large.cpu_s - start.cpu_s) / runs
    return {
        "runs": runs,
        "few": some,
        "cpus": len(os.sched_getaffinity(0)),
        "load_average": os.getloadavg()[1],
        "raw_mib": raw / 2**20,
        "dataset_mib": parts / 2**20,
        "start_s": start.wall_s,
        "few_s": small.wall_s,
        "all_s": large.wall_s,
        "all_cpu_s": large.cpu_s,
        "peak_mib": large.peak_mib,
        "few_run_cpu_us": few_us,
        "all_run_cpu_us": many_us,
        "cost_ratio": many_us / few_us,
        "added_s": added.wall_s,
        "added_cpu_s": added.cpu_s,
        "again_s": again.wall_s,
    }


def main() -> None:
    """Make, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--few", type=int, default=1_000)
    parser.add_argument("--collect", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.collect:
        collect_here(given.collect)
        return
    found = {name: round(value, 3) for name, value in measure(given.runs, given.few).items()}
    for name, value in found.items():
        target = f"  (target <= {TARGETS[name]:g})" if name in TARGETS else ""
        print(f"{name:16} {value:>12}{target}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
