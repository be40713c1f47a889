"""``jobs/direct.nomad.hcl``: both ends meet at one address, and the twins differ in it alone."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any, Final

import nomadjob
import pytest
from nomadjob import ROOT

from collector.parse import TOOLS

JOB: Final = ROOT / "jobs" / "direct.nomad.hcl"
GIVEN: Final = nomadjob.images("app", "caller")
PATHS: Final = ("unix", "tcp-loopback")
every_path = pytest.mark.parametrize("path", PATHS)


def render(path: str, **variables: object) -> dict[str, Any]:
    return nomadjob.render(JOB, {**GIVEN, "path": path, **variables})


def tasks(path: str, **variables: object) -> dict[str, dict[str, Any]]:
    (group,) = render(path, **variables)["TaskGroups"]
    return {task["Name"]: task for task in group["Tasks"]}


def script(task: dict[str, Any], name: str) -> str:
    (found,) = [one for one in task["Templates"] if one["DestPath"] == f"local/{name}"]
    assert found["Perms"] == "0755"
    return str(found["EmbeddedTmpl"])


@pytest.mark.parametrize(
    ("path", "bind", "asked"),
    [
        ("unix", "unix:/alloc/tmp/app.sock", "--base-uri=unix:/alloc/tmp/app.sock http://"),
        ("tcp-loopback", "127.0.0.1:8000", "/local/requests http://127.0.0.1:8000/"),
    ],
)
def test_both_ends_meet_at_one_address(path: str, bind: str, asked: str) -> None:
    found = tasks(path)
    assert found["app"]["Env"]["BIND"] == bind
    assert asked in script(found["load"], "load")


def test_twins_differ_by_their_address_alone() -> None:
    unix, tcp = (json.dumps(render(path), sort_keys=True) for path in PATHS)
    for address in (
        r" --unix-socket \S+", r" --base-uri=unix:\S+", r"http://application/",
        r"http://127\.0\.0\.1:8000/", r"unix:/alloc/tmp/app\.sock", r"127\.0\.0\.1:8000",
    ):  # fmt: skip
        unix, tcp = re.sub(address, "", unix), re.sub(address, "", tcp)
    assert unix == tcp


@every_path
def test_they_share_a_network_that_leads_nowhere(path: str) -> None:
    found = tasks(path)
    assert found["app"]["Config"]["network_mode"] == "none"
    assert found["load"]["Config"]["network_mode"] == "container:app-${NOMAD_ALLOC_ID}"
    for task in found.values():
        assert (task["Config"]["cap_drop"], task["Config"]["readonly_rootfs"]) == (["all"], True)


def test_cpus_are_given_by_affinity() -> None:
    apart = tasks("unix", cpus="apart", host_cpus="2,3")
    assert apart["app"]["Config"]["entrypoint"][:3] == ["/usr/bin/taskset", "-c", "2"]
    assert "taskset -c 3 h2load" in script(apart["load"], "load")
    same = tasks("unix", cpus="same", host_cpus="2,3")
    assert same["app"]["Config"]["entrypoint"][:3] == ["/usr/bin/taskset", "-c", "3"]
    assert "taskset" not in json.dumps(tasks("unix"))


@pytest.mark.parametrize(
    ("name", "value"),
    [("path", "tcp-bridge"), ("workers", 0), ("work", "sleep"), ("cpus", "one"), ("host_cpus", "")],
)
def test_anything_else_is_refused(name: str, value: object) -> None:
    refused = nomadjob.attempt(JOB, (), {**GIVEN, "path": "unix", name: value})
    assert refused.returncode != 0
    assert f"{name} must be" in refused.stdout


def test_it_never_moves_or_comes_back() -> None:
    job = render("unix", node="lab-7")
    (group,) = job["TaskGroups"]
    assert (group["RestartPolicy"]["Attempts"], group["ReschedulePolicy"]["Attempts"]) == (0, 0)
    (pinned,) = [*(job["Constraints"] or []), *(group["Constraints"] or [])]
    assert pinned == {"LTarget": "${node.unique.name}", "RTarget": "lab-7", "Operand": "="}


def test_every_variable_is_described() -> None:
    for variable, body in nomadjob.declarations(JOB):
        assert re.search(r"^  description = \"[A-Z].*\.\"$", body, re.MULTILINE), variable


def test_what_the_script_prints_is_what_the_tool_reads(tmp_path: Path) -> None:
    """With a program in h2load's place: it logs two answered requests and a lost one."""
    programs = tmp_path / "bin"
    programs.mkdir()
    output = (ROOT / "tests/fixtures/parse/h2load-inside/unix.txt").read_text()
    own = output.partition("latencies")[0].replace("13379", "2")
    (tmp_path / "own.txt").write_text(own)
    log = tmp_path / "requests"
    fake = programs / "h2load"
    fake.write_text(
        f'#!/bin/sh\necho "$@" > {tmp_path}/asked\ncat {tmp_path}/own.txt\n'
        f"printf '17\\t200\\t900\\n18\\t200\\t41\\n19\\t-1\\t7\\n' >> {log}\n"
    )
    fake.chmod(0o755)
    load = tmp_path / "load"
    load.write_text(script(tasks("unix")["load"], "load").replace("/local/requests", str(log)))
    argv = ["sh", str(load), "--time", "2", "--connections", "16"]
    wrong = ["sh", str(load), "--connections", "16", "--time", "2"]
    assert subprocess.run(wrong, check=False, env={"PATH": "/usr/bin:/bin"}).returncode == 1
    for _ in range(2):  # the log is of this run alone
        done = subprocess.run(
            argv, check=True, capture_output=True, env={"PATH": f"{programs}:/usr/bin:/bin"}
        )
    assert "--duration 2 --clients 16" in (tmp_path / "asked").read_text()
    assert TOOLS["h2load-inside"].histogram(done.stdout, {}) == [(41, 1), (900, 1)]
    assert TOOLS["h2load-inside"].parse(done.stdout, {}).latency_max_s == 900e-6
