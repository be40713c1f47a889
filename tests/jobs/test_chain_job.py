"""``jobs/chain.nomad.hcl``: who asks whom, over what, and where the load comes in."""

from __future__ import annotations

import itertools
import json
from typing import Any, Final

import nomadjob
import pytest
from nomadjob import ROOT

JOB: Final = ROOT / "jobs" / "chain.nomad.hcl"
GIVEN: Final = {**nomadjob.images("chain", "sidecar"), "mesh_ca": "a CA"}
MESH: Final = {"node_address": "198.18.0.12", "port": 12008}


def render(path: str, services: int, **variables: object) -> dict[str, Any]:
    return nomadjob.render(JOB, {**GIVEN, "path": path, "services": services, **variables})


def tasks(path: str, services: int) -> list[dict[str, Any]]:
    (group,) = render(path, services)["TaskGroups"]
    found: list[dict[str, Any]] = group["Tasks"]
    return found


@pytest.mark.parametrize("services", [1, 2, 4, 8])
@pytest.mark.parametrize("path", ["unix", "tcp-loopback", "tcp-bridge"])
def test_each_service_asks_where_the_next_one_listens(path: str, services: int) -> None:
    chain = tasks(path, services)
    assert [one["Name"] for one in chain] == [f"service-{number}" for number in range(services)]
    for one, other in itertools.pairwise(chain):
        nexts, bind = one["Env"]["NEXT"], other["Env"]["BIND"]
        match path:
            case "unix":
                assert nexts == bind == f"unix:/alloc/tmp/{other['Name']}.sock"
            case "tcp-loopback":
                assert nexts == f"http://{bind}/"
            case _:
                (alias,) = other["Config"]["network_aliases"]
                assert nexts == f"http://{alias}:{bind.partition(':')[2]}/"
                assert "${NOMAD_ALLOC_ID}" in alias, "every deployment has its own"
    assert chain[-1]["Env"]["NEXT"] == ""
    assert chain[0]["Env"]["BIND"] == "0.0.0.0:8000", "the load comes over TCP to either"
    assert {one["Env"]["WITHIN"] for one in chain} == {"0"}


@pytest.mark.parametrize(("path", "encoded"), [("call", "false"), ("encoded", "true")])
def test_within_a_process_there_is_one_container(path: str, encoded: str) -> None:
    (only,) = tasks(path, 8)
    assert (only["Env"]["WITHIN"], only["Env"]["NEXT"]) == ("7", "")
    assert only["Env"]["ENCODED"] == encoded


def test_only_the_first_is_published_on_the_bridge() -> None:
    ports = [one["Config"]["ports"] for one in tasks("tcp-bridge", 4)]
    assert ports == [["http"], [], [], []]
    assert all(one["Config"]["ports"] == [] for one in tasks("unix", 4))


@pytest.mark.parametrize("services", [1, 2, 4, 8])
def test_over_two_hosts_each_hop_crosses_between_them(services: int) -> None:
    job = render(
        "tcp-hosts", services, node_address="198.18.0.12", peer="lab-3",
        peer_address="198.18.0.13", port=12004,
    )  # fmt: skip
    groups = job["TaskGroups"]
    assert [group["Name"] for group in groups] == ["chain", "far"][: 2 if services > 1 else 1]
    nodes = [group["Constraints"][0]["RTarget"] for group in groups]
    assert nodes == ["lab-2", "lab-3"][: len(groups)]
    (http,) = groups[0]["Networks"][0]["ReservedPorts"]
    assert (http["Label"], http["Value"]) == ("http", 12004)
    found = {task["Name"]: task for group in groups for task in group["Tasks"]}
    chain = [found[f"service-{number}"] for number in range(services)]
    for one, other in itertools.pairwise(chain):
        assert one["Env"]["NEXT"] == f"http://{other['Env']['BIND']}/"
        hosts = [task["Env"]["BIND"].partition(":")[0] for task in (one, other)]
        assert len(set(hosts)) == 2
    assert len({task["Env"]["BIND"] for task in chain}) == services
    assert {task["Config"]["network_mode"] for task in chain} == {"host"}
    refused = nomadjob.attempt(JOB, (), {**GIVEN, "path": "tcp-hosts", "services": services})
    assert refused.returncode != 0, "it would listen at every address"


@pytest.mark.parametrize("services", [2, 4, 8])
def test_through_a_mesh_each_service_asks_its_own_envoy_which_leads_to_the_next(
    services: int,
) -> None:
    (group,) = render("mesh", services, **MESH)["TaskGroups"]
    tasks = {task["Name"]: task for task in group["Tasks"]}
    names = [f"service-{number}" for number in range(services)]
    assert list(tasks) == [*(f"sidecar-{name}" for name in names), *names]
    taken, before = set(), None
    for name in names:
        service, sidecar = tasks[name], tasks[f"sidecar-{name}"]
        said = json.loads(sidecar["Templates"][0]["EmbeddedTmpl"])["service"]
        assert said["name"] == f"{{{{ env `NOMAD_JOB_ID` }}}}-{name}"
        assert said["id"] == f"{said['name']}-{{{{ env `NOMAD_ALLOC_ID` }}}}"
        proxy = said["connect"]["sidecar_service"]
        assert proxy["address"] == proxy["proxy"]["config"]["bind_address"] == "198.18.0.12"
        taken.add(proxy["port"])
        assert sidecar["Config"]["network_mode"] == "host"
        assert sidecar["Lifecycle"] == {"Hook": "prestart", "Sidecar": True}
        if before is not None:
            assert before["destination_name"] == said["name"]
            assert service["Env"]["BIND"] == f"unix:{said['socket_path']}"
            assert proxy["proxy"]["local_service_socket_path"] == said["socket_path"]
        before = None
        if name != names[-1]:
            (before,) = proxy["proxy"]["upstreams"]
            assert service["Env"]["NEXT"] == f"unix:{before['local_bind_socket_path']}"
            assert before["local_bind_socket_path"] != said.get("socket_path")
            assert before["local_bind_socket_mode"] == "0660"
    assert taken == set(range(12008, 12008 + services))
    assert tasks[names[-1]]["Env"]["NEXT"] == ""
    assert tasks[names[0]]["Env"]["BIND"] == "0.0.0.0:8000", "the load comes as to every path"


def test_a_mesh_of_one_service_has_no_envoy_and_one_without_an_address_is_refused() -> None:
    (group,) = render("mesh", 1)["TaskGroups"]
    assert [task["Name"] for task in group["Tasks"]] == ["service-0"]
    refused = nomadjob.attempt(JOB, (), {**GIVEN, "path": "mesh", "services": 2})
    assert refused.returncode != 0


def test_a_fault_is_the_last_services_and_the_others_retry() -> None:
    def faults(fault: str, name: str) -> list[str]:
        (group,) = render("unix", 4, fault=fault)["TaskGroups"]
        return [task["Env"][name] for task in group["Tasks"]]

    assert faults("slow", "DELAY_MS") == ["0", "0", "0", "5"]
    assert faults("failing", "FAILING") == faults("retried", "FAILING") == ["0", "0", "0", "0.5"]
    assert faults("retried", "RETRIES") == ["2"] * 4
    assert {*faults("none", "DELAY_MS"), *faults("none", "FAILING")} == {"0"}
    assert {*faults("failing", "RETRIES"), *faults("slow", "FAILING")} == {"0"}


def test_no_other_length_or_path() -> None:
    for name, value in (("services", 3), ("path", "pigeon"), ("fault", "fire")):
        given = {**GIVEN, "path": "unix", "services": 2, name: value}
        assert nomadjob.attempt(JOB, (), given).returncode != 0
