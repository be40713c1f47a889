"""``jobs/mesh-native.nomad.hcl``: the lab's var-file fits, and both hops are Unix sockets."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest
from webjob import ROOT, options, run_nomad

JOB: Final = ROOT / "jobs" / "mesh-native.nomad.hcl"
MESH: Final = ROOT / "jobs" / "mesh.nomad.hcl"
IMAGES: Final = ("app", "bridge", "database", "proxy", "query", "sidecar", "stream")
LAB: Final = {
    **{f"image_{name}": f"registry.test/socklab/{name}@sha256:{'a' * 64}" for name in IMAGES},
    "node": "lab-5",
    "peer": "lab-6",
    "peer_address": "198.18.0.16",
    "database_password": "wordOfTheDatabase",
    "mesh_ca": "lineOfTheCa",
}
SUN_PATH: Final = 107  # bytes without the terminating NUL (unix(7))


def declared(job: Path) -> dict[str, str]:
    found = re.findall(r'^variable "(\w+)" \{\n(.*?)^\}', job.read_text(), re.DOTALL | re.MULTILINE)
    return dict(found)


@pytest.fixture
def lab_file(tmp_path: Path) -> Path:
    """A var-file as the stage workloads writes it."""
    file = tmp_path / "mesh.hcl"
    file.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in LAB.items()))
    return file


def render(file: Path, **variables: object) -> dict[str, Any]:
    done = run_nomad("job", "run", "-output", f"-var-file={file}", *options(variables), JOB)
    assert done.returncode == 0, done.stdout
    job = json.loads(done.stdout)["Job"]
    assert isinstance(job, dict)
    return job


def groups(job: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {group["Name"]: group for group in job["TaskGroups"]}


def proxy(group: dict[str, Any]) -> dict[str, Any]:
    found = group["Services"][0]["Connect"]["SidecarService"]["Proxy"]
    assert isinstance(found, dict)
    return found


def test_lab_file_of_this_test_is_what_the_role_writes() -> None:
    tasks = (ROOT / "roles" / "workload_images" / "tasks" / "main.yml").read_text()
    (own,) = [one for one in tasks.split("\n- name: ") if "}/mesh.hcl" in one]
    names = set(re.findall(r"^ +(\w+) = ", own, re.MULTILINE))
    assert {"node", "peer", "peer_address", "database_password", "mesh_ca"} <= names
    assert names <= set(LAB)


def test_variables_are_described_typed_and_of_the_other_mesh_job() -> None:
    mine, others = declared(JOB), declared(MESH)
    assert set(LAB) <= set(mine)
    assert set(mine) <= set(others)
    for name, body in mine.items():
        assert re.search(r'^  description = "[A-Z][^"]{10,}\."$', body, re.MULTILINE), name
        kind = re.search(r"^  type        = (\w+)$", body, re.MULTILINE)
        assert kind, name
        assert f"  type        = {kind[1]}\n" in others[name], name


def test_it_validates_and_is_formatted(lab_file: Path) -> None:
    done = run_nomad("job", "validate", f"-var-file={lab_file}", JOB)
    assert done.returncode == 0, done.stdout
    assert "Job validation successful" in done.stdout
    assert run_nomad("fmt", "-check", JOB).stdout == ""


@pytest.mark.parametrize("missing", ["image_app", "image_proxy", "image_sidecar"])
def test_missing_image_is_refused_by_name(missing: str) -> None:
    given = {name: value for name, value in LAB.items() if name != missing}
    done = run_nomad("job", "run", "-output", *options(dict(given)), JOB)
    assert done.returncode == 1
    assert f'Unset variable "{missing}"' in done.stdout


@pytest.mark.parametrize("name", ["web", "sl-web", "native-", "native-web-", "native-Web"])
def test_id_that_agents_may_not_deregister_is_refused(name: str, lab_file: Path) -> None:
    done = run_nomad("job", "run", "-output", f"-var-file={lab_file}", f"-var=id={name}", JOB)
    assert done.returncode == 1
    assert "The id must begin with native-" in done.stdout


@pytest.mark.parametrize("value", [0, 65])
def test_wrong_number_of_workers_is_refused(value: int, lab_file: Path) -> None:
    given = options({"sidecar_workers": value})
    done = run_nomad("job", "run", "-output", f"-var-file={lab_file}", *given, JOB)
    assert "The number of worker threads must be 1 to 64." in done.stdout


def test_ends_are_pinned_and_never_come_back_as_another_registration(lab_file: Path) -> None:
    job = render(lab_file)
    placed = {name: group["Constraints"][0] for name, group in groups(job).items()}
    assert {name: one["RTarget"] for name, one in placed.items()} == {
        "client": "lab-5",
        "server": "lab-6",
    }
    assert {one["LTarget"] for one in placed.values()} == {"${node.unique.name}"}
    assert (job["Reschedule"]["Attempts"], job["Reschedule"]["Unlimited"]) == (0, False)
    for group in groups(job).values():
        assert (group["RestartPolicy"]["Attempts"], group["RestartPolicy"]["Mode"]) == (0, "fail")


def test_services_follow_the_id(lab_file: Path) -> None:
    job = render(lab_file, id="native-7")
    assert job["ID"] == "native-7"
    services = {name: group["Services"][0]["Name"] for name, group in groups(job).items()}
    assert services == {"client": "native-7-client", "server": "native-7-server"}
    upstreams = proxy(groups(job)["client"])["Upstreams"]
    assert [one["DestinationName"] for one in upstreams] == ["native-7-server"]


def test_both_hops_are_unix_sockets_and_the_application_has_no_network(lab_file: Path) -> None:
    both = groups(render(lab_file))
    (application,) = both["server"]["Tasks"]
    assert application["Config"]["network_mode"] == "none"
    cluster = json.loads(proxy(both["server"])["Config"]["envoy_local_cluster_json"])
    assert cluster["name"] == cluster["load_assignment"]["cluster_name"] == "local_app"
    (endpoint,) = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    socket = endpoint["endpoint"]["address"]["pipe"]["path"]
    assert application["Env"]["BIND"] == f"unix:{socket}"
    (upstream,) = proxy(both["client"])["Upstreams"]
    assert upstream["LocalBindSocketMode"] == "0660"
    assert not upstream["LocalBindPort"]
    (nginx,) = (one["EmbeddedTmpl"] for one in both["client"]["Tasks"][0]["Templates"])
    assert f"server unix:{upstream['LocalBindSocketPath']};" in nginx
    for path in (socket, upstream["LocalBindSocketPath"]):
        assert path.startswith("/alloc/tmp/")
        assert len(path.encode()) <= SUN_PATH


def test_sidecars_are_the_labs_envoy_without_checks_that_connect(lab_file: Path) -> None:
    for group in groups(render(lab_file, sidecar_workers=3)).values():
        connect = group["Services"][0]["Connect"]
        assert connect["SidecarService"]["DisableDefaultTCPCheck"] is True
        assert group["Services"][0]["Checks"] is None
        config = connect["SidecarTask"]["Config"]
        assert connect["SidecarTask"]["Driver"] == "docker"
        assert (config["image"], config["cap_drop"]) == (LAB["image_sidecar"], ["all"])
        arguments = " ".join(config["args"])
        assert "${NOMAD_SECRETS_DIR}/envoy_bootstrap.json" in arguments
        assert "--concurrency 3 " in arguments
