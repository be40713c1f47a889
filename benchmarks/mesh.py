"""How long a mesh takes from registering a deployment to its first good answer, one at a time.

Deploys the web topology through the mesh, Unix sockets at both ends, on a lab that is up; prints
each time, their median, and the same of direct TCP beside it. Target: median of 10 at most 10 s.

    python benchmarks/mesh.py [-i INVENTORY] [--times N]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0:1] = [str(ROOT)]

from collector.campaign.cluster import Cluster  # noqa: E402
from collector.campaign.commands import read_images  # noqa: E402
from collector.campaign.deployment import Deployer, Order, Place, lab_variables  # noqa: E402
from collector.campaign.mesh import Mesh  # noqa: E402
from collector.campaign.program import pack_runner  # noqa: E402
from collector.campaign.remote import Remote, connect, push  # noqa: E402
from collector.plan.inventory import load_inventory  # noqa: E402

JOB = "jobs/mesh.nomad.hcl"


def main() -> int:
    """Deploy, wait, stop, again; print the times."""
    parser = argparse.ArgumentParser(description="Time to the first good answer through the mesh.")
    parser.add_argument("-i", "--inventory", type=Path, default=Path("inventories/local"))
    parser.add_argument("--times", type=int, default=10)
    arguments = parser.parse_args()
    inventory = load_inventory(arguments.inventory)
    near, far = inventory.group("clients")[0], inventory.group("peers")[0]
    load = inventory.group("load")[0]
    state, program = inventory.lab_state, pack_runner()
    cluster, mesh = Cluster(state), Mesh(state)
    fixed = lab_variables(state, read_images(state))
    deployer = Deployer(cluster, mesh, ROOT, fixed, state / "secrets")
    place = Place(near.name, near.cpus, far.name, far.address)
    with ExitStack() as stack:
        remotes = {}
        for host in {one.name: one for one in (near, far, load)}.values():
            connection = connect(host, state / "ssh")
            stack.callback(connection.close)
            remotes[host.name] = Remote(host, connection, push(connection, *program))
            stack.callback(remotes[host.name].close)
        observers = {name: remotes[name] for name in (near.name, far.name)}
        for path in ("mesh-unix", "tcp"):
            taken = []
            for number in range(1, arguments.times + 1):
                order = Order(path, path, "a", JOB, {"workload": "web", "path": path})
                wanted = [(order, order.identity("bench", number, 1))]
                began = time.monotonic()
                try:
                    deployer.deploy(wanted, place)
                    registered = time.monotonic()
                    bound = deployer.bind(wanted, False, observers, remotes[load.name])
                    taken.append(registered - began + bound[order.key]["readiness_s"])
                finally:
                    deployer.stop([identity for _, identity in wanted])
                print(f"{path} {number} of {arguments.times}: {taken[-1]:.1f} s", flush=True)
            print(f"{path}: median {statistics.median(taken):.1f} s, "
                  f"{min(taken):.1f} to {max(taken):.1f} s")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
