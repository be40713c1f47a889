"""The local lab's inventory: a script whose output follows from its settings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from collector.plan.inventory import Inventory, parse_inventory

SCRIPT = Path(__file__).parents[2] / "inventories/local/hosts.py"
OTHER = {"x86_64": "aarch64", "aarch64": "x86_64"}[os.uname().machine]
NAME = {"aarch64": "lab-arm", "x86_64": "lab-x86"}[OTHER]


def script(**settings: str) -> subprocess.CompletedProcess[str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("SOCKLAB_")}
    return subprocess.run(
        [sys.executable, str(SCRIPT)], env={**plain, **settings}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


def inventory(**settings: str) -> Inventory:
    data: dict[str, Any] = json.loads(script(**settings).stdout)
    for variables in data["_meta"]["hostvars"].values():
        variables.update(data["all"]["vars"])
    return parse_inventory(data)


def test_every_host_is_of_this_machine_unless_another_architecture_is_asked_for() -> None:
    read = inventory()
    assert sorted(read.hosts) == ["lab-1", "lab-2", "lab-3"]
    assert not any(host.emulated for host in read.hosts.values())


def test_another_architecture_is_one_emulated_host_more() -> None:
    read = inventory(SOCKLAB_ID="mine", SOCKLAB_ARCHS=OTHER)
    guest = read.hosts[NAME]
    assert guest.emulated
    assert guest.arch == OTHER
    assert read.groups[f"arch_{OTHER}"] == (NAME,)
    assert NAME in read.groups["clients"]
    assert NAME in read.groups["peers"]
    assert NAME not in read.groups["load"]
    assert guest.address not in {
        one.address for one in inventory(SOCKLAB_HOSTS="16").hosts.values()
    }


def test_cpus_of_the_topologies_can_be_named() -> None:
    cpu = max(os.sched_getaffinity(0))
    read, plain = inventory(SOCKLAB_CPUS=f"{cpu}"), inventory()
    assert read.hosts["lab-2"].cpus == read.hosts["lab-3"].cpus == (cpu,)
    assert read.hosts["lab-1"].cpus == plain.hosts["lab-1"].cpus


def test_the_machines_own_architecture_is_not_emulated() -> None:
    asked, plain = inventory(SOCKLAB_ARCHS=f",{os.uname().machine},"), inventory()
    assert asked.hosts == plain.hosts


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"SOCKLAB_ARCHS": "arm"}, "SOCKLAB_ARCHS='arm': expected some of aarch64, x86_64"),
        ({"SOCKLAB_HOSTS": "1"}, "SOCKLAB_HOSTS='1': expected a number from 2 to 16"),
        ({"SOCKLAB_CPUS": "0-1"}, "SOCKLAB_CPUS='0-1': expected numbers separated by commas"),
        ({"SOCKLAB_CPUS": "9999"}, "SOCKLAB_CPUS='9999': this machine has no CPU 9999"),
        ({"SOCKLAB_ID": "Mine"}, "SOCKLAB_ID='Mine': expected 1 to 20"),
        ({"SOCKLAB_SUBNET": "10.0.0.0/24"}, "expected a /24 inside 198.18.0.0/16"),
    ],
)
def test_a_setting_that_makes_no_lab_is_refused(settings: dict[str, str], expected: str) -> None:
    done = script(**settings)
    assert done.returncode == 2
    assert expected in done.stderr
