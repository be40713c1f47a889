"""Inventories: names, literal values, required variables, groups, size."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from collector.plan.findings import BadInputError
from collector.plan.inventory import Host, load_inventory, parse_inventory

LISTING = json.loads((Path(__file__).parents[1] / "fixtures/plan/inventory.json").read_text())
ROOT = Path(__file__).parents[2]
# Memory is limited before the program begins, as nothing else bounds it from outside.
LIMITED = (
    "import os, resource, sys; "
    "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)
NOT_A_NAME = "not a host name: expected 1 to 63 of a-z, 0-9 and inner hyphens"


@pytest.fixture
def listing() -> dict[str, Any]:
    return copy.deepcopy(LISTING)


def messages(data: dict[str, Any]) -> list[str]:
    with pytest.raises(BadInputError) as caught:
        parse_inventory(data)
    return str(caught.value).split("\n")


def test_hosts_and_groups_are_read(listing: dict[str, Any]) -> None:
    read = parse_inventory(listing)
    assert (read.lab_id, str(read.lab_state)) == ("socklab", "/srv/lab")
    assert read.hosts["lab-1"] == Host("lab-1", "198.18.0.11", "virtual", False, "x86_64", (0,))
    assert [host.name for host in read.group("clients")] == ["lab-2", "lab-arm"]
    assert read.group("nowhere") == ()


@pytest.mark.parametrize(
    "name",
    ["../x", "../../etc", "-oProxyCommand=id", "a;b", "{{ 7 }}", "a" * 300, "Lab", "a.b", "a-", ""],
)
def test_host_names_that_ansible_takes_are_refused(name: str, listing: dict[str, Any]) -> None:
    listing["clients"]["hosts"].append(name)
    (said,) = messages(listing)
    quoted = repr(name) if len(name) < 50 else repr(name)[:60] + "... (302 characters)"
    assert said == f"inventory: host {quoted}: {NOT_A_NAME}"


def test_a_name_only_among_host_variables_is_refused_too(listing: dict[str, Any]) -> None:
    listing["_meta"]["hostvars"]["a;b"] = {}
    assert messages(listing) == [f"inventory: host 'a;b': {NOT_A_NAME}"]


@pytest.mark.parametrize(
    "value",
    ["{{ lookup('pipe', 'id') }}", "{% if x %}", ["a", {"b": "{{ c }}"}], {"{{ k }}": 1}],
)
def test_templates_are_refused(value: object, listing: dict[str, Any]) -> None:
    listing["_meta"]["hostvars"]["lab-2"]["anything"] = value
    assert messages(listing) == [
        "inventory: host 'lab-2': anything: holds a template ({{ or {%); write the value out"
    ]


BAD = [
    ("ansible_host", "-oProxyCommand=id", "an IP address or a DNS name"),
    ("ansible_host", "a b", "an IP address or a DNS name"),
    ("ansible_host", 7, "an IP address or a DNS name"),
    ("lab_kind", "vm", "virtual or bare-metal or cloud"),
    ("lab_kind", ["virtual"], "virtual or bare-metal or cloud"),
    ("lab_emulated", "false", "true or false (in INI True, False)"),
    ("lab_emulated", 0, "true or false (in INI True, False)"),
    ("lab_arch", "arm64", "x86_64 or aarch64"),
    ("lab_cpus", "0", "a list of distinct CPU numbers, such as [0, 1]"),
    ("lab_cpus", [], "a list of distinct CPU numbers, such as [0, 1]"),
    ("lab_cpus", [0, 0], "a list of distinct CPU numbers, such as [0, 1]"),
    ("lab_cpus", [True], "a list of distinct CPU numbers, such as [0, 1]"),
    ("lab_cpus", [-1], "a list of distinct CPU numbers, such as [0, 1]"),
    ("lab_id", "../x", "an RFC 1123 label"),
    ("lab_state", "lab", "an absolute path"),
    ("lab_state", "/srv/../etc", "an absolute path"),
]


@pytest.mark.parametrize(("variable", "value", "expected"), BAD)
def test_bad_values(variable: str, value: object, expected: str, listing: dict[str, Any]) -> None:
    listing["_meta"]["hostvars"]["lab-1"][variable] = value
    assert messages(listing) == [
        f"inventory: host lab-1: {variable}: expected {expected}, got {value!r}"
    ]


def test_missing_variables_are_all_named(listing: dict[str, Any]) -> None:
    listing["_meta"]["hostvars"]["lab-2"] = {}
    said = messages(listing)
    assert said[0] == "inventory: host lab-2: ansible_host: missing; expected an IP address or " + (
        "a DNS name"
    )
    assert len(said) == 7


def test_the_labs_own_variables_are_the_same_everywhere(listing: dict[str, Any]) -> None:
    listing["_meta"]["hostvars"]["lab-2"]["lab_id"] = "other"
    assert messages(listing) == [
        "inventory: host lab-2: lab_id: 'other', but host lab-1 has 'socklab'; set it for all"
    ]


def test_hosts_outside_the_labs_groups_need_no_variables(listing: dict[str, Any]) -> None:
    listing["controllers"] = {"hosts": ["desk"]}
    assert "desk" not in parse_inventory(listing).hosts


def test_groups_in_a_circle_end(listing: dict[str, Any]) -> None:
    listing["arch_aarch64"]["children"] = ["clients"]
    assert parse_inventory(listing).groups["arch_aarch64"] == ("lab-2", "lab-arm")


@pytest.mark.parametrize("data", [{}, {"_meta": {"hostvars": {}}}, {"all": {"children": []}}])
def test_an_inventory_without_hosts_is_refused(data: dict[str, Any]) -> None:
    assert messages(data) == ["inventory: groups: no host in any of servers, clients, peers, load"]


@pytest.mark.parametrize("data", [[1], "x", {"_meta": []}, {"clients": {"hosts": "lab"}}, {"a": 7}])
def test_another_shape_is_refused(data: Any) -> None:
    (said,) = messages(data)
    assert said.startswith("inventory: not what ansible-inventory --list prints: ")


def test_200_hosts_take_bounded_time() -> None:
    variables = LISTING["_meta"]["hostvars"]["lab-1"]
    names = [f"lab-{number}" for number in range(200)]
    hostvars = {name: variables | {"ansible_host": f"10.0.0.{n}"} for n, name in enumerate(names)}
    data = {
        "_meta": {"hostvars": hostvars},
        "clients": {"hosts": names},
        "load": {"hosts": names[:20]},
        **{f"site_{n}": {"hosts": names[n::10], "children": ["clients"]} for n in range(10)},
    }
    started = time.process_time()
    read = parse_inventory(data)
    assert time.process_time() - started < 0.5
    assert len(read.hosts) == len(read.groups["site_3"]) == 200


def test_ansible_reads_the_files(tmp_path: Path) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text(json.dumps({"all": {"vars": {"lab_id": "x", "lab_state": "/srv/x"}}}))
    with pytest.raises(BadInputError, match="no host in any of servers, clients, peers, load"):
        load_inventory(path)
    variables = {"ansible_host": "lab.example", "lab_kind": "cloud", "lab_emulated": False}
    variables |= {"lab_arch": "aarch64", "lab_cpus": [3, 2], "lab_id": "x", "lab_state": "/srv/x"}
    path.write_text(json.dumps({"clients": {"hosts": {"one": variables}}}))
    one = load_inventory(path).hosts["one"]
    assert one == Host("one", "lab.example", "cloud", False, "aarch64", (2, 3))


def test_what_ansible_cannot_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no such inventory"):
        load_inventory(tmp_path / "absent")
    broken = tmp_path / "broken.yml"
    broken.write_text("clients: [\n")
    with pytest.raises(BadInputError, match="ansible-inventory exited 1:\n"):
        load_inventory(broken)


def test_200_hosts_are_read_planned_and_listed_within_bounds(tmp_path: Path) -> None:
    """From files, as a user has them: every program within 30 s and 1 GiB, all within 30 s."""
    example = yaml.safe_load((ROOT / "inventories/bare-metal/hosts.yml").read_text())
    names = [f"bench-{number}" for number in range(200)]
    hosts = {
        name: {
            "ansible_host": f"198.51.100.{number}",
            "lab_arch": ("x86_64", "aarch64")[number % 2],
            "lab_cpus": [1, 2, 3],
            "lab_containers_subnet": f"198.19.{number}.0/24",
        }
        for number, name in enumerate(names)
    }
    groups = {"servers": names[:1], "load": names[1:20], "clients": names[20:], "peers": names[20:]}
    groups |= {f"site_{n}": names[n::10] for n in range(10)}
    path = tmp_path / "hosts.yml"
    children = {group: {"hosts": {name: {} for name in some}} for group, some in groups.items()}
    path.write_text(
        yaml.safe_dump(
            {"all": {"vars": example["all"]["vars"], "hosts": hosts, "children": children}}
        )
    )
    started = time.monotonic()
    said = {}
    for what, argv in {
        "plan": [sys.executable, "-m", "collector", "plan", "web", "-i", path],
        "list": [Path(sys.executable).with_name("ansible-inventory"), "-i", path, "--list"],
        "graph": [Path(sys.executable).with_name("ansible-inventory"), "-i", path, "--graph"],
    }.items():
        done = subprocess.run(
            [sys.executable, "-c", LIMITED, *argv], cwd=ROOT, env={**os.environ, "COLUMNS": "200"},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        said[what] = done.stdout
    print(f"200 hosts: {time.monotonic() - started:.1f} s")
    assert time.monotonic() - started < 30
    assert "180 hosts, 180 cells" in said["plan"]
    assert len(json.loads(said["list"])["_meta"]["hostvars"]) == 200
    assert said["graph"].count("@site_") == 10
