"""How long from a job's registration to its first right answer, by its containers' network?

    python benchmarks/first_answer.py [-i INVENTORY] [--times 7]

On a lab that is up: a web application and its caller, two containers of one allocation on the first
client, with no network, the host's own and the engine's bridge, in turn and in an order drawn anew
each time. Prints seconds until Nomad says that both run, and from there until the application
answers its caller: medians over the times, least and most. The first comes in steps of about a
second, which are Nomad's way to tell; the application starts before its caller does.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from pathlib import Path

import fabric

ROOT = Path(__file__).resolve().parents[1]
sys.path[0:1] = [str(ROOT)]

from collector.campaign.cluster import Cluster  # noqa: E402
from collector.campaign.commands import read_images  # noqa: E402
from collector.campaign.remote import connect  # noqa: E402
from collector.plan.inventory import load_inventory  # noqa: E402

NETWORKS = ("none", "host", "bridge")
JOB, GROUP = "bench-first-answer", "near"
PROGRAMS = "sudo -n /usr/local/lib/socklab"
LIMIT_S = 60.0


def caller(host: fabric.Connection, allocation: str) -> str:
    """Id of the container that asks."""
    listed = json.loads(host.run(f"{PROGRAMS}/list-containers", hide=True).stdout)
    (found,) = [
        str(one["id"]) for one in listed if (one["allocation"], one["task"]) == (allocation, "load")
    ]
    return found


def once(cluster: Cluster, host: fabric.Connection, job: dict[str, object]) -> tuple[float, float]:
    """Seconds until both containers run, and from there until the first right answer."""
    began = time.monotonic()
    cluster.register(JOB, job)
    try:
        allocation = cluster.wait_running(JOB, [GROUP])[GROUP]["ID"]
        ran = time.monotonic()
        ready = f"{PROGRAMS}/run-inside {caller(host, allocation)} 5 /local/ready"
        while host.run(ready, hide=True, warn=True).failed:
            if time.monotonic() - ran > LIMIT_S:
                sys.exit(f"no right answer after {LIMIT_S:.0f} s")
        answered = time.monotonic()
    finally:
        if problems := cluster.stop([JOB]):
            sys.exit("\n".join(problems))
    return ran - began, answered - ran


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-i", "--inventory", type=Path, default=Path("inventories/local"))
    parser.add_argument("--times", type=int, default=7)
    asked = parser.parse_args()
    lab = load_inventory(asked.inventory)
    client = lab.group("clients")[0]
    cluster, host = Cluster(lab.lab_state), connect(client, lab.lab_state / "ssh")
    images = read_images(lab.lab_state)[0]
    given = {f"image_{name}": images[name] for name in ("ipc", "app", "caller")}
    jobs = {
        network: cluster.render(
            ROOT / "jobs/networks.nomad.hcl",
            {**given, "node": client.name, "talk": "web", "network": network},
        )
        for network in NETWORKS
    }
    cluster.stop([JOB])
    found: dict[str, list[tuple[float, float]]] = {network: [] for network in NETWORKS}
    for _ in range(asked.times):
        for network in random.sample(NETWORKS, len(NETWORKS)):
            found[network].append(once(cluster, host, jobs[network]))
    print(f"{'network':<8} {'until both run, s':>20} {'then to the answer, s':>24}")
    for network, times in found.items():
        shown = [
            f"{statistics.median(part):.2f} ({min(part):.2f} to {max(part):.2f})"
            for part in zip(*times, strict=True)
        ]
        print(f"{network:<8} {shown[0]:>20} {shown[1]:>24}")


if __name__ == "__main__":
    main()
