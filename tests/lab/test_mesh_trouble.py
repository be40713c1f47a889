"""What goes wrong in a mesh while it is measured, and what must hold then."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import Lab, wait_for
from test_measure import rows
from test_trouble import attempts, kill_group, ours, read_until

EXPERIMENT = Path("tests/lab/experiments/mesh-small.yml")


@contextmanager
def measuring(lab: Lab, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = lab.popen(
        sys.executable, "-m", "collector", "measure", str(EXPERIMENT),
        "--events", "plain", *arguments,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            kill_group(process, signal.SIGKILL)


def sidecar_of(lab: Lab, host: str) -> str:
    """The running Envoy's container of the campaign under way."""
    listed = lab.on(host, "docker", "ps", "--quiet", "--filter", "name=sidecar-").stdout.split()
    assert listed, "no sidecar runs"
    return listed[0]


def test_agents_and_envoys_that_die_cost_an_attempt_and_no_more(lab: Lab) -> None:
    # With this seed block 1 runs tcp/a, tcp/b, mesh-unix/a.
    with measuring(lab, "--new", "--blocks", "2", "--seed", "2") as process:
        read_until(process, r"block 1 of 2: tcp/a", 240)
        lab.on("lab-2", "systemctl", "kill", "--signal=KILL", "nomad")
        lab.on("lab-3", "systemctl", "kill", "--signal=KILL", "consul")
        sidecar = sidecar_of(lab, "lab-2")
        # At once: on a busy machine a look for the generator takes longer than its three seconds.
        read_until(process, r"block 1 of 2: tcp/b", 240)
        lab.on("lab-2", "docker", "kill", "--signal=KILL", sidecar)
        read_until(process, r"block 2 of 2: deploying", 240)
        lab.on("lab-1", "systemctl", "kill", "--signal=STOP", "consul")
        time.sleep(30)
        lab.on("lab-1", "systemctl", "kill", "--signal=CONT", "consul")
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0, said
    campaign = lab.campaigns("mesh-small")[-1]
    lost = [one for one in attempts(campaign) if one["redo"]]
    assert any(one["block"] == 1 and "did not outlive" in one["outcome"] for one in lost), lost
    done = lab.collector("collect", "--state", str(lab.state)).stdout
    (line,) = [one for one in done.splitlines() if one.startswith(f"{campaign.name}: 6 planned")]
    assert "6 planned = 6 good" in line, line
    # The superseded attempt stays on record, with what was counted; every row is of its own host.
    everything = rows(lab, "runs", campaign.name)
    assert {(one["host"], one["peer"]) for one in everything} == {("lab-2", "lab-3")}
    failed = [one for one in everything if one["state"] != "good" and one["block"] == 1]
    assert any("restarted" in one["reasons"] or "errors" in one["reasons"] for one in failed)
    assert ours(lab) == []


@pytest.mark.long
def test_a_revoked_token_ends_the_campaign_and_says_how_to_mend_it(lab: Lab) -> None:
    environment = lab.client_environment()
    with measuring(lab, "--new", "--blocks", "2") as process:
        read_until(process, r"block 1 of 2: tcp/", 240)
        management = (lab.state / "secrets" / "consul" / "management").read_text().strip()
        cut = re.fullmatch(r"(.{8})(.{4})(.{4})(.{4})(.{12})", management)
        assert cut is not None
        listed = lab.run(
            "curl", "-sS", "--cacert", environment["CONSUL_CACERT"], "-K", "-",
            f"{environment['CONSUL_HTTP_ADDR']}/v1/acl/tokens",
            stdin=f'header = "X-Consul-Token: {"-".join(cut.groups())}"',
        )  # fmt: skip
        (engine,) = [one for one in json.loads(listed.stdout) if one["Description"] == "engine"]
        lab.run(
            "curl", "-sS", "-X", "DELETE", "--cacert", environment["CONSUL_CACERT"], "-K", "-",
            f"{environment['CONSUL_HTTP_ADDR']}/v1/acl/token/{engine['AccessorID']}",
            stdin=f'header = "X-Consul-Token: {"-".join(cut.groups())}"',
        )  # fmt: skip
        said, _ = process.communicate(timeout=240)
        assert process.returncode == 3, said
    assert "Consul refuses the engine's token" in said
    assert "ansible-playbook lab.yml --tags cluster" in said
    lab.playbook("--tags", "cluster")
    again = lab.collector("measure", str(EXPERIMENT), "--blocks", "2", "--events", "plain")
    assert "going on with campaign" in again.stdout
    assert ours(lab) == []


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"destination": "nowhere"}, "upstream nowhere of {job}-client does not exist"),
        ({}, "no intention allows {job}-client to talk to {job}-server"),
    ],
    ids=["unknown destination", "no intention"],
)
def test_what_keeps_a_job_by_hand_from_answering_is_named(
    lab: Lab, variables: dict[str, str], said: str
) -> None:
    job = "by-hand"
    lab.run(
        "nomad", "job", "run", "-detach", f"-var=id={job}",
        *(f"-var={name}={value}" for name, value in variables.items()),
        f"-var-file={lab.state}/mesh.hcl", "-var-file=jobs/mesh/web-mesh-unix.hcl",
        "jobs/mesh.nomad.hcl", client=True,
    )  # fmt: skip
    try:
        found = wait_for(
            lambda: said.format(job=job)
            in lab.collector("mesh", job, check=False).stdout.replace("\n", " "),
            60, said,
        )  # fmt: skip
        assert found
    finally:
        lab.run("nomad", "job", "stop", "-purge", job, client=True)


def test_a_definition_that_cannot_work_is_refused_by_name(lab: Lab) -> None:
    """A socket's directory that is missing: said by the mesh task, where Nomad's users look."""
    job = "broken"
    lab.run(
        "nomad", "job", "run", "-detach", f"-var=id={job}", "-var=socket_path=/alloc/none/s",
        f"-var-file={lab.state}/mesh.hcl", "-var-file=jobs/mesh/web-mesh-unix.hcl",
        "jobs/mesh.nomad.hcl", client=True,
    )  # fmt: skip
    said = "upstream broken-server: local_bind_socket_path: no directory /alloc/none in this task"
    try:
        wait_for(
            lambda: said in lab.run(
                "nomad", "alloc", "logs", "-stderr", "-job", "-group=client",
                "-task=sidecar-client", job, check=False, client=True,
            ).stdout,
            40, said,
        )  # fmt: skip
    finally:
        lab.run("nomad", "job", "stop", "-purge", job, client=True)
