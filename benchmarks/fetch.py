"""How long does fetching take? Sealed block files of 10,000 runs, on the load host of a lab.

    python benchmarks/fetch.py [-i INVENTORY] [--runs 10000]

The files (16 runs each, with wrk's output, histograms of about 300 rows, and snapshots of two
hosts) are put on the load host as if their engine had died before it fetched them. Timed: fetching
all of them, every line checked (all_s); again with a hundredth of them missing here (some_s); again
with nothing missing (none_s); and beside them ``scp -r`` of the same files, which checks nothing.
Target: all_s at most 10 s. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# This folder comes first otherwise, and its collector.py would be found as `collector`.
sys.path[0:1] = [str(ROOT), str(ROOT / "tests" / "pure")]

from blockfiles import Campaign as Made  # noqa: E402

from collector.campaign.fetch import fetch_left  # noqa: E402
from collector.campaign.folder import Campaign  # noqa: E402
from collector.campaign.program import pack_runner  # noqa: E402
from collector.campaign.remote import REMOTE_BLOCKS, USER, Remote, connect, push  # noqa: E402
from collector.plan.inventory import Inventory, load_inventory  # noqa: E402

ROUNDS = 4
ARMS = (("tcp-loopback", "a"), ("arm-b", "a"), ("arm-c", "a"), ("tcp-loopback", "b"))
NAME = "bench-20261121t113000-0000"


def begun(folder: Path, made: Made, load_host: str) -> Campaign:
    """A campaign all of whose blocks have begun, and of which nothing is here."""
    # Of a plan, fetching reads these alone; made files follow no whole one.
    blocks = [
        SimpleNamespace(
            block=number,
            load_host=load_host,
            runs=[SimpleNamespace(run=made.run_id(number, at)) for at in made.positions],
        )
        for number in range(1, made.blocks + 1)
    ]
    plan: Any = SimpleNamespace(campaign=made.name, blocks=blocks)
    campaign = Campaign(made.folder(folder), plan)
    campaign.blocks.mkdir(parents=True)
    for block in range(1, made.blocks + 1):
        campaign.begin(block, 1)
    return campaign


def put(remote: Remote, files: Path) -> None:
    """Put the sealed files where the runner keeps them."""
    with tempfile.TemporaryFile() as packed:
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for path in sorted(files.glob("*.jsonl")):
                archive.add(path, f"{NAME}/{path.name}")
        packed.seek(0)
        with remote.connection.client.open_sftp() as sftp:
            sftp.putfo(packed, ".socklab/bench.tar")
    remote.connection.run(
        f"mkdir -p {REMOTE_BLOCKS}; tar -C {REMOTE_BLOCKS} -xf .socklab/bench.tar",
        hide=True,
    )


def fetched(campaign: Campaign, remote: Remote, expected: int) -> float:
    """Seconds that fetching takes."""
    began = time.perf_counter()
    brought = fetch_left(campaign, remote)
    took = time.perf_counter() - began
    assert len(brought) == expected, f"{len(brought)} files came, not {expected}"
    return took


def scp(lab: Inventory, address: str, target: Path) -> float:
    """Seconds that ``scp -r`` takes for the same files."""
    ssh = lab.lab_state / "ssh"
    options = [f"UserKnownHostsFile={ssh / 'known_hosts'}", "IdentitiesOnly=yes"]
    argv = ["scp", "-q", "-r", "-i", str(ssh / "engine_ed25519")]
    argv += [part for option in options for part in ("-o", option)]
    began = time.perf_counter()
    subprocess.run([*argv, f"{USER}@{address}:{REMOTE_BLOCKS}/{NAME}", str(target)], check=True)
    return time.perf_counter() - began


def measure(inventory: Path, runs: int) -> dict[str, float]:
    """Make, put, fetch; see the module's text for the names."""
    lab = load_inventory(inventory)
    (host,) = lab.group("load")
    a_block = ROUNDS * len(ARMS)
    made = Made(name=NAME, blocks=runs // a_block, arms=ARMS, rounds=ROUNDS, values=300)
    connection = connect(host, lab.lab_state / "ssh")
    remote = Remote(host, connection, push(connection, *pack_runner()))
    with tempfile.TemporaryDirectory(prefix="fetch-bench-") as temporary:
        source, here = Path(temporary, "source"), Path(temporary, "here")
        for block in range(1, made.blocks + 1):
            made.write_block(source, block)
        files = made.folder(source) / "blocks"
        campaign = begun(here, made, host.name)
        try:
            put(remote, files)
            scp_s = scp(lab, host.address, Path(temporary, "scp"))
            all_s = fetched(campaign, remote, made.blocks)
            none_s = fetched(campaign, remote, 0)
            put(remote, files)
            gone = sorted(campaign.blocks.iterdir())[::100]
            for path in gone:
                path.unlink()
            some_s = fetched(campaign, remote, len(gone))
        finally:
            connection.run(f"rm -rf {REMOTE_BLOCKS}/{NAME} .socklab/bench.tar", hide=True)
            remote.close()
            connection.close()
        size = sum(path.stat().st_size for path in files.iterdir())
    return {
        "runs": made.blocks * a_block, "files": made.blocks, "mib": size / 2**20, "all_s": all_s,
        "some_s": some_s, "none_s": none_s, "scp_s": scp_s, "ratio_to_scp": all_s / scp_s,
        "load_average": os.getloadavg()[0],
    }  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-i", "--inventory", type=Path, default=Path("inventories/local"))
    parser.add_argument("--runs", type=int, default=10_000)
    given = parser.parse_args()
    found = measure(given.inventory, given.runs)
    print(json.dumps({key: round(value, 3) for key, value in found.items()}))


if __name__ == "__main__":
    main()
