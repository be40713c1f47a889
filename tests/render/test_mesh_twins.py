"""Arms of the mesh job differ where it is written here, and nowhere else: whole jobs are compared.

Consul's definitions are compared by their keys, once filled in; scripts by their words.
"""

from __future__ import annotations

import copy
import json
from typing import Any

import meshjob
import pytest
from leaves import difference
from meshjob import CLIENTS, GRID, HOPS, MESHED, SERVERS, WORKLOADS

GROUPS = "TaskGroups"
SERVICE = "Templates/local/service.json/Service"
PROXY = f"{SERVICE}/connect/sidecar_service/proxy"
SCRIPTS = ("local/load", "local/ready")


def opened(job: dict[str, Any]) -> dict[str, Any]:
    """The job with its definitions as objects."""
    job = copy.deepcopy(job)
    for task in meshjob.tasks(job).values():
        for template in task["Templates"] or ():
            if template["DestPath"] == "local/service.json":
                text = template.pop("EmbeddedTmpl")
                template["Service"] = json.loads(meshjob.fill(text))["service"]
    return job


def pair(workload: str, one: str, other: str, **variables: object) -> set[str]:
    first, second = (meshjob.render(workload, path, **variables) for path in (one, other))
    return difference(opened(first), opened(second))


def task(end: str, name: str) -> str:
    return f"{GROUPS}/{end}/Tasks/{name}"


def client_hop(workload: str) -> set[str]:
    """Where a client says how it calls."""
    here = task("client", CLIENTS[workload])
    if workload == "web":
        return {f"{here}/Templates/local/nginx.conf/EmbeddedTmpl/server"}
    scripts = {f"{here}/Templates/{name}/EmbeddedTmpl/rest" for name in SCRIPTS}
    return {*scripts, f"{here}/Config/network_mode"}


def server_hop(workload: str) -> set[str]:
    """Where a server says how it listens."""
    here = task("server", SERVERS[workload])
    return {
        f"{here}/Env/BIND" if workload == "web" else f"{here}/Config/args",
        f"{here}/Config/network_mode",
    }


def client_upstream() -> set[str]:
    here = f"{task('client', 'sidecar-client')}/{PROXY}/upstreams/0"
    keys = ("bind_socket_path", "bind_socket_mode", "bind_address", "bind_port")
    return {f"{here}/local_{key}" for key in keys}


def server_service() -> set[str]:
    here = task("server", "sidecar-server")
    keys = ("service_socket_path", "service_address", "service_port")
    return {
        *(f"{here}/{SERVICE}/{key}" for key in ("port", "socket_path")),
        *(f"{here}/{PROXY}/local_{key}" for key in keys),
    }


def test_a_change_anywhere_is_seen() -> None:
    assert pair("web", "mesh-unix", "mesh-unix") == set()
    one = meshjob.render("web", "mesh-tcp")
    other = meshjob.render("web", "mesh-tcp", peer="x", port=13000)
    found = difference(opened(one), opened(other))
    assert found == {
        f"{GROUPS}/server/Constraints/0/RTarget",
        *client_hop("web"),
        f"{task('server', 'app')}/Env/BIND",
        f"{task('client', 'sidecar-client')}/{PROXY}/upstreams/0/local_bind_port",
        f"{task('server', 'sidecar-server')}/{SERVICE}/port",
        f"{task('server', 'sidecar-server')}/{PROXY}/local_service_port",
    }


@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize(
    ("path", "ends"),
    [
        ("mesh-unix", ("client", "server")),
        ("mesh-unix-client", ("client",)),
        ("mesh-unix-server", ("server",)),
    ],
)
def test_mesh_over_sockets_differs_from_tcp_at_the_ends_that_have_one(
    workload: str, path: str, ends: tuple[str, ...]
) -> None:
    expected: set[str] = set()
    if "client" in ends:
        expected |= client_hop(workload) | client_upstream()
    if "server" in ends:
        expected |= server_hop(workload) | server_service()
    assert pair(workload, "mesh-tcp", path) == expected


@pytest.mark.parametrize("workload", WORKLOADS)
def test_mesh_differs_from_tcp_in_the_sidecars_and_the_addresses(workload: str) -> None:
    found = pair(workload, "tcp", "mesh-tcp")
    added = tuple(
        prefix
        for end in ("client", "server")
        for prefix in (task(end, f"sidecar-{end}") + "/", f"{GROUPS}/{end}/Networks/host/")
    )
    # Both ends stay in their hosts' networks: only where they listen and call is another.
    modes = {at for at in client_hop(workload) | server_hop(workload) if "network_mode" in at}
    rest = {at for at in found if not at.startswith(added)}
    assert rest == (client_hop(workload) | server_hop(workload)) - modes
    ports = {at for at in found if "/Networks/" in at}
    assert ports
    assert all("/DynamicPorts" in at or "/ReservedPorts" in at for at in ports)


