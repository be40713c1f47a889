"""What the harness itself costs, on a lab that is up, beside two other ways of doing the same.

Prints, measured side by side in one call: overhead a run (wall time that is neither warm-up nor
measurement) and load share (warm-up and measurement over the wall time of the blocks) in the quick
and standard profiles; the overhead of a hyperfine loop and of one Ansible task a measurement; and
the warm time of each stage. Targets: overhead <= 0.3 s, load share >= 0.90 quick, >= 0.97 standard.

    python benchmarks/harness.py [-i INVENTORY] [--quick-only]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0:1] = [str(ROOT)]

from collector.blockfile import read_lines  # noqa: E402
from collector.plan.inventory import Inventory, load_inventory  # noqa: E402

SECONDS = 2
STAGES = ("hosts", "cluster", "workloads", "collect", "analyse")


def run(*argv: str, **environment: str) -> str:
    """Run a command from the repository's root and return its output; show it if it fails."""
    done = subprocess.run(
        argv,
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(argv)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def campaign(inventory: Path, state: Path, profile: str, blocks: int) -> None:
    """Measure a fresh campaign and print overhead and load share."""
    run(
        sys.executable, "-m", "collector", "measure", "web", "-i", str(inventory), "--new",
        "--profile", profile, "--blocks", str(blocks), "--events", "plain",
    )  # fmt: skip
    folder = sorted(
        (state / "results" / "campaigns").glob("web-*"), key=lambda one: one.stat().st_mtime
    )[-1]
    overheads, load_ns, wall_ns = [], 0, 0
    for path in sorted(folder.glob("blocks/*.jsonl")):
        bodies = [body for _, body in read_lines(path)]
        wall_ns += bodies[-1]["ended_wall_ns"] - bodies[0]["started_wall_ns"]
        for body in bodies[1:-1]:
            spans = [body[part] for part in ("warmup", "measure")]
            loaded = sum(one["ended_monotonic_ns"] - one["started_monotonic_ns"] for one in spans)
            load_ns += loaded
            overheads.append(
                (body["finished_monotonic_ns"] - body["began_monotonic_ns"] - loaded) / 1e9
            )
    report(f"overhead a run, {profile}", statistics.median(overheads), "s (median)", len(overheads))
    report(f"load share, {profile}", load_ns / wall_ns, "of the blocks' wall time", len(overheads))
    stages: dict[str, list[float]] = {}
    for line in (folder / "attempts.jsonl").read_text().split("\n"):
        for stage, seconds in json.loads(line or "{}").get("stages", {}).items():
            stages.setdefault(stage, []).append(seconds)
    for stage, seconds in stages.items():
        report(
            f"  a block: {stage}, {profile}", statistics.median(seconds), "s (median)", len(seconds)
        )


def report(what: str, figure: float, unit: str, n: int) -> None:
    """Print one figure."""
    print(f"{what:44} {figure:8.3f} {unit}, n = {n}", flush=True)


def peers(inventory: Path, lab: Inventory) -> None:
    """Print the overhead of a hyperfine loop and of one Ansible task a measurement."""
    environment = dict(
        line.split("=", 1) for line in (lab.lab_state / "lab.env").read_text().splitlines()
    )
    nomad = str(lab.lab_state / "bin" / "nomad")
    job = (
        "-var",
        "id=bench",
        f"-var-file={lab.lab_state}/images.hcl",
        "-var-file=jobs/web/tcp-loopback.hcl",
    )
    run(nomad, "job", "run", *job, "jobs/web.nomad.hcl", **environment)
    try:
        listed = json.loads(run(nomad, "job", "allocs", "-json", "bench", **environment))
        shown = json.loads(run(nomad, "alloc", "status", "-json", listed[0]["ID"], **environment))
        (port,) = (
            one for one in shown["AllocatedResources"]["Shared"]["Ports"] if one["Label"] == "http"
        )
        command = f"wrk -t1 -c16 -d{SECONDS}s http://{port['HostIP']}:{port['Value']}/"
        hyperfine(command)
        ansible(inventory, lab, command)
    finally:
        run(nomad, "job", "stop", "-purge", "bench", **environment)


def hyperfine(command: str) -> None:
    """Time a plain loop on this machine."""
    for package in ("hyperfine", "wrk"):
        if shutil.which(package) is None:
            run("apt-get", "install", "-y", "-q", "--no-install-recommends", package)
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, "result.json")
        run("hyperfine", "--shell=none", "--runs", "10", "--export-json", str(result), command)
        times = json.loads(result.read_text())["results"][0]["times"]
    report(
        "hyperfine loop, beyond the seconds asked for", statistics.median(times) - SECONDS, "s", 10
    )


def ansible(inventory: Path, lab: Inventory, command: str) -> None:
    """Time one task a measurement, on the load host."""
    (load,) = lab.group("load")
    tasks = [{"name": f"Run {n}", "ansible.builtin.command": command} for n in range(1, 6)]
    with tempfile.TemporaryDirectory() as folder:
        times = []
        for count in (1, 5):
            play = [
                {"name": "p", "hosts": load.name, "gather_facts": False, "tasks": tasks[:count]}
            ]
            path = Path(folder, "play.yml")
            path.write_text(json.dumps(play))
            began = time.monotonic()
            run("ansible-playbook", "-i", str(inventory), str(path))
            times.append(time.monotonic() - began)
    report(
        "one Ansible task a run, beyond the seconds", (times[1] - times[0]) / 4 - SECONDS, "s", 4
    )


def main() -> None:
    """Measure everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-i", "--inventory", type=Path, default=Path("inventories/local"))
    parser.add_argument("--quick-only", action="store_true", help="leave the standard profile out")
    options = parser.parse_args()
    lab = load_inventory(options.inventory)
    if not (lab.lab_state / "lab.env").exists():
        sys.exit("the lab is not up: make lab")
    print(f"load average {os.getloadavg()[0]:.2f} on {os.cpu_count()} CPUs")
    campaign(options.inventory, lab.lab_state, "quick", 4)
    if not options.quick_only:
        campaign(options.inventory, lab.lab_state, "standard", 2)
    peers(options.inventory, lab)
    for stage in STAGES:
        began = time.monotonic()
        run("ansible-playbook", "lab.yml", "-i", str(options.inventory), "--tags", stage)
        report(f"stage {stage}, warm", time.monotonic() - began, "s", 1)


if __name__ == "__main__":
    main()
