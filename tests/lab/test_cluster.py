"""The cluster: converged twice, closed to strangers, its secrets kept."""

from __future__ import annotations

import json
import re
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from conftest import Lab, changes

PLAINTEXT = {"22"}  # sshd: keys only


def secrets_of(lab: Lab) -> dict[str, str]:
    """Every secret that the controller keeps, in the forms in which it is used."""
    found = {}
    for path in sorted((lab.state / "secrets").rglob("*")):
        if path.is_file() and path.parent.name in ("consul", "nomad", "registry", "mesh"):
            if path.name in ("auth.json", "ca.crt", "digest"):
                continue
            text = path.read_text().strip()
            found[str(path)] = text
            if re.fullmatch(r"[0-9a-f]{32}", text):
                cut = (text[:8], text[8:12], text[12:16], text[16:20], text[20:])
                found[f"{path} as UUID"] = "-".join(cut)
    for path in (lab.state / "secrets" / "tls").rglob("*.key"):
        found[str(path)] = path.read_text().splitlines()[1]
    return found


def test_a_second_converge_brings_networks_that_are_asked_for_and_prints_no_secret(
    lab: Lab,
) -> None:
    there = lab.on("lab-2", "ip", "link", "show", "socklab-vxlan", check=False).returncode == 0
    stages = ("--tags", "hosts,cluster,workloads", "-e", "experiment=networks")
    done = lab.playbook(*stages, "-vvv")
    recap = re.findall(r"^(\S+)\s+: ok=\d+.* unreachable=0\s+failed=0", done.stdout, re.M)
    assert set(recap) == {"lab-1", "lab-2", "lab-3", "localhost"}
    brought = set() if there else {("lab-2", "networks"), ("lab-3", "networks")}
    assert changes(done.stdout) == brought
    kept = secrets_of(lab)
    assert len(kept) > 12
    for where, secret in kept.items():
        assert secret not in done.stdout, f"{where} was printed"
        assert secret not in lab.up_output, f"{where} was printed at the first converge"


def test_secrets_are_kept_to_their_owner(lab: Lab) -> None:
    private = [
        lab.state / "lab.env",
        lab.state / "ssh" / "id_ed25519",
        lab.state / "ssh" / "engine_ed25519",
    ]
    private += [Path(name) for name in secrets_of(lab) if " " not in name]
    for path in private:
        assert path.stat().st_mode & 0o777 == 0o600, path
    assert lab.state.stat().st_mode & 0o777 == 0o700
    for host, folder in (
        ("lab-1", "/etc/consul.d"),
        ("lab-1", "/etc/nomad.d"),
        ("lab-2", "/etc/nomad.d"),
    ):
        listed = lab.on(
            host, "find", folder, "-type", "f", "-perm", "/077", "-name", "*.[hk]*"
        ).stdout
        assert listed == "", listed


def listening(lab: Lab, host: str) -> list[tuple[str, str]]:
    """(port, process) of what listens on the host's own address or on all."""
    lines = lab.on(host, "ss", "-H", "-l", "-t", "-n", "-p").stdout.splitlines()
    found = set()
    for line in lines:
        address, _, port = line.split()[3].rpartition(":")
        if address not in ("127.0.0.1", "[::1]"):
            process = re.search(r'users:\(\("([^"]+)"', line)
            found.add((port, process[1] if process else "?"))
    return sorted(found, key=lambda one: int(one[0]))


def answer(address: str, port: str) -> str:
    """What a stranger gets: HTTP in the clear, HTTPS without token, TLS without certificate."""
    said = []
    try:
        with socket.create_connection((address, int(port)), timeout=3) as plain:
            plain.sendall(b"GET /v1/agent/self HTTP/1.0\r\n\r\n")
            said.append(f"plain {plain.recv(200).splitlines()[:1]}")
    except OSError as error:
        said.append(f"plain {error}")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for path in ("/v1/agent/self", "/v1/jobs", "/v2/_catalog"):
        request = urllib.request.Request(f"https://{address}:{port}{path}")
        try:
            with urllib.request.urlopen(request, timeout=3, context=context) as reply:
                said.append(f"{path} {reply.status} {reply.read(80)!r}")
        except urllib.error.HTTPError as error:
            said.append(f"{path} {error.code}")
        except OSError as error:
            said.append(f"{path} {error}")
    return "; ".join(said)


