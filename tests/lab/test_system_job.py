"""One allocation on every host: placed, rolled, refused by name, drained; a hundred on one host."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import LAB, ROOT, Lab, machine, wait_for

JOB = ("-var-file=jobs/web-system/sharedvolume.hcl", "jobs/web.nomad.hcl")
HUNDRED = 100
# Asks the socket of every allocation of the job, by its path on the host; a line each: id, answer.
ASK_ALL = """
import glob, os, socket
for path in glob.glob("/opt/nomad/alloc/*/alloc/tmp/app.sock"):
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(5)
        caller.connect(path)
        print(path.split("/")[4], caller.recv(100).decode())
"""


def nomad(lab: Lab, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        ["nomad", *arguments], cwd=ROOT,
        env=lab.client_environment(), capture_output=True, text=True, check=False, timeout=180,
    )  # fmt: skip
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def run(lab: Lab, *arguments: str) -> None:
    nomad(lab, "job", "run", f"-var-file={lab.state / 'images.hcl'}", *arguments)


def ask(lab: Lab, path: str) -> Any:
    return json.loads(nomad(lab, "operator", "api", path).stdout)


def stop(lab: Lab, *jobs: str) -> None:
    """Stop the jobs and wait until nothing of them runs."""
    for job in jobs:
        nomad(lab, "job", "stop", "-purge", "-detach", job, check=False)
    for job in jobs:
        wait_for(lambda job=job: not running(lab, job), 60, f"{job} has ended")


def running(lab: Lab, job: str) -> dict[str, str]:
    """The job's running allocation by host."""
    listed = ask(lab, f"/v1/job/{job}/allocations")
    return {one["NodeName"]: one["ID"] for one in listed if one["ClientStatus"] == "running"}


def events(allocation: dict[str, Any]) -> list[str]:
    """What Nomad says happened to the allocation's tasks, oldest first."""
    states = (allocation["TaskStates"] or {}).values()
    return [event["DisplayMessage"] for state in states for event in state["Events"]]


def clients(lab: Lab) -> list[str]:
    return sorted(one["Name"] for one in ask(lab, "/v1/nodes") if one["Status"] == "ready")


def free_mb(lab: Lab, host: str) -> int:
    """Memory of the host, in MB, that no allocation has reserved."""
    (node,) = [one for one in ask(lab, "/v1/nodes?resources=true") if one["Name"] == host]
    taken = sum(
        task["Memory"]["MemoryMB"]
        for one in ask(lab, f"/v1/node/{node['ID']}/allocations")
        if one["ClientStatus"] in ("pending", "running")
        for task in one["AllocatedResources"]["Tasks"].values()
    )
    total = node["NodeResources"]["Memory"]["MemoryMB"]
    return int(total - node["ReservedResources"]["Memory"]["MemoryMB"] - taken)


def answer(lab: Lab, allocation: str) -> dict[str, str]:
    """What the allocation's web server says to the load host."""
    resources = ask(lab, f"/v1/allocation/{allocation}")["AllocatedResources"]
    (port,) = [one for one in resources["Shared"]["Ports"] if one["Label"] == "http"]
    url = f"http://{port['HostIP']}:{port['Value']}/"
    fetch = f"import urllib.request as u; print(u.urlopen({url!r}, timeout=5).read().decode())"
    said: dict[str, str] = json.loads(lab.on("lab-1", "python3", "-c", fetch).stdout)
    return said


@pytest.fixture(scope="module")
def everywhere(lab: Lab) -> Iterator[Lab]:
    """The lab with the web topology on every host."""
    try:
        run(lab, *JOB)
        yield lab
    finally:
        stop(lab, "web-system")


def test_every_host_has_one_and_it_answers(everywhere: Lab) -> None:
    placed = running(everywhere, "web-system")
    assert sorted(placed) == clients(everywhere)
    for allocation in placed.values():
        assert answer(everywhere, allocation)["hello"] == "world"
    shown = everywhere.collector("status").stdout
    count = len(placed)
    assert f"system job web-system runs on {count} of {count} hosts: " in shown


