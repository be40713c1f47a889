"""Twin arms differ where it is written here, and nowhere else: whole rendered jobs are compared."""

from __future__ import annotations

import pytest
import webjob
from leaves import difference

GROUP = "TaskGroups/web"
PROXY_SERVER = f"{GROUP}/Tasks/proxy/Templates/local/nginx.conf/EmbeddedTmpl/server"
INSTANCES = webjob.INSTANCES


def binds(instances: int) -> set[str]:
    return {f"{GROUP}/Tasks/app-{number}/Env/BIND" for number in range(instances)}


def pair(one: str, other: str, **variables: object) -> set[str]:
    return difference(webjob.render(path=one, **variables), webjob.render(path=other, **variables))


def test_a_change_anywhere_is_seen() -> None:
    assert pair("combined", "combined") == set()
    one = webjob.render(path="tcp-loopback")
    other = webjob.render(path="tcp-loopback", memory_mb=257, node="x")
    assert difference(one, other) == {
        "Constraints/0/RTarget",
        f"{GROUP}/Tasks/app-0/Resources/MemoryMB",
        f"{GROUP}/Tasks/proxy/Resources/MemoryMB",
    }
    kept = webjob.render(path="tcp-loopback", keepalive=False)
    assert difference(one, kept) == {PROXY_SERVER.removesuffix("server") + "rest"}


@pytest.mark.parametrize("instances", INSTANCES)
@pytest.mark.parametrize("keepalive", [False, True])
@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize(
    ("tcp", "unix"), [("tcp-loopback", "sharedvolume"), ("tcp-bridge", "sharedvolume-bridge")]
)
def test_tcp_and_socket_differ_in_the_address_only(
    tcp: str, unix: str, tls: bool, keepalive: bool, instances: int
) -> None:
    found = pair(tcp, unix, instances=instances, keepalive=keepalive, tls=tls)
    assert found == {PROXY_SERVER, *binds(instances)}


@pytest.mark.parametrize("instances", INSTANCES)
def test_published_port_differs_in_the_address_and_the_port(instances: int) -> None:
    found = pair("tcp-bridge", "tcp-published", instances=instances)
    network = f"{GROUP}/Networks/host/DynamicPorts"
    fields = ("Label", "Value", "To", "HostNetwork", "IgnoreCollision")
    assert found == {
        PROXY_SERVER,
        *(f"{GROUP}/Tasks/app-{number}/Config/ports" for number in range(instances)),
        *(f"{network}/app_{number}/{field}" for number in range(instances) for field in fields),
    }


@pytest.mark.parametrize("twins", [("combined", "sharedvolume"), ("combined-bridge", "combined")])
@pytest.mark.parametrize("instances", INSTANCES)
def test_nginx_configuration_of_combined_is_that_of_its_twin(
    twins: tuple[str, str], instances: int
) -> None:
    texts = [
        webjob.templates(webjob.render(path=path, instances=instances))["local/nginx.conf"]
        for path in twins
    ]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("instances", INSTANCES)
@pytest.mark.parametrize(
    ("combined", "unix"),
    [("combined", "sharedvolume"), ("combined-bridge", "sharedvolume-bridge")],
)
def test_combined_differs_in_what_is_published_of_it(
    combined: str, unix: str, instances: int
) -> None:
    one = webjob.render(path=combined, instances=instances, host_cpus="0,1,2,3")
    other = webjob.render(path=unix, instances=instances, host_cpus="0,1,2,3")
    tasks = webjob.group(other)["Tasks"]
    # One task in place of all: what is left to compare is the proxy's.
    proxy = [{**task, "Name": "combined"} for task in tasks if task["Name"] == "proxy"]
    alone = {**other, "TaskGroups": [{**webjob.group(other), "Tasks": proxy}]}
    task = f"{GROUP}/Tasks/combined"
    supervisor = f"{task}/Templates/local/supervisord.conf/"
    found = difference(one, alone)
    assert {at for at in found if not at.startswith(supervisor)} == {
        f"{task}/Config/image",
        f"{task}/Config/entrypoint",
        f"{task}/Config/args",
        f"{task}/Config/cpu_hard_limit",
        f"{task}/Resources/CPU",
        f"{task}/Resources/MemoryMB",
    }
    assert any(at.startswith(supervisor) for at in found)


@pytest.mark.parametrize("instances", INSTANCES)
def test_combined_on_the_bridge_differs_in_the_network_only(instances: int) -> None:
    found = pair("combined", "combined-bridge", instances=instances)
    task = f"{GROUP}/Tasks/combined/Config"
    networks = f"{GROUP}/Networks/"
    assert {at for at in found if not at.startswith(networks)} == {
        f"{task}/network_mode",
        f"{task}/ports",
    }
    one, other = (
        webjob.group(webjob.render(path=path, instances=instances))["Networks"][0]
        for path in ("combined", "combined-bridge")
    )
    assert {key for key in one if one[key] != other[key]} == {"Mode"}
