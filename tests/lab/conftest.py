"""One live lab for all of this layer, with an id, names and a subnet of its own.

It is brought up by the same command that a user types, and taken down at the end. With
``SOCKLAB_TEST_KEEP=1`` it stays up, for working on a test. What a killed run left, in whatever
checkout, is taken down first; beside a run that lives these tests refuse to start.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAB = "socklab-test"
ARCH = {"x86_64": "aarch64", "aarch64": "x86_64"}[os.uname().machine]
LAST = ("test_binaries", "test_no_lab", "test_foreign_hosts", "test_other_architecture")
ENVIRONMENT = {
    **os.environ,
    "SOCKLAB_ID": LAB,
    "SOCKLAB_SUBNET": "198.18.64.0/24",
    "SOCKLAB_HOSTS": "3",
    "SOCKLAB_STATE": str(ROOT / ".lab" / LAB),
    "ANSIBLE_FORCE_COLOR": "0",
    "ANSIBLE_NOCOLOR": "1",
    "PYTHONUNBUFFERED": "1",  # as the Makefile has it: lines come when they are written
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
}


# The emulated machine joins, then pulls what its tests run there, which takes minutes. $0: the file
# with the images' names; the arguments: how a command is given to the machine.
JOIN = r"""
ansible-playbook lab.yml --tags hosts,cluster,workloads
for image in $(sed -n 's/^image_\(app\|proxy\) = "\(.*\)"$/\2/p' "$0"); do
  "$@" "set -e; mkdir -p -m 700 /run/pull
        ln -sf /etc/docker/socklab-registry.json /run/pull/config.json
        docker --config /run/pull pull --quiet $image; rm -r /run/pull"
done
"""


@dataclass
class Lab:
    """The live lab: where it is and how to command it."""

    state: Path = ROOT / ".lab" / LAB
    environment: dict[str, str] = field(default_factory=lambda: dict(ENVIRONMENT))
    up_output: str = ""

    def run(
        self, *argv: str, check: bool = True, timeout: float = 600, client: bool = False,
        stdin: str = "",
    ) -> subprocess.CompletedProcess[str]:  # fmt: skip
        """Run a command as a user of the lab would; its output is shown when the test fails.

        ``client``: with address, CA and token of Nomad and Consul, as in ``make shell``.
        """
        done = subprocess.run(
            argv, cwd=ROOT, env=self.client_environment() if client else self.environment,
            text=True, timeout=timeout, check=False, input=stdin,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        print(f"$ {' '.join(argv)}\n{done.stdout[-6000:]}")
        if check:
            assert done.returncode == 0, f"exit code {done.returncode}: {done.stdout[-3000:]}"
        return done

    def playbook(
        self, *arguments: str, check: bool = True, timeout: float = 1200
    ) -> subprocess.CompletedProcess[str]:
        return self.run("ansible-playbook", "lab.yml", *arguments, check=check, timeout=timeout)

    def collector(
        self, *arguments: str, check: bool = True, timeout: float = 600
    ) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "collector", *arguments, check=check, timeout=timeout)

    def popen(self, *argv: str) -> subprocess.Popen[str]:
        """Start a command in a session of its own, to be interrupted or killed.

        What a shell starts in the background ignores SIGINT, and so would its children.
        """
        return subprocess.Popen(
            ("env", "--default-signal=INT", *argv), cwd=ROOT, env=self.environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip

    def on(self, host: str, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command on a virtual host, as root, without ssh."""
        return self.run("podman", "exec", f"{LAB}-{host}", *argv, check=check)

    def client_environment(self) -> dict[str, str]:
        lines = (self.state / "lab.env").read_text().splitlines()
        mine = dict(line.split("=", 1) for line in lines)
        return {**self.environment, **mine, "PATH": f"{self.state}/bin:{self.environment['PATH']}"}

    def forget(self) -> None:
        """Remove what earlier tests measured: a campaign that they left would be gone on with."""
        shutil.rmtree(self.state / "results", ignore_errors=True)

    def campaigns(self, experiment: str) -> list[Path]:
        return sorted((self.state / "results" / "campaigns").glob(f"{experiment}-*"))

    def nomad_jobs(self) -> list[str]:
        listed = subprocess.run(
            ["nomad", "operator", "api", "/v1/jobs"],
            env=self.client_environment(), capture_output=True, text=True, check=True,
        )  # fmt: skip
        return [job["ID"] for job in json.loads(listed.stdout)]