def test_a_changed_job_rolls_over_one_host_at_a_time(everywhere: Lab) -> None:
    before = running(everywhere, "web-system")
    rolling = subprocess.Popen(
        ["nomad", "job", "run", f"-var-file={everywhere.state / 'images.hcl'}",
         "-var=response_bytes=1000", *JOB], cwd=ROOT,
        env=everywhere.client_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    down = []
    deadline = time.monotonic() + 120
    while rolling.poll() is None and time.monotonic() < deadline:
        down.append(sorted(before.keys() - running(everywhere, "web-system").keys()))
    assert rolling.wait(1) == 0
    after = running(everywhere, "web-system")
    assert after.keys() == before.keys()
    assert not set(after.values()) & set(before.values()), "an allocation was not replaced"
    assert max(map(len, down)) <= 1, f"hosts down at once: {down}"
    for allocation in after.values():
        assert len(json.dumps(answer(everywhere, allocation))) >= 1000


def test_a_host_without_room_is_named_with_what_is_missing(lab: Lab) -> None:
    full = clients(lab)[-1]
    half = (free_mb(lab, full) - 300) // 2
    images = f"-var-file={lab.state / 'images.hcl'}"
    try:
        nomad(
            lab, "job", "run", "-detach", images, "-var-file=jobs/web/sharedvolume.hcl",
            "-var=id=filler", f"-var=node={full}", f"-var=memory_mb={half}", "jobs/web.nomad.hcl",
        )  # fmt: skip
        wait_for(lambda: running(lab, "filler"), 60, "the host is full")
        nomad(
            lab, "job", "run", "-detach", images, "-var-file=jobs/web-system/sharedvolume.hcl",
            "-var=id=roomy", "-var=memory_mb=300", "jobs/web.nomad.hcl",
        )  # fmt: skip
        others = [name for name in clients(lab) if name != full]
        wait_for(lambda: sorted(running(lab, "roomy")) == others, 60, "placed where there is room")
        shown = lab.collector("status").stdout
        hosts = len(others) + 1
        assert f"system job roomy runs on {len(others)} of {hosts} hosts: " in shown
        assert f"  {full}: no room for roomy: memory exhausted (it asks for 600 MB)" in shown
    finally:
        stop(lab, "roomy", "filler")


@pytest.mark.long
def test_scale_of_a_hundred_services_on_one_and_the_same_path(lab: Lab) -> None:
    host = clients(lab)[0]
    began = time.monotonic()
    try:
        run(lab, "-detach", f"-var=count={HUNDRED}", f"-var=node={host}",
            "tests/lab/hundred.nomad.hcl")  # fmt: skip

        def all_run() -> list[str]:
            listed = ask(lab, "/v1/job/hundred/allocations")
            failed = [events(one) for one in listed if one["ClientStatus"] == "failed"]
            assert not failed, failed
            ids = [one["ID"] for one in listed if one["ClientStatus"] == "running"]
            return ids if len(ids) == HUNDRED else []

        allocations = wait_for(all_run, 180, "a hundred services run")
        said = lab.on(host, "python3", "-c", ASK_ALL).stdout.splitlines()
        answers = dict(line.split() for line in said if line.split()[0] in allocations)
        assert answers == {one: one for one in allocations}, "a service answered for another"
        print(f"{HUNDRED} services answer {time.monotonic() - began:.0f} s after the start")
    finally:
        stop(lab, "hundred")


@pytest.mark.long
def test_scale_up_places_one_more_and_scale_down_drains_it_first() -> None:
    lab = Lab()
    least = int(lab.environment["SOCKLAB_HOSTS"])
    more = f"lab-{least + 1}"
    stages = ("--tags", "hosts,cluster")
    lab.playbook("--tags", "teardown")
    try:
        lab.playbook("--tags", "hosts,cluster,workloads")
        run(lab, *JOB)
        before = running(lab, "web-system")
        lab.environment["SOCKLAB_HOSTS"] = str(least + 1)
        lab.playbook(*stages)
        placed = wait_for(
            lambda: more in (now := running(lab, "web-system")) and now, 180, "one allocation more"
        )
        assert {name: placed[name] for name in before} == before, "the others were left alone"
        lab.environment["SOCKLAB_HOSTS"] = str(least)
        said = lab.playbook(*stages).stdout
        assert f"Draining {more}, where web-system runs." in said
        assert running(lab, "web-system") == before
        gone = ask(lab, f"/v1/allocation/{placed[more]}")
        # Ended by Nomad because of the drain; one whose host just vanished would be "lost".
        assert (gone["ClientStatus"], gone["DesiredStatus"]) == ("complete", "stop")
        assert gone["DesiredTransition"]["Migrate"] is True
        assert clients(lab) == sorted(before)
        assert re.search(rf"^ {more} ", lab.collector("status").stdout, re.M) is None
        assert [name for name in machine()["containers"] if name.endswith(more)] == []
        assert [name for name in machine()["volumes"] if name.endswith(more)] == []
        again = lab.playbook(*stages)
        assert set(re.findall(r"changed=(\d+)", again.stdout)) == {"0"}
        lab.run("podman", "exec", f"{LAB}-lab-1", "systemctl", "stop", "nomad")
        lab.environment["SOCKLAB_HOSTS"] = "2"
        refused = lab.playbook("--tags", "hosts", check=False)
        assert refused.returncode != 0
        assert "cannot be drained and stays" in " ".join(refused.stdout.split())
        assert f"{LAB}-lab-{least}" in machine()["containers"]
    finally:
        lab.playbook("--tags", "teardown")
    assert machine() == {"containers": [], "volumes": [], "networks": []}
