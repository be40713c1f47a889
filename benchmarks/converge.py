"""How does the time of a converge grow with the hosts? Labs of 2, 4 and 8 virtual hosts in turn.

    python benchmarks/converge.py [--hosts 2 4 8]

Each lab has an id and a subnet of its own, comes up from nothing (stages hosts and cluster, images
and binaries cached), converges a second time, and is taken down. Prints seconds of both, and one
JSON line with ``growth``: the time added a host from the smallest lab to the largest, against the
smallest lab's time a host. At most 1 is linear growth or better.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LAB = {"SOCKLAB_ID": "bench-converge", "SOCKLAB_SUBNET": "198.18.9.0/24", "SOCKLAB_ARCHS": ""}


def playbook(hosts: int, tags: str) -> float:
    """Run the stages on a lab of so many hosts; return seconds, or end with what it said."""
    began = time.perf_counter()
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "lab.yml", "--tags", tags],
        cwd=ROOT,
        env={**os.environ, **LAB, "SOCKLAB_HOSTS": str(hosts)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"{tags} with {hosts} hosts: exit code {done.returncode}\n{done.stdout[-4000:]}")
    return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--hosts", type=int, nargs="+", default=[2, 4, 8])
    first: dict[int, float] = {}
    print("hosts   first s  second s", flush=True)
    for hosts in sorted(parser.parse_args().hosts):
        try:
            first[hosts] = playbook(hosts, "hosts,cluster")
            second = playbook(hosts, "hosts,cluster")
        finally:
            playbook(hosts, "teardown")
        print(f"{hosts:5}  {first[hosts]:8.1f}  {second:8.1f}", flush=True)
    few, many = min(first), max(first)
    added = (first[many] - first[few]) / (many - few) if many > few else 0.0
    growth = added / (first[few] / few)
    print(json.dumps({"first_s": first, "growth": round(growth, 3), "load": os.getloadavg()[0]}))


if __name__ == "__main__":
    main()
