"""Nomad's own Connect block over two Unix sockets: ``jobs/mesh-native.nomad.hcl`` on a lab."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from conftest import ROOT, Lab, wait_for

NAME = "native-test"
EDGE = (f"{NAME}-client", f"{NAME}-server")
SERVICES = {service for end in EDGE for service in (end, f"{end}-sidecar-proxy")}
ALLOWED_S = 15
DENIED_S = 25  # an established connection is drained for five seconds
GONE_S = 30


def command(lab: Lab, *argv: str, management: bool = False, check: bool = True) -> str:
    """Run nomad or consul as the lab's engine, or with the management token of Consul."""
    environment = lab.client_environment()
    if management:
        secret = (lab.state / "secrets" / "consul" / "management").read_text().strip()
        cut = re.fullmatch("(.{8})(.{4})(.{4})(.{4})(.{12})", secret)
        assert cut
        environment["CONSUL_HTTP_TOKEN"] = "-".join(cut.groups())
    done = subprocess.run(
        argv, cwd=ROOT, env=environment, text=True, timeout=120, check=False,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    print(f"$ {' '.join(argv)}\n{done.stdout[-3000:]}")
    assert done.returncode == 0 or not check, done.stdout
    return done.stdout


def services(lab: Lab) -> set[str]:
    listed = command(lab, "consul", "catalog", "services").split()
    return {name for name in listed if name.startswith(NAME)}


def allocation(lab: Lab, group: str) -> str:
    listed = json.loads(command(lab, "nomad", "job", "allocs", "-json", NAME))
    (only,) = (one["ID"] for one in listed if one["TaskGroup"] == group)
    return str(only)


def endpoint(lab: Lab) -> str:
    shown = command(lab, "nomad", "alloc", "status", "-json", allocation(lab, "client"))
    ports = json.loads(shown)["AllocatedResources"]["Shared"]["Ports"]
    (http,) = (port for port in ports if port["Label"] == "http")
    return f"http://{http['HostIP']}:{http['Value']}/"


def ask(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""


def statuses(url: str, wanted: int) -> bool:
    return ask(url)[0] == wanted


@pytest.fixture
def url(lab: Lab) -> Iterator[str]:
    """Where nginx of a running deployment answers; the deployment is stopped in the end."""
    try:
        command(
            lab, "nomad", "job", "run", f"-var-file={lab.state / 'mesh.hcl'}", f"-var=id={NAME}",
            "jobs/mesh-native.nomad.hcl",
        )  # fmt: skip
        yield endpoint(lab)
    finally:
        command(lab, "consul", "intention", "delete", *EDGE, management=True, check=False)
        command(lab, "nomad", "job", "stop", "-purge", "-detach", NAME, check=False)


def test_two_unix_sockets_through_the_mesh_as_long_as_the_edge_is_allowed(
    lab: Lab, url: str
) -> None:
    assert services(lab) == SERVICES
    assert ask(url)[0] == 502, "nobody has allowed the edge yet"

    command(lab, "consul", "intention", "create", "-allow", *EDGE, management=True)
    wait_for(lambda: statuses(url, 200), ALLOWED_S, "an answer over an allowed edge")
    assert json.loads(ask(url)[1])["hello"] == "world"

    label = f"label=com.hashicorp.nomad.alloc_id={allocation(lab, 'server')}"
    listed = lab.on("lab-3", "docker", "ps", "--quiet", "--filter", label, "--filter", "name=^app-")
    (application,) = listed.stdout.split()
    seen = lab.on("lab-3", "docker", "exec", application, "ls", "/sys/class/net", "/alloc/tmp")
    assert seen.stdout.split() == [
        "/alloc/tmp:", "consul_grpc.sock", "server.sock", "/sys/class/net:", "lo",
    ]  # fmt: skip

    command(lab, "consul", "intention", "delete", *EDGE, management=True)
    wait_for(lambda: statuses(url, 502), DENIED_S, "the end of a denied edge")

    command(lab, "nomad", "job", "stop", "-purge", "-detach", NAME)
    wait_for(lambda: not services(lab), GONE_S, "Nomad's deregistration of its services")