def guest(lab: Lab) -> tuple[str, ...]:
    """How a command is given to the emulated machine."""
    return (
        "ssh", "-i", f"{lab.state}/ssh/id_ed25519", "-o", "BatchMode=yes",
        "-o", f"UserKnownHostsFile={lab.state}/ssh/known_hosts", "root@198.18.64.41",
    )  # fmt: skip


def machine() -> dict[str, list[str]]:
    """What of podman's a lab could leave behind."""

    def listed(*argv: str) -> list[str]:
        done = subprocess.run(["podman", *argv], capture_output=True, text=True, check=False)
        return sorted(line for line in done.stdout.splitlines() if LAB in line)

    return {
        "containers": listed("ps", "--all", "--format", "{{.Names}}"),
        "volumes": listed("volume", "ls", "--format", "{{.Name}}"),
        "networks": listed("network", "ls", "--format", "{{.Name}}"),
    }


def changes(said: str) -> set[tuple[str, str]]:
    """What a playbook that said this has changed: hosts, each with the role that did it."""
    parts = re.split(r"^(?:TASK|RUNNING HANDLER) \[(.*)\] \**$", said, flags=re.MULTILINE)
    return {
        (host, name.partition(" : ")[0])
        for name, lines in zip(parts[1::2], parts[2::2], strict=True)
        for host in re.findall(r"^changed: \[(\S+?)(?: -> [^\]]+)?\]", lines, re.MULTILINE)
    }


def wait_for(condition, limit_s: float, what: str):  # type: ignore[no-untyped-def]
    """Poll until the condition gives something true; a bound, and its name in the failure."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.2)
    raise AssertionError(f"not within {limit_s} s: {what}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The emulated machine comes last, beside what needs nothing of the lab: ``joining``."""
    items.sort(key=lambda item: LAST.index(item.path.stem) + 1 if item.path.stem in LAST else 0)


@pytest.fixture(scope="session")
def alone() -> Iterator[None]:
    """The only run on this machine: the kernel frees the lock when its holder dies."""
    held = Path(tempfile.gettempdir()) / f"{LAB}-{os.getuid()}.lock"
    with os.fdopen(os.open(held, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pytest.exit(f"another run of the lab's tests is using {LAB} (lock {held})", 2)
        yield


@pytest.fixture(scope="session")
def lab(alone: None) -> Iterator[Lab]:
    """The lab, up and measured once with the default experiment, two blocks."""
    one = Lab()
    said = one.state / "up.log"
    keep = "SOCKLAB_TEST_KEEP" in os.environ
    try:
        if not (keep and said.exists()):
            if any(machine().values()):
                one.playbook("--tags", "teardown")
            one.forget()
            done = one.playbook("-e", "experiment=web", "-e", "blocks=2", timeout=3000)
            said.write_text(done.stdout)
        one.up_output = said.read_text()
        yield one
    finally:
        if not keep:
            # What is there is found by its label, a host that the inventory no longer names too.
            one.environment.pop("SOCKLAB_ARCHS", None)
            one.playbook("--tags", "teardown")
            said.unlink(missing_ok=True)
            assert machine() == {"containers": [], "volumes": [], "networks": []}
            assert not (one.state / "secrets").exists()


@pytest.fixture(scope="session")
def joining(request: pytest.FixtureRequest) -> Iterator[Callable[[], None] | None]:
    """Start what takes minutes on an emulated machine while others are tested; call it to wait.

    None, and no lab, where no test wants that machine.
    """
    if not any(item.path.stem == LAST[-1] for item in request.session.items):
        yield None
        return
    lab: Lab = request.getfixturevalue("lab")
    told = lab.state / "join.log"
    with told.open("w") as log:
        process = subprocess.Popen(
            ("sh", "-euc", JOIN, str(lab.state / "images.hcl"), *guest(lab)), cwd=ROOT,
            env={**lab.environment, "SOCKLAB_ARCHS": ARCH}, stdin=subprocess.DEVNULL, stdout=log,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def joined() -> None:
        code = process.wait(2400)
        assert code == 0, told.read_text()[-3000:]

    try:
        yield joined
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(120)
