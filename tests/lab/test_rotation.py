"""Rotation: everything old is worth nothing afterwards, and whoever was at work goes on."""

from __future__ import annotations

import json
import os
import re
import signal
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import ROOT, Lab, wait_for
from cryptography import x509
from filelock import FileLock
from test_cluster import secrets_of

# Minutes: CI runs it as a part of its own.
pytestmark = pytest.mark.long

# (host, port, what Nomad's RPC wants to hear before TLS begins)
LISTENERS = [
    *[(host, port, "") for host in ("lab-1", "lab-2") for port in ("4646", "8501", "8503")],
    *[("lab-1", "5000", ""), ("lab-1", "8300", ""), ("lab-1", "4647", "04")],
]
SERIAL = """
import socket, ssl, sys
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5) as raw:
    raw.sendall(bytes.fromhex(sys.argv[3]))
    with context.wrap_socket(raw) as wrapped:
        print(ssl.DER_cert_to_PEM_cert(wrapped.getpeercert(True)))
"""
# Where a rotation is killed, in the order in which it gets there.
MOMENTS = {
    "made": r"TASK \[nomad : Succeed \| Make the engine",
    "taken": r"TASK \[Forget the passwords",
    "half": r"TASK \[nomad : Configure \| Write",
    "retiring": r"TASK \[nomad : Retire \| Delete",
}


def address(lab: Lab, host: str) -> str:
    number = 10 + int(host.removeprefix("lab-"))
    return lab.environment["SOCKLAB_SUBNET"].replace(".0/24", f".{number}")


def serials(lab: Lab) -> dict[tuple[str, str], int]:
    """Serial number of the certificate that each listener shows."""
    found = {}
    for host, port, first in LISTENERS:
        loopback = port in ("8501", "8503") or (host == "lab-2" and port == "4646")
        where = "127.0.0.1" if loopback else address(lab, host)
        pem = lab.on(host, "python3", "-c", SERIAL, where, port, first).stdout
        found[host, port] = x509.load_pem_x509_certificate(pem.encode()).serial_number
    return found


def containers(lab: Lab) -> dict[str, str]:
    """Containers on lab-2: id to when it was started."""
    for _ in range(20):
        ids = lab.on("lab-2", "docker", "ps", "--quiet", "--no-trunc").stdout.split()
        if not ids:
            return {}
        shown = lab.on("lab-2", "docker", "inspect", *ids, check=False)
        if shown.returncode == 0:  # else one of them ended between the two commands
            return {one["Id"]: one["State"]["StartedAt"] for one in json.loads(shown.stdout)}
    raise AssertionError("not once did all containers of lab-2 stay to be looked at")


def tokens(lab: Lab) -> dict[str, str]:
    """Tokens of Consul and Nomad, by file, as they are shown to them."""
    kept = {name: secret for name, secret in secrets_of(lab).items() if "/tls/" not in name}
    uuids = {name.removesuffix(" as UUID"): secret for name, secret in kept.items()}
    return {
        name: uuids[name]
        for name in uuids
        if Path(name).parent.name in ("consul", "nomad") and Path(name).name != "gossip"
    }


def status(lab: Lab, url: str, headers: dict[str, str]) -> int:
    context = ssl.create_default_context(cafile=str(lab.state / "secrets/tls/ca.pem"))
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=10, context=context
        ) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def show_token(lab: Lab, name: str, secret: str) -> int:
    """What the product whose token it is says to it."""
    product = Path(name).parent.name
    port, header = {"consul": (8501, "X-Consul-Token"), "nomad": (4646, "X-Nomad-Token")}[product]
    url = f"https://{address(lab, 'lab-1')}:{port}/v1/acl/token/self"
    return status(lab, url, {header: secret})


def show_password(lab: Lab, password: str) -> int:
    sent = b64encode(f"socklab:{password}".encode()).decode()
    url = f"https://{address(lab, 'lab-1')}:5000/v2/"
    return status(lab, url, {"Authorization": f"Basic {sent}"})


def log_in(lab: Lab, host: str, key: Path) -> bool:
    options = ("-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes")
    known = ("-o", f"UserKnownHostsFile={lab.state}/ssh/known_hosts")
    login = f"socklab@{address(lab, host)}"
    return (
        lab.run("ssh", *options, *known, "-i", str(key), login, "true", check=False).returncode == 0
    )


def gossip_keys(lab: Lab) -> dict[str, set[str]]:
    """Keys that the products hold, asked with the management tokens."""
    now, server = tokens(lab), address(lab, "lab-1")
    context = ssl.create_default_context(cafile=str(lab.state / "secrets/tls/ca.pem"))

    def ask(url: str, header: str, product: str) -> object:
        secret = now[str(lab.state / "secrets" / product / "management")]
        request = urllib.request.Request(url, headers={header: secret})
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:
            return json.load(answer)

    rings = ask(f"https://{server}:8501/v1/operator/keyring", "X-Consul-Token", "consul")
    listed = ask(f"https://{server}:4646/v1/agent/keyring/list", "X-Nomad-Token", "nomad")
    assert isinstance(rings, list)
    assert isinstance(listed, dict)
    return {
        "consul": {key for ring in rings for key in ring["Keys"]},
        "nomad": set(listed["Keys"]),
    }


def kept_gossip(lab: Lab) -> dict[str, set[str]]:
    """Keys that the controller keeps, as the products name them."""
    return {
        product: {
            b64encode((lab.state / "secrets" / product / "gossip").read_bytes().strip()).decode()
        }
        for product in ("consul", "nomad")
    }


@dataclass
class Before:
    """The lab as it was, and what the rotation said."""

    containers: dict[str, str]
    serials: dict[tuple[str, str], int]
    secrets: dict[str, str]
    tokens: dict[str, str]
    gossip: dict[str, set[str]]
    password: str
    key: Path
    said: str = ""


