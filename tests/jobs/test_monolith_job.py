"""``jobs/monolith.nomad.hcl``: the same parts as one application, and as eight services."""

from __future__ import annotations

from typing import Any, Final

import nomadjob
import pytest
from nomadjob import ROOT

JOB: Final = ROOT / "jobs" / "monolith.nomad.hcl"
GIVEN: Final = {
    **nomadjob.images("chain", "database", "proxy"), "database_password": "its password",
}  # fmt: skip


def tasks(shape: str, path: str) -> dict[str, dict[str, Any]]:
    job = nomadjob.render(JOB, {**GIVEN, "shape": shape, "path": path})
    (group,) = job["TaskGroups"]
    return {task["Name"]: task for task in group["Tasks"]}


def listens(task: dict[str, Any]) -> str:
    """Where a balancer or a database listens, in the words of who asks there."""
    if task["Name"].startswith("balancer"):
        (line,) = [one for one in nginx(task) if one.startswith("listen ")]
        return line.split()[1]
    args = dict(one.partition("=")[::2] for one in task["Config"]["args"])
    if "--skip-networking" in args:
        assert "--port" not in args
        return f"unix:{args['--socket']}"
    return f"{args['--bind-address']}:{args['--port']}"


def nginx(task: dict[str, Any]) -> list[str]:
    return [line.strip(" ;") for line in task["Templates"][0]["EmbeddedTmpl"].splitlines()]


@pytest.mark.parametrize("path", ["tcp-loopback", "unix"])
def test_each_service_has_a_balancer_before_and_a_database_behind_it(path: str) -> None:
    found = tasks("services", path)
    assert len(found) == 24
    for number in range(8):
        service = found[f"service-{number}"]["Env"]
        assert f"server {service['BIND']}" in nginx(found[f"balancer-{number}"])
        assert service["DATABASE"] == listens(found[f"database-{number}"])
        after = listens(found[f"balancer-{number + 1}"]) if number < 7 else ""
        expected = after if path == "unix" or not after else f"http://{after}/"
        assert (service["NEXT"], service["WITHIN"]) == (expected, "0")
    places = [listens(task) for name, task in found.items() if not name.startswith("service")]
    places += [found[f"service-{number}"]["Env"]["BIND"] for number in range(8)]
    assert len(set(places)) == 24, "no two are at one place"
    assert all(one.startswith("unix:") == (path == "unix") for one in places if "8000" not in one)


@pytest.mark.parametrize("path", ["tcp-loopback", "unix"])
def test_the_monolith_has_the_same_parts_in_one_process(path: str) -> None:
    found = tasks("monolith", path)
    assert sorted(found) == ["balancer-0", "database-0", "service-0"]
    service = found["service-0"]["Env"]
    assert (service["NEXT"], service["WITHIN"], service["ENCODED"]) == ("", "7", "false")
    assert service["DATABASE"] == listens(found["database-0"])
    assert listens(found["balancer-0"]) == "0.0.0.0:8000", "the load comes over TCP to either"


def test_the_password_is_in_files_of_its_tasks_alone() -> None:
    for name, task in tasks("services", "unix").items():
        said = [one["DestPath"] for one in task["Templates"] if "its password" in str(one)]
        kind = name.partition("-")[0]
        wanted = {"database": ["secrets/account.sql"], "service": ["secrets/password"]}
        assert said == wanted.get(kind, [])
        assert "its password" not in str([task["Env"], task["Config"]])


def test_no_other_shape_or_path() -> None:
    for name, value in (("shape", "pyramid"), ("path", "tcp-bridge")):
        given = {**GIVEN, "shape": "monolith", "path": "unix", name: value}
        assert nomadjob.attempt(JOB, (), given).returncode != 0
