"""What do free and ps say inside a container and outside, beside the kernel's account of it?

    python benchmarks/views.py [-i INVENTORY]

On a lab that is up: one container on the first client, which holds 48 MiB, has read a file of as
much, and has a limit of 160. Prints, in MiB, what /proc says on the host and in there (free and ps
read it), and what the container's cgroup says. No figure of performance.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[0:1] = [str(ROOT)]

from collector.campaign.cluster import Cluster  # noqa: E402
from collector.campaign.commands import read_images  # noqa: E402
from collector.campaign.program import pack_runner  # noqa: E402
from collector.campaign.remote import Remote, connect, push  # noqa: E402
from collector.plan.inventory import Host, load_inventory  # noqa: E402

JOB, GROUP = "bench-views", "views"
INSIDE = "sudo -n /usr/local/lib/socklab/run-inside"
LIMIT_S = 60.0
MIB = 1 << 20


def look(
    client: Host, keys: Path, job: dict[str, Any], allocation: str
) -> dict[str, dict[str, int | None]]:
    """What the host, the container and its cgroup say, in bytes but for the processes."""
    scripts = {one["DestPath"]: one["EmbeddedTmpl"] for one in of_task(job)["Templates"]}
    host = connect(client, keys)
    observer = Remote(client, host, push(host, *pack_runner()))
    try:
        (container,) = observer.ask("containers", allocations=[allocation])["containers"]
        inside, until = f"{INSIDE} {container['id']} 5", time.monotonic() + LIMIT_S
        while host.run(f"{inside} /local/ready", hide=True, warn=True).failed:
            if time.monotonic() > until:
                sys.exit(f"the container did not take its memory within {LIMIT_S:.0f} s")
        outside = host.run(f"python3 -I -c {shlex.quote(scripts['local/load'])}", hide=True).stdout
        within = host.run(f"{inside} /local/load", hide=True).stdout
        account = observer.ask("snapshot")["snapshot"]["cgroups"][container["id"]]
    finally:
        observer.close()
    cgroup = {
        "total": container["memory_limit_bytes"],
        "used": account["memory_bytes"],
        "processes": None,
        "resident": account["memory_anonymous_bytes"],
        "page cache": account["memory_cache_bytes"],
        "kernel": account["memory_kernel_bytes"],
    }
    return {"host": json.loads(outside), "container": json.loads(within), "cgroup": cgroup}


def of_task(job: dict[str, Any]) -> dict[str, Any]:
    """The only task of the job."""
    task: dict[str, Any] = job["TaskGroups"][0]["Tasks"][0]
    return task


def shown(row: str, value: int | None) -> str:
    """A figure for a person; a dash where there is none."""
    if value is None:
        return "-"
    return str(value) if row == "processes" else f"{value / MIB:,.0f}"


def main() -> None:
    """Start the container, look, stop it, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-i", "--inventory", type=Path, default=Path("inventories/local"))
    lab = load_inventory(parser.parse_args().inventory)
    client, cluster = lab.group("clients")[0], Cluster(lab.lab_state)
    image = read_images(lab.lab_state)[0]["app"]
    given = {"node": client.name, "image_app": image}
    job = cluster.render(ROOT / "jobs/views.nomad.hcl", given)
    cluster.stop([JOB])
    cluster.register(JOB, job)
    try:
        allocation = cluster.wait_running(JOB, [GROUP])[GROUP]["ID"]
        found = look(client, lab.lab_state / "ssh", job, allocation)
    finally:
        problems = cluster.stop([JOB])
    print(f"{'MiB':<12}" + "".join(f"{where:>12}" for where in found))
    for row in found["cgroup"]:
        print(f"{row:<12}" + "".join(f"{shown(row, one.get(row)):>12}" for one in found.values()))
    if problems:
        sys.exit("\n".join(problems))


if __name__ == "__main__":
    main()