@pytest.fixture(scope="module")
def before(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Before]:
    """A lab with a job at work, rotated once, with all that Ansible can say about it."""
    key = tmp_path_factory.mktemp("old") / "engine"
    key.write_bytes((lab.state / "ssh" / "engine_ed25519").read_bytes())
    key.chmod(0o600)
    nomad = str(lab.state / "bin" / "nomad")
    options = [f"-var-file={lab.state}/images.hcl", "-var-file=jobs/web/sharedvolume.hcl"]

    def run(*argv: str) -> None:
        subprocess.run(
            [nomad, "job", *argv],
            cwd=ROOT, env=lab.client_environment(), check=True, capture_output=True,
        )  # fmt: skip

    run("run", "-detach", "-var=id=rotation", *options, "jobs/web.nomad.hcl")
    try:
        wait_for(lambda: len(containers(lab)) == 3, 60, "proxy, application and pause run")
        found = Before(
            containers(lab), serials(lab), secrets_of(lab), tokens(lab), gossip_keys(lab),
            (lab.state / "secrets/registry/password").read_text().strip(), key,
        )  # fmt: skip
        began = time.monotonic()
        found.said = lab.playbook("--tags", "rotate", "-vvv").stdout
        print(f"rotation of three hosts: {time.monotonic() - began:.0f} s")
        yield found
    finally:
        run("stop", "-detach", "-purge", "rotation")
        wait_for(lambda: containers(lab) == {}, 60, "the job's containers are gone")


def test_a_running_job_keeps_its_containers(lab: Lab, before: Before) -> None:
    assert len(before.containers) == 3
    assert containers(lab) == before.containers


def test_every_listener_shows_another_certificate_of_the_same_ca(lab: Lab, before: Before) -> None:
    now = serials(lab)
    assert {where for where in now if now[where] == before.serials[where]} == set()
    ca = x509.load_pem_x509_certificate((lab.state / "secrets/tls/ca.pem").read_bytes())
    for path in sorted((lab.state / "secrets/tls").glob("lab-*/*.pem")):
        x509.load_pem_x509_certificate(path.read_bytes()).verify_directly_issued_by(ca)


def test_old_tokens_and_passwords_open_nothing(lab: Lab, before: Before) -> None:
    now = tokens(lab)
    # management and engine of both; of each agent Consul's and Nomad's; two synchronisers
    assert len(now) == 12
    assert now.keys() == before.tokens.keys()
    assert {name for name, secret in now.items() if show_token(lab, name, secret) != 200} == set()
    old = before.tokens.items()
    assert {name for name, secret in old if show_token(lab, name, secret) != 403} == set()
    password = (lab.state / "secrets/registry/password").read_text().strip()
    assert (show_password(lab, password), show_password(lab, before.password)) == (200, 401)


def test_gossip_is_encrypted_by_the_new_key_alone(lab: Lab, before: Before) -> None:
    now = gossip_keys(lab)
    assert now == kept_gossip(lab)
    assert all(now[product].isdisjoint(before.gossip[product]) for product in now)


@pytest.mark.parametrize("host", ["lab-1", "lab-2"])
def test_the_engine_logs_in_with_its_new_key_alone(lab: Lab, before: Before, host: str) -> None:
    assert log_in(lab, host, lab.state / "ssh" / "engine_ed25519")
    assert not log_in(lab, host, before.key)


def test_no_secret_is_printed_or_left_lying_about(lab: Lab, before: Before) -> None:
    now = secrets_of(lab)
    assert now.keys() == before.secrets.keys()
    for where, secret in (*before.secrets.items(), *now.items()):
        assert secret not in before.said, f"{where} was printed"
        assert b64encode(secret.encode()).decode() not in before.said, f"{where} was printed"
    assert {where for where in now if now[where] == before.secrets[where]} == {
        str(lab.state / "secrets/tls/ca.key")
    }
    assert list(lab.state.rglob("*.next")) == []


def test_a_converge_after_it_changes_nothing(lab: Lab, before: Before) -> None:
    assert before.said
    done = lab.playbook("--tags", "hosts,cluster,workloads")
    recap = re.findall(r"changed=(\d+)\s+unreachable=0\s+failed=0", done.stdout)
    assert recap == ["0"] * 4, "localhost and three hosts"
    assert "server" in lab.collector("status").stdout


def test_rotation_is_refused_while_an_engine_stops_its_jobs(lab: Lab) -> None:
    kept = tokens(lab)
    with FileLock(lab.state / "engine.lock"):
        refused = lab.playbook("--tags", "rotate", check=False)
    assert refused.returncode != 0
    assert "An engine still works on this lab" in refused.stdout
    assert tokens(lab) == kept


def test_check_mode_leaves_it_out(lab: Lab) -> None:
    kept = secrets_of(lab)
    assert "check mode leaves it out" in lab.playbook("--tags", "rotate", "--check").stdout
    assert secrets_of(lab) == kept


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_rotation_is_ended_by_the_next(lab: Lab, moment: str) -> None:
    old = tokens(lab)
    process = lab.popen("ansible-playbook", "lab.yml", "--tags", "rotate")
    assert process.stdout is not None
    for line in process.stdout:
        if re.search(MOMENTS[moment], line):
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)
    lab.playbook("--tags", "rotate")
    now = tokens(lab)
    assert {show_token(lab, name, secret) for name, secret in now.items()} == {200}
    assert {show_token(lab, name, secret) for name, secret in old.items()} == {403}
    assert gossip_keys(lab) == kept_gossip(lab)
    assert list(lab.state.rglob("*.next")) == []
    assert set(re.findall(r"changed=(\d+)", lab.playbook("--tags", "cluster").stdout)) == {"0"}