@pytest.mark.parametrize(
    ("host", "address"),
    [("lab-1", "198.18.64.11"), ("lab-2", "198.18.64.12"), ("lab-3", "198.18.64.13")],
)
def test_nothing_answers_a_stranger(lab: Lab, host: str, address: str) -> None:
    for port, process in listening(lab, host):
        said = answer(address, port)
        print(f"{host} {port} {process}: {said}")
        if port in PLAINTEXT:
            continue
        assert "plain [b'HTTP/1.0 200" not in said, f"{process} speaks plaintext on {port}"
        if process == "nomad" and port == "4646":
            assert "/v1/jobs 403" in said
        elif process == "consul" and port == "8501":
            assert "/v1/agent/self 403" in said
        elif process == "docker-registry":
            assert "/v2/_catalog 401" in said
        else:
            assert " 200 " not in said, f"{process} on {port} answers: {said}"


def test_rpc_needs_a_certificate_of_the_lab(lab: Lab) -> None:
    for port in (8300, 4647):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with (
            pytest.raises((ssl.SSLError, ConnectionError)),
            socket.create_connection(("198.18.64.11", port), timeout=3) as raw,
            context.wrap_socket(raw) as wrapped,
        ):
            wrapped.sendall(b"\x00" * 16)
            if not wrapped.recv(16):
                raise ConnectionError("closed")


def test_the_engine_may_run_jobs_and_no_more(lab: Lab) -> None:
    def call(path: str, method: str = "GET") -> int:
        done = subprocess.run(
            ["nomad", "operator", "api", "-X", method, path],
            env=lab.client_environment(), capture_output=True, text=True, check=False,
        )  # fmt: skip
        found = re.search(
            r"Unexpected response code: (\d+)|(Permission denied)", done.stderr + done.stdout
        )
        return 200 if found is None else 403

    assert call("/v1/jobs") == 200
    assert call("/v1/acl/tokens") == 403
    assert call("/v1/system/gc", "PUT") == 403


def test_nodes_say_what_they_are(lab: Lab) -> None:
    listed = subprocess.run(
        ["nomad", "node", "status", "-json"],
        env=lab.client_environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    nodes = {one["Name"]: one for one in json.loads(listed.stdout)}
    assert set(nodes) == {"lab-2", "lab-3"}
    summary = nodes["lab-2"]
    shown = subprocess.run(
        ["nomad", "node", "status", "-json", summary["ID"]],
        env=lab.client_environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    node = json.loads(shown.stdout)
    assert node["Name"] == "lab-2"
    assert node["Meta"]["role"] == "clients"
    assert node["Meta"]["emulated"] == "false"
    assert node["Meta"]["lab"] == lab.state.name
    assert node["Drivers"]["docker"]["Healthy"]
    assert "plugins.cni.version.bridge" in node["Attributes"]
    assert not any(name.startswith("platform.aws") for name in node["Attributes"])


def test_installed_packages_are_on_record(lab: Lab) -> None:
    lines = lab.on("lab-2", "cat", "/usr/share/socklab/packages.tsv").stdout.splitlines()
    packages = {line.split("\t")[0]: line.split("\t")[1:] for line in lines}
    version, digest = packages["docker.io"]
    assert version.startswith("20.10")
    assert re.fullmatch(r"[0-9a-f]{64}", digest)
    assert len(packages) > 100


def test_what_images_have_in_common_is_on_a_host_once(lab: Lab) -> None:
    named = ("docker", "image", "ls", "--quiet", "--no-trunc", "--filter", "dangling=false")
    images = sorted(set(lab.on("lab-2", *named).stdout.split()))
    told = json.loads(lab.on("lab-2", "docker", "image", "inspect", *images).stdout)
    layers = {
        one["Config"]["Labels"]["socklab.image"]: one["RootFS"]["Layers"]
        for one in told
        if len(one["RootFS"]["Layers"]) > 1
    }
    assert {"app", "proxy", "combined"} <= layers.keys()
    assert len({first for first, _ in layers.values()}) == 1
    (app,) = [one["Id"] for one in told if one["Config"]["Labels"]["socklab.image"] == "app"]
    table = ("docker", "run", "--rm", "--network=none", "--entrypoint=cat", app)
    lines = lab.on("lab-2", *table, "/usr/share/socklab/packages.tsv").stdout.splitlines()
    packages = {line.split("\t")[0] for line in lines}
    assert {"base-files", "python3-starlette"} <= packages, "those below and its own"
    assert not [name for name in packages if name.startswith("nginx")]


def test_status_and_doctor(lab: Lab) -> None:
    shown = lab.collector("status").stdout
    assert re.search(r"lab-1 .*member +server", shown)
    assert re.search(r"lab-2 .*member +ready", shown)
    assert "privilege" in lab.collector("doctor").stdout
