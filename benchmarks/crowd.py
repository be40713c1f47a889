"""What does a host pay for each further container? Crowds of 1 to 100 that only wait.

    python benchmarks/crowd.py [-i INVENTORY] [--containers 1 10 30 100] [--networks none host ...]

On a lab that is up, as Nomad jobs on its first client: seconds until all run and until all are
gone, rules that netfilter got by table, kernel memory (slabs, stacks, page tables) of the machine.
Then what one more container costs by a line through the crowds, with its 95 % interval.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import fabric
from scipy import stats

ROOT = Path(__file__).resolve().parents[1]
sys.path[0:1] = [str(ROOT)]

from collector.campaign.cluster import Cluster  # noqa: E402
from collector.campaign.commands import read_images  # noqa: E402
from collector.campaign.remote import connect  # noqa: E402
from collector.plan.inventory import load_inventory  # noqa: E402

NETWORKS = ("none", "host", "bridge", "published", "group")
JOB = "bench-crowd"
KERNEL = ("Slab", "KernelStack", "PageTables")
LIMIT_S = 300.0
RULES = ("sudo", "-n", "/usr/local/lib/socklab/list-rules")


def kernel_mb(host: fabric.Connection) -> float:
    """Memory of the machine's kernel."""
    lines = host.run("cat /proc/meminfo", hide=True).stdout.splitlines()
    kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    return sum(kib[name] for name in KERNEL) / 1024


def rules(host: fabric.Connection) -> int:
    """IPv4 rules of the host, all tables."""
    counted: dict[str, int] | None = json.loads(host.run(" ".join(RULES), hide=True).stdout)
    return sum((counted or {}).values())


def crowd(
    cluster: Cluster, host: fabric.Connection, variables: Mapping[str, object], containers: int
) -> dict[str, float]:
    """Start that many, look, stop them; figures are what they added."""
    before = rules(host), kernel_mb(host)
    job = cluster.render(ROOT / "jobs/crowd.nomad.hcl", {**variables, "containers": containers})
    began = time.monotonic()
    cluster.register(JOB, job)
    try:
        while len(cluster.running(JOB)) < containers:
            if time.monotonic() - began > LIMIT_S or (why := cluster.failure(JOB)):
                late = f"{len(cluster.running(JOB))} of {containers} run"
                sys.exit(f"{late} after {time.monotonic() - began:.0f} s. {why}")
            time.sleep(0.1)
        start_s = time.monotonic() - began
        after = rules(host), kernel_mb(host)
    finally:
        ended = time.monotonic()
        while problems := cluster.stop([JOB]):
            if time.monotonic() - ended > LIMIT_S:
                sys.exit("\n".join(problems))
    return {
        "start_s": start_s,
        "stop_s": time.monotonic() - ended,
        "rules": after[0] - before[0],
        "kernel_mb": after[1] - before[1],
    }


def each(counts: Sequence[int], values: Sequence[float]) -> str:
    """Slope of the line through the crowds, with its 95 % interval."""
    if len(set(values)) == 1:  # a line without a spread has no interval
        return "0"
    line = stats.linregress(counts, values)
    half = float(stats.t.ppf(0.975, len(counts) - 2)) * line.stderr
    return f"{line.slope:.3f} [{line.slope - half:.3f}, {line.slope + half:.3f}]"


def main() -> None:
    """Measure every crowd and print it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-i", "--inventory", type=Path, default=Path("inventories/local"))
    parser.add_argument("--containers", type=int, nargs="+", default=[1, 10, 30, 100])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    asked = parser.parse_args()
    counts = sorted(set(asked.containers))
    lab = load_inventory(asked.inventory)
    client = lab.group("clients")[0]
    cluster, host = Cluster(lab.lab_state), connect(client, lab.lab_state / "ssh")
    image = read_images(lab.lab_state)[0]["ipc"]
    cluster.stop([JOB])
    print(f"{'network':<10} {'containers':>10} {'start s':>8} {'stop s':>7} {'rules':>6} kernel MB")
    for network in asked.networks:
        variables = {"node": client.name, "network": network, "image_ipc": image}
        found = [crowd(cluster, host, variables, number) for number in counts]
        for number, one in zip(counts, found, strict=True):
            print(
                f"{network:<10} {number:>10} {one['start_s']:>8.1f} {one['stop_s']:>7.1f} "
                f"{one['rules']:>6.0f} {one['kernel_mb']:>9.1f}",
                flush=True,
            )
        if len(counts) > 2:
            for name in found[0]:
                print(f"  {name} a container: {each(counts, [one[name] for one in found])}")


if __name__ == "__main__":
    main()
