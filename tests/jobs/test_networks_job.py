"""``jobs/networks.nomad.hcl``: which network each end has, and where one finds the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import nomadjob
import pytest
from nomadjob import ROOT

JOB: Final = ROOT / "jobs" / "networks.nomad.hcl"
GIVEN: Final = {**nomadjob.images("ipc", "app", "caller"), "port": 12008}
PEER: Final = {"peer": "lab-3", "peer_address": "198.18.0.13"}


def render(network: str, **variables: object) -> dict[str, Any]:
    return nomadjob.render(JOB, {**GIVEN, "network": network, **variables})


def tasks(job: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {task["Name"]: task for group in job["TaskGroups"] for task in group["Tasks"]}


def command(job: dict[str, Any], script: str = "local/load") -> str:
    (found,) = [one for one in tasks(job)["load"]["Templates"] if one["DestPath"] == script]
    line: str = found["EmbeddedTmpl"].splitlines()[1]
    return line


@pytest.mark.parametrize(
    ("network", "variables", "modes", "waits", "place"),
    [
        ("none", {}, ("none", "none"), "/alloc/tmp", "/alloc/tmp"),
        ("host", {}, ("host", "host"), "tcp:127.0.0.1:12008", "tcp:127.0.0.1:12008"),
        ("host", PEER, ("host", "host"), "tcp:198.18.0.13:12008", "tcp:198.18.0.13:12008"),
        (
            "bridge", {}, ("socklab", "socklab"), "tcp:0.0.0.0:12008",
            "tcp:$(getent hosts serve.{{ env \"NOMAD_ALLOC_ID\" }} | cut -d ' ' -f 1):12008",
        ),
        (
            "bridge", {"mtu": 9000}, ("socklab-9000", "socklab-9000"), "tcp:0.0.0.0:12008",
            "tcp:$(getent hosts serve.{{ env \"NOMAD_ALLOC_ID\" }} | cut -d ' ' -f 1):12008",
        ),
        (
            "published", {}, ("socklab", "host"), "tcp:0.0.0.0:12008",
            'tcp:{{ env "NOMAD_HOST_ADDR_meet" }}',
        ),
        (
            "published", PEER, ("socklab", "socklab"), "tcp:0.0.0.0:12008",
            "tcp:198.18.0.13:12008",
        ),
        (
            "macvlan", {}, ("socklab-macvlan", "socklab-macvlan"), "tcp:0.0.0.0:12008",
            "tcp:198.19.254.65:12008",
        ),
        (
            "overlay", PEER, ("socklab-overlay", "socklab-overlay"), "tcp:0.0.0.0:12008",
            "tcp:198.19.255.65:12008",
        ),
    ],
)  # fmt: skip
def test_each_network_has_its_two_ends(
    network: str, variables: dict[str, object], modes: tuple[str, str], waits: str, place: str
) -> None:
    job = render(network, **variables)
    found = tasks(job)
    assert (
        found["serve"]["Config"]["network_mode"],
        found["load"]["Config"]["network_mode"],
    ) == modes
    assert found["serve"]["Config"]["args"] == ["serve", waits]
    assert f' "{place}" ' in command(job)
    assert f' "{place}" ' in command(job, "local/ready")
    for task in found.values():
        assert task["Config"]["cap_drop"] == ["all"]
        assert task["Config"]["readonly_rootfs"] is True


@pytest.mark.parametrize("network", ["host", "published", "macvlan", "overlay"])
def test_two_hosts_have_an_end_each_the_measured_one_first(network: str) -> None:
    job = render(network, **PEER)
    near, far = job["TaskGroups"]
    assert [task["Name"] for task in near["Tasks"]] == ["load"]
    assert [task["Name"] for task in far["Tasks"]] == ["serve"]
    assert [group["Constraints"][0]["RTarget"] for group in (near, far)] == ["lab-2", "lab-3"]


@pytest.mark.parametrize(
    ("network", "variables", "bind", "asked"),
    [
        ("none", {}, "unix:/alloc/tmp/app.sock", "unix:/alloc/tmp/app.sock http://application/"),
        ("host", {}, "127.0.0.1:12008", " http://127.0.0.1:12008/"),
        ("bridge", {}, "0.0.0.0:12008", " http://$(getent hosts serve."),
        ("published", PEER, "0.0.0.0:12008", " http://198.18.0.13:12008/"),
        ("macvlan", {}, "0.0.0.0:12008", " http://198.19.254.65:12008/"),
        ("overlay", PEER, "0.0.0.0:12008", " http://198.19.255.65:12008/"),
    ],
)
def test_a_web_application_is_asked_over_the_same_networks(
    network: str, variables: dict[str, object], bind: str, asked: str
) -> None:
    messages, web = (tasks(render(network, talk=talk, **variables)) for talk in ("ipc", "web"))
    assert web["serve"]["Env"] == {"BIND": bind}
    assert web["serve"]["Config"]["image"] == GIVEN["image_app"]
    load, ready = (one["EmbeddedTmpl"] for one in web["load"]["Templates"])
    assert f"{asked}" in load.replace("--log-file /local/requests", "")
    assert asked.partition(" ")[2] in ready
    for end in ("serve", "load"):
        for name in ("network_mode", "ipv4_address", "network_aliases", "ports"):
            assert web[end]["Config"].get(name) == messages[end]["Config"].get(name)


@pytest.mark.parametrize(("network", "path"), [("none", "unix"), ("host", "tcp-loopback")])
def test_h2load_is_told_the_same_in_either_job(network: str, path: str) -> None:
    given = {**nomadjob.images("app", "caller"), "path": path}
    direct = tasks(nomadjob.render(ROOT / "jobs" / "direct.nomad.hcl", given))["load"]
    ours = tasks(render(network, talk="web"))["load"]
    for theirs, own in zip(direct["Templates"], ours["Templates"], strict=True):
        assert own["DestPath"] == theirs["DestPath"]
        assert own["EmbeddedTmpl"].replace(":12008/", ":8000/") == theirs["EmbeddedTmpl"]


@pytest.mark.parametrize(
    ("job", "files", "said"),
    [
        ("direct", {"direct": ("app", "caller")}, "path=unix"),
        ("networks", {"ipc": ("ipc",), "direct": ("app", "caller")}, "network=bridge"),
        ("crowd", {"ipc": ("ipc",)}, "containers=3"),
    ],
)
def test_the_var_files_of_the_lab_are_all_a_job_needs(
    tmp_path: Path, job: str, files: dict[str, tuple[str, ...]], said: str
) -> None:
    written = []
    for name, images in files.items():
        written.append(tmp_path / f"{name}.hcl")
        given = {**nomadjob.images(*images), "node": "lab-2"}
        written[-1].write_text("".join(f'{key} = "{value}"\n' for key, value in given.items()))
    asked = [f"-var-file={file}" for file in written]
    done = nomadjob.run_nomad("job", "validate", *asked, f"-var={said}", f"jobs/{job}.nomad.hcl")
    assert done.returncode == 0, done.stdout


def test_one_host_starts_what_serves_first() -> None:
    (group,) = render("bridge")["TaskGroups"]
    assert [task["Name"] for task in group["Tasks"]] == ["serve", "load"]
    assert group["Tasks"][0]["Lifecycle"] == {"Hook": "prestart", "Sidecar": True}


def test_only_a_published_end_has_ports_of_the_host() -> None:
    for network in ("none", "host", "bridge", "macvlan", "overlay"):
        job = render(network, **(PEER if network == "overlay" else {}))
        assert all(group["Networks"] is None for group in job["TaskGroups"])
    for variables in ({}, PEER):
        job = render("published", **variables)
        (group,) = [one for one in job["TaskGroups"] if one["Networks"]]
        assert "serve" in [task["Name"] for task in group["Tasks"]]
        (network_,) = group["Networks"]
        ports = [(one["Label"], one["Value"], one["To"]) for one in network_["ReservedPorts"]]
        assert ports == [("meet", 12008, 12008), ("data", 12009, 12009)]
        assert tasks(job)["serve"]["Config"]["ports"] == ["meet", "data"]


def test_deployments_that_are_up_at_once_have_addresses_of_their_own() -> None:
    seen = set()
    for port in range(12000, 12512, 8):
        for task in tasks(render("overlay", port=port, **PEER)).values():
            seen.add(task["Config"]["ipv4_address"])
    assert len(seen) == 128


def test_without_a_network_a_unix_socket_of_the_same_kind_stands_for_it() -> None:
    assert " measure unix-stream " in command(render("none"))
    assert " --connect " in command(render("none"))
    assert " measure unix-datagram " in command(render("none", mechanism="udp"))
    assert " --connect " not in command(render("none", mechanism="udp"))


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"network": "carrier-pigeon"}, "The network must be none"),
        ({"network": "bridge", "mtu": 576}, "The mtu must be 1500"),
        ({"network": "host", "talk": "smtp"}, "The talk must be ipc or web"),
        ({"network": "host", "mechanism": "sctp"}, "The mechanism must be tcp or udp"),
        ({"network": "host", "port": 80}, "The port must be 12000"),
        ({"network": "none", **PEER}, "The networks none and bridge are within one host: no peer."),
        ({"network": "bridge", **PEER}, "The networks none and bridge are within one host"),
        (
            {"network": "overlay", "mtu": 9000, **PEER},
            "An mtu is the bridge's, and a published port's",
        ),
        ({"network": "host", "mtu": 65535}, "An mtu is the bridge's, and a published port's"),
    ],
)
def test_other_values_are_refused(variables: dict[str, object], message: str) -> None:
    refused = nomadjob.attempt(JOB, (), {**GIVEN, **variables})
    assert refused.returncode != 0
    assert message in refused.stdout