def test_tls_differs_from_tcp_in_keys_and_options() -> None:
    assert pair("database", "tcp", "tcp-tls") - client_hop("database") == {
        f"{task('server', 'database')}/Config/args",
        *(
            f"{at}/Templates/secrets/{name}/{field}"
            for at, names in (
                (task("server", "database"), ("ca.pem", "tls.pem", "tls.key")),
                (task("client", "load"), ("cacert.pem", "client-cert.pem", "client-key.pem")),
            )
            for name in names
            for field in template_fields()
        ),
    }


def template_fields() -> set[str]:
    """What Nomad says of a template, as its leaves have it."""
    job = meshjob.render("database", "tcp")
    template = meshjob.tasks(job)["load"]["Templates"][0]
    return set(template) - {"EmbeddedTmpl"} | {"EmbeddedTmpl/server", "EmbeddedTmpl/rest"}


@pytest.mark.parametrize("workload", WORKLOADS)
def test_mesh_on_one_host_differs_in_the_node_alone(workload: str) -> None:
    found = pair(workload, "mesh-unix", "mesh-local")
    assert found == {f"{GROUPS}/server/Constraints/0/RTarget"}


@pytest.mark.parametrize("workload", WORKLOADS)
def test_mesh_over_sockets_differs_from_socat_in_what_carries_it(workload: str) -> None:
    carriers = ("/Tasks/sidecar-", "/Tasks/bridge-", "/Networks/host/")
    found = pair(workload, "socat", "mesh-unix")
    assert {at for at in found if not any(carrier in at for carrier in carriers)} == set()


@pytest.mark.parametrize(
    ("workload", "path"), [(workload, path) for workload, path in GRID if path in MESHED]
)
def test_a_second_worker_is_the_only_difference(workload: str, path: str) -> None:
    one, two = (meshjob.render(workload, path, sidecar_workers=count) for count in (1, 2))
    assert difference(one, two) == {
        f"{task(end, f'sidecar-{end}')}/Env/WORKERS" for end in ("client", "server")
    }


@pytest.mark.parametrize(("workload", "path"), GRID)
def test_copies_differ_in_their_id(workload: str, path: str) -> None:
    one, other = (meshjob.render(workload, path, id=name) for name in ("sl-a", "sl-b"))
    assert difference(one, other) == {"ID"}


@pytest.mark.parametrize("path", [path for path in HOPS if path != "tcp-tls"])
def test_messages_of_another_size_and_direction_differ_in_the_load(path: str) -> None:
    one = meshjob.render("stream", path, message_bytes=64, direction="to")
    other = meshjob.render("stream", path, message_bytes=4096, direction="both")
    load = f"{task('client', 'load')}/Templates/local/load/EmbeddedTmpl/rest"
    assert difference(one, other) == {load}


@pytest.mark.parametrize("path", HOPS)
def test_another_query_differs_in_the_load(path: str) -> None:
    one = meshjob.render("database", path, query="oltp_point_select")
    other = meshjob.render("database", path, query="oltp_read_only")
    load = f"{task('client', 'load')}/Templates/local/load/EmbeddedTmpl/rest"
    assert difference(one, other) == {load}


@pytest.mark.parametrize("workload", ["database", "stream"])
@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_of_twins_differ_in_the_address(workload: str, script: str) -> None:
    tcp, unix = (
        meshjob.files(meshjob.tasks(meshjob.render(workload, path))["load"])[script].split()
        for path in ("mesh-tcp", "mesh-unix")
    )
    address = [
        word for words, other in ((tcp, unix), (unix, tcp)) for word in words if word not in other
    ]
    assert (
        address
        == {
            ("database", "local/load"): [
                "--mysql-host=127.0.0.1",
                "--mysql-port=12001",
                "--mysql-socket=/alloc/tmp/upstream.sock",
            ],
            ("database", "local/ready"): [
                "--host=127.0.0.1",
                "--port=12001",
                "--socket=/alloc/tmp/upstream.sock",
            ],
            ("stream", "local/load"): ["tcp:127.0.0.1:12001", "unix:/alloc/tmp/upstream.sock"],
            ("stream", "local/ready"): ["tcp:127.0.0.1:12001", "unix:/alloc/tmp/upstream.sock"],
        }[workload, script]
    )
