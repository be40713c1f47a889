"""Machines that the lab did not make, for tests: systemd containers with sshd and Python.

They have an id, names and a subnet of their own, and a network that leads nowhere.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from conftest import ENVIRONMENT, ROOT, Lab

LAB = "socklab-own"
NET = "198.18.66"
STATE = ROOT / ".lab" / LAB
# What the roles ask apt for on a host.
PACKAGES = (
    "python3 python3-apt sudo procps iproute2 ca-certificates nftables docker.io iptables apparmor "
    "dbus containernetworking-plugins dmidecode docker-registry apache2-utils wrk nghttp2-client "
    "strace"
)
SYSCTLS = ("net.core.somaxconn", "net.ipv4.tcp_tw_reuse", "net.ipv4.ip_forward")
# Runs on a machine: what a teardown must give back. Files are told by content, users by name.
LOOK = """
import hashlib, json, os, subprocess, sys
files = {}
for top in ("/etc", "/opt", "/usr/local"):
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.islink(path):
                files[path] = os.readlink(path)
            elif os.path.isfile(path):
                files[path] = hashlib.sha256(open(path, "rb").read()).hexdigest()
listed = ["systemctl", "list-unit-files", "--state=enabled", "--no-legend", "--plain"]
units = subprocess.run(listed, capture_output=True, text=True).stdout.splitlines()
print(json.dumps({
    "files": files,
    "users": sorted(line.partition(":")[0] for line in open("/etc/passwd")),
    "units": sorted(line.split()[0] for line in units),
    "sysctls": {name: open("/proc/sys/" + name.replace(".", "/")).read().strip()
                for name in sys.argv[1:]},
    "docker": os.path.exists("/run/docker.pid"),
}))
"""


def podman(*argv: str, check: bool = True) -> str:
    done = subprocess.run(
        ["podman", *argv], env={**os.environ, "CONTAINERS_CONF": str(STATE / "podman.conf")},
        text=True, stdin=subprocess.DEVNULL, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0 or not check, f"podman {' '.join(argv)}: {done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class Machine:
    """One machine, by its number in the network; ``cpu`` is the one that it has."""

    name: str
    number: int
    suite: str
    cpu: int
    user: str = "root"

    @property
    def address(self) -> str:
        return f"{NET}.{self.number}"

    @property
    def container(self) -> str:
        return f"{LAB}-{self.name}"

    def start(self, image: str) -> None:
        """As roles/virtual_hosts starts one, but for what it knows of the lab: nothing."""
        keys = STATE / "keys" / self.name
        podman(
            "run", "--detach", "--name", self.container, "--hostname", self.name, "--privileged",
            "--cgroupns=private", "--systemd=false", "--stop-signal=37",
            "--tmpfs=/run:mode=755", "--tmpfs=/run/lock:mode=755", "--tmpfs=/tmp:mode=1777",
            f"--network={LAB}:ip={self.address}", f"--cpuset-cpus={self.cpu}",
            f"--volume={self.container}:/var/lib/docker", f"--volume={keys}:/etc/ssh/keys:ro",
            # systemd 257 refuses control groups of version 1 unless it is told.
            image, "/sbin/init", "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1",
        )  # fmt: skip

    def on(self, *argv: str, check: bool = True) -> str:
        return podman("exec", self.container, *argv, check=check)

    def look(self) -> dict[str, Any]:
        found = json.loads(self.on("python3", "-I", "-c", LOOK, *SYSCTLS))
        assert isinstance(found, dict)
        return found

    def packaged(self, paths: set[str]) -> set[str]:
        """Those of some paths that belong to a Debian package."""
        said = self.on("dpkg-query", "--search", *sorted(paths), check=False)
        return {line.partition(": ")[2] for line in said.splitlines()}


MACHINES = (
    Machine("own-1", 11, "trixie", 0),
    Machine("own-2", 12, "trixie", 1),
    Machine("own-3", 13, "bookworm", 1, user="caretaker"),
)


@dataclass
class OwnLab(Lab):
    """The lab on these machines."""

    state: Path = STATE
    environment: dict[str, str] = field(
        default_factory=lambda: {
            **{key: value for key, value in ENVIRONMENT.items() if not key.startswith("SOCKLAB_")},
        }
    )

    def stages(
        self, *arguments: str, check: bool = True, timeout: float = 1800
    ) -> subprocess.CompletedProcess[str]:
        inventory = str(STATE / "hosts.yml")
        return self.playbook("-i", inventory, *arguments, check=check, timeout=timeout)


def write_inventory(silent: int | None = None) -> None:
    """An inventory as a person writes it, and the host keys as known beforehand.

    ``silent``: the last number of one client's address more, where nobody is.
    """
    known = STATE / "ssh" / "known_hosts"
    hosts = {
        one.name: {
            "ansible_host": one.address,
            "ansible_user": one.user,
            "lab_cpus": [one.cpu],
            "lab_containers_subnet": f"198.19.{one.number + 200}.0/24",
        }
        for one in MACHINES
    }
    groups = {"servers": [0], "load": [0], "clients": [1, 2], "arch_here": [0, 1, 2]}
    inventory: dict[str, Any] = {
        "all": {
            "vars": {
                "ansible_python_interpreter": "/usr/bin/python3",
                "ansible_ssh_private_key_file": str(STATE / "keys" / "id_ed25519"),
                "ansible_ssh_common_args": (
                    f"-o UserKnownHostsFile={known} -o StrictHostKeyChecking=yes"
                ),
                "lab_id": LAB,
                "lab_state": str(STATE),
                "lab_kind": "bare-metal",
                "lab_emulated": False,
                "lab_arch": os.uname().machine,
                "nomad_interface": "eth0",
            },
            "hosts": hosts,
            "children": {
                group: {"hosts": {MACHINES[index].name: {} for index in members}}
                for group, members in groups.items()
            },
        }
    }
    if silent:
        gone = {"ansible_host": f"{NET}.{silent}", "ansible_user": "root", "lab_cpus": [0]}
        inventory["all"]["children"]["clients"]["hosts"]["own-9"] = gone
    (STATE / "hosts.yml").write_text(yaml.safe_dump(inventory))
    lines = [
        f"{one.address} {(STATE / 'keys' / one.name / 'host_ed25519.pub').read_text()}"
        for one in MACHINES
    ]
    known.parent.mkdir(mode=0o700, exist_ok=True)
    known.write_text("".join(lines))


def make_keys() -> None:
    for name in ("id", *(f"{one.name}/host" for one in MACHINES)):
        path = STATE / "keys" / f"{name}_ed25519"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", path], check=True
        )
    for one in MACHINES:
        authorized = STATE / "keys" / one.name / "authorized_keys"
        authorized.write_text((STATE / "keys" / "id_ed25519.pub").read_text())


def configure() -> None:
    """Write podman's configuration; without it podman does nothing at all, not even remove."""
    STATE.mkdir(parents=True, mode=0o700, exist_ok=True)
    unified = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    (STATE / "podman.conf").write_text(
        '[containers]\ndefault_ulimits = ["nofile=16384:16384", "nproc=30000:30000"]\n'
        + ("" if unified else '[engine]\nruntime = "runc"\n')
    )


def remove() -> None:
    """Take the machines away, whatever there is of them, and whoever's clone started them."""
    configure()
    for one in MACHINES:
        podman("rm", "--force", "--time", "5", one.container, check=False)
        podman("volume", "rm", "--force", one.container, check=False)
    podman("network", "rm", LAB, check=False)


def start() -> None:
    """Build the images where they are missing, make the network, start the machines."""
    configure()
    make_keys()
    write_inventory()
    podman("network", "create", "--internal", "--disable-dns", f"--subnet={NET}.0/24",
           f"--gateway={NET}.1", LAB)  # fmt: skip
    images = {suite: build(suite) for suite in sorted({one.suite for one in MACHINES})}
    for one in MACHINES:
        one.start(images[one.suite])


def build(suite: str) -> str:
    """Reference of a suite's image, built unless it is there."""
    said = STATE / f"image-{suite}"
    OwnLab().run(
        "ansible-playbook", "-i", "localhost,", "tests/lab/foreign_image.yml", "-e",
        json.dumps({"suite": suite, "packages": PACKAGES, "reference": str(said)}),
    )  # fmt: skip
    return said.read_text().strip()
