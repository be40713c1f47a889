"""Machines of one's own: looked at, provisioned, measured, taken down, then as they were before."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from typing import Any

import foreign
import pytest
from conftest import changes, wait_for
from foreign import LAB, MACHINES, NET, STATE, Machine, OwnLab
from test_measure import MINE, header, rows

SERVER, MEASURED, OTHER = MACHINES
# What the scripts of Debian packages write, and no package lists as its own.
OF_PACKAGES = re.compile(
    r"/etc/(passwd|group|shadow|gshadow|subuid|subgid)-?"
    r"|/etc/apparmor\.d/(local|tunables)/.*"
    r"|/etc/(ld\.so\.cache|ca-certificates\.conf|\.pwd\.lock|networks|alternatives/.*|rc.\.d/.*|ssl/certs/.*)"
)
# Users of Debian packages.
USERS_OF_PACKAGES = {"docker-registry"}
DAEMON = '{"bip": "198.19.250.1/24", "log-driver": "local"}'
Looks = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def own(alone: None, joining: object) -> Iterator[OwnLab]:
    foreign.remove()
    shutil.rmtree(STATE, ignore_errors=True)
    try:
        foreign.start()
        for one in MACHINES:
            wait_for(lambda one=one: is_up(one), 60, f"sshd on {one.name}")
        yield OwnLab()
    finally:
        if "SOCKLAB_TEST_KEEP" not in os.environ:
            foreign.remove()


@pytest.fixture(scope="module")
def before(own: OwnLab) -> Looks:
    """One of the machines has had Docker before, configured by somebody, and in use."""
    install = "apt-get update -q && apt-get install -qy --no-install-recommends docker.io"
    OTHER.on("sh", "-c", f"export DEBIAN_FRONTEND=noninteractive; {install}")
    OTHER.on("sh", "-c", f"echo '{DAEMON}' > /etc/docker/daemon.json; systemctl restart docker")
    return looks()


def is_up(machine: Machine) -> bool:
    return machine.on("systemctl", "is-active", "ssh", check=False).strip() == "active"


def looks() -> Looks:
    return {one.name: one.look() for one in MACHINES}


def test_a_look_changes_nothing(own: OwnLab, before: Looks) -> None:
    done = own.stages("--tags", "hosts")
    assert "3 of 3 hosts answer." in done.stdout
    checked = own.stages("--check")
    assert checked.stdout.count("has not seen the lab yet: the stages") >= 3
    assert looks() == before
    seen = json.loads((STATE / "preflight.json").read_text())["hosts"]
    assert {name: one["release"][:19] for name, one in seen.items()} == {
        "own-1": "Debian GNU/Linux 13", "own-2": "Debian GNU/Linux 13",
        "own-3": "Debian GNU/Linux 12",
    }  # fmt: skip
    assert not any(one["untested"] for one in seen.values())


def test_what_keeps_the_lab_out_is_said_of_all_machines_at_once(own: OwnLab) -> None:
    listen = "import socket,time; s=socket.create_server(('',8301)); time.sleep(600)"
    OTHER.on("systemd-run", "--unit=stranger", "python3", "-c", listen)
    MEASURED.on("mkdir", "/opt/nomad")
    SERVER.on("mkdir", "-p", "/var/lib/docker/volumes/somebodys")
    try:
        done = own.stages("--tags", "hosts", "-e", '{"lab_cpus": [0, 4095]}', check=False)
    finally:
        OTHER.on("systemctl", "stop", "stranger")
        MEASURED.on("rmdir", "/opt/nomad")
        SERVER.on("rm", "-r", "/var/lib/docker/volumes")
    assert done.returncode == 2
    assert "Nothing was changed. To be mended, or taken out of the inventory:" in done.stdout
    assert "own-3: port 8301, needed by consul, is held by python3 (stop python3)" in done.stdout
    assert "own-2: already there, and not this lab's: /opt/nomad (" in done.stdout
    assert "own-1: no CPU 4095; there are " in done.stdout
    kept = "own-1: docker.service is not there, and what it kept is: /var/lib/docker (move "
    assert kept in done.stdout


def test_why_a_machine_is_missing(own: OwnLab) -> None:
    known = STATE / "ssh" / "known_hosts"
    kept = known.read_text()
    of_server = kept.splitlines(keepends=True)[0]
    another = f"{MEASURED.address} {of_server.partition(' ')[2]}"
    try:
        known.write_text(of_server + another)
        done = own.stages("--tags", "hosts", check=False)
    finally:
        known.write_text(kept)
    assert done.returncode == 2, "no client is left"
    address = {one.name: f"{one.name} ({one.address})" for one in MACHINES}
    assert f"{address['own-2']} shows another ssh host key than known_hosts has" in done.stdout
    assert f"{address['own-3']} has an ssh host key that is not in known_hosts" in done.stdout
    assert "there is none in clients:" in done.stdout
    stranger = STATE / "keys" / OTHER.name / "host_ed25519"
    done = own.stages(
        "--tags", "hosts", "-e", f"ansible_ssh_private_key_file={stranger}", check=False
    )
    assert f"{address['own-1']} refuses the ssh key" in done.stdout


def test_they_are_provisioned_and_measured_without_one_that_does_not_answer(own: OwnLab) -> None:
    foreign.write_inventory(silent=99)
    try:
        done = own.stages("-e", f"experiment={MINE}/own.yml", timeout=3000)
    finally:
        foreign.write_inventory()
    assert "3 of 4 hosts answer." in done.stdout
    assert f"own-9 ({NET}.99) does not answer" in done.stdout
    assert "own-9 is left out: it does not answer" in done.stdout
    (campaign,) = own.campaigns("own")
    found = rows(own, "runs", campaign.name)
    assert {one["host"] for one in found} == {"own-2", "own-3"}
    assert {one["kind"] for one in found} == {"bare-metal"}
    assert {one["state"] for one in found} == {"good"}
    assert {one["tool"] for one in found} == {"fortio"}
    assert {one["untested"] for one in found} == {False}
    warned = {one["host"] for one in found if "own-3: Docker runs here" in (one["warnings"] or "")}
    assert warned == {"own-3"}
    assert header(campaign)["hosts"]["own-1"]["untested"] is False


def test_the_record_says_what_was_before(own: OwnLab, before: Looks) -> None:
    path = "/etc/socklab/before.json"
    assert MEASURED.on("stat", "--format=%a %U", path).split() == ["600", "root"]
    record = json.loads(MEASURED.on("cat", path))
    assert record["lab"] == LAB
    assert record["sysctls"] == before["own-2"]["sysctls"]
    assert not record["units"]["docker.service"]["there"]
    assert MEASURED.look()["sysctls"] != before["own-2"]["sysctls"]


def test_after_teardown_they_are_as_before(own: OwnLab, before: Looks) -> None:
    own.stages("--tags", "teardown")
    for one in MACHINES:
        was, now = before[one.name], one.look()
        new = now["files"].keys() - was["files"].keys()
        changed = {path for path in was["files"] if now["files"].get(path) != was["files"][path]}
        left = {path for path in new | changed if not OF_PACKAGES.fullmatch(path)}
        assert left - one.packaged(left) == set(), one.name
        assert set(now["users"]) - set(was["users"]) <= USERS_OF_PACKAGES
        for what in ("units", "sysctls", "docker"):
            assert now[what] == was[what], (one.name, what)
        assert "socklab" not in one.on("ip", "-brief", "link")
        emptied = ["/var/lib/socklab"] + (["/var/lib/docker"] if one is not OTHER else [])
        assert one.on("find", *emptied, "-mindepth", "1", check=False) == ""
    assert OTHER.on("docker", "image", "ls", "--quiet") == ""
    assert "socklab" not in OTHER.on("docker", "network", "ls")
    left = sorted(path.name for path in STATE.iterdir())
    assert not {"secrets", "lab.env", "preflight.json"} & set(left)
    assert (STATE / "ssh" / "known_hosts").exists()
    assert (STATE / "results").is_dir()


def test_teardown_twice_is_no_error(own: OwnLab) -> None:
    done = own.stages("--tags", "teardown")
    assert re.findall(r"^own-\d +: .*changed=(\d+)", done.stdout, re.MULTILINE) == ["0", "0", "0"]


@pytest.mark.long
def test_converged_again_they_get_an_experiments_networks_and_nothing_else(own: OwnLab) -> None:
    own.stages("--tags", "hosts,cluster,workloads")
    done = own.stages("--tags", "cluster,workloads", "-e", "experiment=networks")
    assert changes(done.stdout) == {(one.name, "networks") for one in (MEASURED, OTHER)}
    for one in (MEASURED, OTHER):
        assert "master socklab1" in one.on("ip", "link", "show", "socklab-vxlan")
    own.stages("--tags", "teardown")
    for one in MACHINES:
        assert "socklab" not in one.on("ip", "-brief", "link")
