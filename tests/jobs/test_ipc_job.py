"""``jobs/ipc.nomad.hcl``: what two containers share is what their mechanism needs, and no more."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any, Final

import nomadjob
import pytest
from nomadjob import ROOT

JOB: Final = ROOT / "jobs" / "ipc.nomad.hcl"
GIVEN: Final = nomadjob.images("ipc")


@pytest.fixture(scope="session")
def mechanisms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the program says: mechanism -> what two containers must share."""
    path = tmp_path_factory.mktemp("ipc") / "ipc"
    sources = sorted((ROOT / "workloads" / "ipc").glob("*.c"))
    subprocess.run(["gcc", "-std=c11", "-o", path, *sources], check=True, timeout=120)
    listed = subprocess.run([path, "list"], capture_output=True, text=True, check=True)
    lines = map(json.loads, listed.stdout.splitlines())
    return {one["mechanism"]: one["shares"] for one in lines}


def render(mechanism: str, where: str = "two", **variables: object) -> dict[str, Any]:
    return nomadjob.render(JOB, {**GIVEN, "mechanism": mechanism, "where": where, **variables})


def tasks(job: dict[str, Any]) -> dict[str, dict[str, Any]]:
    (group,) = job["TaskGroups"]
    return {task["Name"]: task for task in group["Tasks"]}


def scripts(job: dict[str, Any]) -> dict[str, str]:
    return {
        one["DestPath"]: one["EmbeddedTmpl"].splitlines()[1]
        for one in tasks(job)["load"]["Templates"]
    }


def test_the_job_takes_the_programs_mechanisms_and_no_others(mechanisms: dict[str, str]) -> None:
    (body,) = [body for name, body in nomadjob.declarations(JOB) if name == "mechanism"]
    (listed,) = re.findall(r"contains\(\[(.*?)\]", body)
    assert re.findall(r'"([a-z-]+)"', listed) == list(mechanisms)
    refused = nomadjob.attempt(JOB, (), {**GIVEN, "mechanism": "telepathy"})
    assert refused.returncode != 0
    assert "The mechanism must be pipe, fifo" in refused.stdout


def test_two_containers_share_what_the_mechanism_needs(mechanisms: dict[str, str]) -> None:
    for mechanism, shares in mechanisms.items():
        job = render(mechanism)
        found = tasks(job)
        assert list(found) == ["serve", "load"]
        assert job["TaskGroups"][0]["Networks"] is None, "nothing of the host's"
        for kind in ("network", "ipc"):
            modes = [found[name]["Config"][f"{kind}_mode"] for name in ("serve", "load")]
            alone = {"network": ["none", "none"], "ipc": ["private", "private"]}[kind]
            first = {"network": "none", "ipc": "shareable"}[kind]
            both = [first, "container:serve-${NOMAD_ALLOC_ID}"]
            assert modes == (both if shares == kind else alone), mechanism
        assert found["serve"]["Lifecycle"] == {"Hook": "prestart", "Sidecar": True}
        for task in found.values():
            assert task["Config"]["cap_drop"] == ["all"]
            assert task["Config"]["readonly_rootfs"] is True


def test_one_container_forks_and_shares_nothing(mechanisms: dict[str, str]) -> None:
    for mechanism in mechanisms:
        job = render(mechanism, "one")
        (only,) = tasks(job).values()
        assert only["Name"] == "load"
        assert (only["Config"]["ipc_mode"], only["Config"]["network_mode"]) == ("private", "none")
        assert " --fork " in scripts(job)["local/load"]
        assert " --fork " in scripts(job)["local/ready"]


def test_what_is_asked_is_what_the_variables_say() -> None:
    assert scripts(render("unix-stream"))["local/load"] == (
        "exec ipc measure unix-stream /alloc/tmp --latency 64 --throughput 4096,32768 --connect "
        '"$@"'
    )
    sizes = {"latency_bytes": "1,64", "throughput_bytes": "", "connect": False}
    assert scripts(render("pipe", **sizes))["local/load"] == (
        'exec ipc measure pipe /alloc/tmp --latency 1,64 "$@"'
    )


@pytest.mark.parametrize(("cpus", "serving"), [("same", "7"), ("apart", "2")])
def test_either_end_runs_on_the_cpu_that_is_asked_for(cpus: str, serving: str) -> None:
    two = render("pipe", host_cpus="2,5,7", cpus=cpus)
    of_two = {name: task["Config"]["entrypoint"] for name, task in tasks(two).items()}
    assert of_two["serve"] == ["/usr/bin/taskset", "-c", serving, "/usr/local/bin/ipc"]
    assert of_two["load"] == ["/usr/bin/taskset", "-c", "7", "/usr/bin/sleep"]
    assert scripts(two)["local/load"].startswith("exec /usr/bin/taskset -c 7 ipc measure pipe ")
    one = render("pipe", "one", host_cpus="2,5,7", cpus=cpus)
    assert f" --fork --cpus {cpus}:2,5,7 --latency " in scripts(one)["local/load"]
    # The record of what one container may run on: two CPUs, where its processes are apart.
    assert (len(tasks(one)["load"]["Config"]["entrypoint"]) > 1) is (cpus == "same")


def test_confinement_is_the_engines_own_unless_it_is_taken_away() -> None:
    for confinement, expected in (("default", []), ("unconfined", ["seccomp=unconfined"])):
        for task in tasks(render("pipe", confinement=confinement)).values():
            assert task["Config"]["security_opt"] == expected


def test_both_ends_are_asked_for_a_user_namespace_and_differ_in_nothing_else() -> None:
    def made(where: str, confinement: str) -> str:
        return json.dumps(render("pipe", where, cpus="same", confinement=confinement))

    for where, served in (("two", 1), ("one", 0)):
        within = made(where, "user-namespace")
        assert within.count("exec /usr/bin/taskset -c 0 ipc measure pipe --user-namespace ") == 1
        assert within.count('"serve", "--user-namespace", ') == served
        without = within.replace(" --user-namespace", "").replace('"--user-namespace", ', "")
        assert without == made(where, "unconfined")


def test_an_end_that_says_what_it_lacks_is_ready() -> None:
    """Else a host without user namespaces would have no deployment, and no run to say why."""
    for where in ("one", "two"):
        ready = scripts(render("pipe", where, confinement="user-namespace"))["local/ready"]
        for code, expected in ((0, 0), (3, 0), (1, 1), (2, 1)):
            shell = ["sh", "-c", f"ipc() {{ return {code}; }}; {ready}"]
            assert subprocess.run(shell, check=False).returncode == expected, (where, code)


@pytest.mark.parametrize("sizes", ["64;reboot", "64,", ",64", "64 128", "$(id)"])
def test_sizes_are_numbers(sizes: str) -> None:
    for name in ("latency_bytes", "throughput_bytes"):
        refused = nomadjob.attempt(JOB, (), {**GIVEN, "mechanism": "pipe", name: sizes})
        assert refused.returncode != 0
        assert f"The {name} must be whole numbers" in refused.stdout
