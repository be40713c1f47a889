"""A mesh across two hosts: its proofs, its figures, and what it is made of."""

from __future__ import annotations

import html
import json
from pathlib import Path

import pytest
from conftest import Lab, wait_for
from pyarrow import parquet
from test_cluster import answer, listening, secrets_of
from test_measure import header, rows

from collector.campaign.mesh import Mesh
from collector.parse import TOOLS


@pytest.fixture(scope="module")
def campaign(lab: Lab) -> Path:
    """One block of mesh-web, measured, collected and analysed by the playbook, with -vvv."""
    done = lab.playbook(
        "--tags", "measure,collect,analyse", "-e", "experiment=mesh-web", "-e", "blocks=1", "-vvv"
    )
    (lab.state / "mesh.log").write_text(done.stdout)
    return lab.campaigns("mesh-web")[-1]


def test_every_claim_held(campaign: Path) -> None:
    proofs = json.loads((campaign / "proofs.json").read_text())["proofs"]
    assert {one["name"] for one in proofs} == {
        "no-interface", "no-listener", "intention", "encrypted", "socket-mode", "strangers",
        "identity",
    }  # fmt: skip
    for one in proofs:
        assert one["passed"], one


def test_every_arm_was_measured(lab: Lab, campaign: Path) -> None:
    runs = {(one["arm"], one["copy"]): one for one in rows(lab, "runs", campaign.name)}
    assert len(runs) == 9
    for run in runs.values():
        assert run["state"] == "good", run["reasons"]
        assert run["requests"] > 100
        assert run["errors_status"] == 0
        assert run["peer"] == "lab-3"
    parts = {
        (one["deployment"], one["container"]): one
        for one in rows(lab, "containers", campaign.name)
        if one["measured"]
    }
    meshed = runs["mesh-unix", "a"]["deployment"]
    for task, host in (
        ("proxy", "lab-2"), ("sidecar-client", "lab-2"), ("app", "lab-3"),
        ("sidecar-server", "lab-3"),
    ):  # fmt: skip
        assert parts[meshed, task]["host"] == host
        assert parts[meshed, task]["cpu_s"] > 0


def test_sidecars_are_equal_and_on_record(campaign: Path) -> None:
    sidecars = [
        facts
        for deployment in header(campaign)["deployments"].values()
        for facts in deployment["sidecars"].values()
    ]
    assert len(sidecars) == 10
    assert {one["version"] for one in sidecars} == {"1.36.4"}
    assert {one["concurrency"] for one in sidecars} == {1}
    assert not any(one["access_log"] or one["tracing"] for one in sidecars)
    assert len({tuple(one["ciphers"]) for one in sidecars}) == 1


def test_the_report_shows_the_proofs(lab: Lab, campaign: Path) -> None:
    report = lab.state / "results" / "report" / "mesh-web" / "report.html"
    text = html.unescape(report.read_text())
    assert campaign.name in text
    for one in json.loads((campaign / "proofs.json").read_text())["proofs"]:
        assert one["claim"] in text


def test_nothing_is_left_registered(lab: Lab, campaign: Path) -> None:
    environment = lab.client_environment()
    assert lab.nomad_jobs() == []
    done = lab.run("curl", "-sS", "--cacert", environment["CONSUL_CACERT"],
                   "-H", f"X-Consul-Token: {environment['CONSUL_HTTP_TOKEN']}",
                   f"{environment['CONSUL_HTTP_ADDR']}/v1/catalog/services")  # fmt: skip
    assert not [name for name in json.loads(done.stdout) if name.startswith("sl-")]


def test_no_secret_is_told(lab: Lab, campaign: Path) -> None:
    places = {"console": (lab.state / "mesh.log").read_text()}
    for path in (lab.state / "results").rglob("*"):
        if path.suffix == ".parquet":  # compressed: a search of the file would find nothing
            places[str(path)] = str(parquet.read_table(path).to_pylist())
        elif path.is_file():
            places[str(path)] = path.read_text(errors="replace")
    for host in ("lab-1", "lab-2", "lab-3"):
        logged = lab.on(host, "journalctl", "--no-pager", "--output=cat").stdout
        assert "Consul" in logged
        places[f"journal of {host}"] = logged
    for where, secret in secrets_of(lab).items():
        for place, text in places.items():
            assert secret not in text, f"{where} is told in {place}"


def test_a_stream_is_measured_from_a_container_without_network(lab: Lab) -> None:
    """By hand, but for what the runner and the engine do: the load script, the edge."""
    job, mesh = "sl-stream", Mesh(lab.state)
    mesh.allow(job)
    try:
        lab.run(
            "nomad", "job", "run", f"-var=id={job}", f"-var-file={lab.state}/mesh.hcl",
            "-var-file=jobs/mesh/stream-mesh-unix.hcl", "jobs/mesh.nomad.hcl", client=True,
        )  # fmt: skip
        (container,) = lab.on(
            "lab-2", "docker", "ps", "--quiet", "--no-trunc", "--filter", "name=load-"
        ).stdout.split()
        inside = ("/usr/local/lib/socklab/run-inside", container, "20")
        wait_for(
            lambda: lab.on("lab-2", *inside, "/local/ready", check=False).returncode == 0,
            20, "the server answers through the mesh",
        )  # fmt: skip
        done = lab.on("lab-2", *inside, "/local/load", "--flows", "2", "--time", "1")
        record = TOOLS["stream"].parse(done.stdout.encode(), {})
        assert record.transfer_bytes_per_s is not None
        assert record.transfer_bytes_per_s > 1_000_000
        assert record.connections == 2
        for refused in (("/bin/sh",), ("/local/load", "a;b"), ("/local/load", "$(id)")):
            assert lab.on("lab-2", *inside, *refused, check=False).returncode == 2
    finally:
        lab.run("nomad", "job", "stop", "-purge", job, client=True)
        mesh.forbid(job)


def test_the_database_answers_through_every_way(lab: Lab) -> None:
    lab.playbook("--tags", "measure,collect", "-e", "experiment=mesh-database", "-e", "blocks=1")
    (campaign,) = lab.campaigns("mesh-database")
    for run in rows(lab, "runs", campaign.name):
        assert run["state"] == "good", run["reasons"]
        assert run["requests"] > 100
        assert run["latency_p99_s"] > 0


def test_nothing_of_a_mesh_answers_a_stranger(lab: Lab) -> None:
    """Every listener of both hosts while a mesh is up: nginx serves, everything else refuses."""
    lab.run(
        "nomad", "job", "run", "-var=id=ports", f"-var-file={lab.state}/mesh.hcl",
        "-var-file=jobs/mesh/web-mesh-unix.hcl", "jobs/mesh.nomad.hcl", client=True,
    )  # fmt: skip
    try:
        seen = {}
        for host, address in (("lab-2", "198.18.64.12"), ("lab-3", "198.18.64.13")):
            for port, process in listening(lab, host):
                seen[process] = said = answer(address, port)
                print(f"{host} {port} {process}: {said}")
                if process not in ("sshd", "nginx"):
                    assert " 200 " not in said, f"{process} on {port} answers: {said}"
                    assert "HTTP/1.1 200" not in said, f"{process} on {port} answers: {said}"
        assert "envoy" in seen
        assert "200" in seen["nginx"] or "502" in seen["nginx"]
    finally:
        lab.run("nomad", "job", "stop", "-purge", "ports", client=True)
