"""What Consul is told of each end: valid JSON once Nomad has filled it in, and as the path says.

The mesh task's own check of a definition judges it, with a folder of the test's for ``/alloc/tmp``.
"""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import meshjob
import pytest
from meshjob import ENVIRONMENT, HOPS, MESH_GRID, MESHED, ROOT, WORKLOADS

ENDS = ("client", "server")
PORT = 12340
findings = runpy.run_path(str(ROOT / "workloads" / "mesh" / "sidecar.py"))["findings"]

meshed = pytest.mark.parametrize(("workload", "path"), MESH_GRID)
each_end = pytest.mark.parametrize("end", ENDS)


def service(workload: str, path: str, end: str) -> dict[str, Any]:
    return meshjob.definition(meshjob.render(workload, path, port=PORT), end)


@meshed
@each_end
def test_mesh_task_takes_it(workload: str, path: str, end: str, tmp_path: Path) -> None:
    text = json.dumps({"service": service(workload, path, end)})
    assert findings(json.loads(text.replace("/alloc/tmp", str(tmp_path)))) == []


@pytest.mark.parametrize("path", MESHED)
@each_end
def test_workloads_register_the_same(path: str, end: str) -> None:
    found = [service(workload, path, end) for workload in WORKLOADS]
    assert all(one == found[0] for one in found)


@pytest.mark.parametrize("path", MESHED)
@each_end
def test_names_are_those_that_the_token_may_register(path: str, end: str) -> None:
    found = service("web", path, end)
    job, allocation = ENVIRONMENT["NOMAD_JOB_ID"], ENVIRONMENT["NOMAD_ALLOC_ID"]
    assert found["name"] == f"{job}-{end}"
    assert found["id"] == f"{job}-{end}-{allocation}"


@pytest.mark.parametrize("path", MESHED)
def test_server_has_a_socket_or_a_port(path: str) -> None:
    found = service("web", path, "server")
    proxy = found["connect"]["sidecar_service"]["proxy"]
    if HOPS[path][1] == "unix":
        assert found["socket_path"] == "/alloc/tmp/server.sock"
        assert proxy["local_service_socket_path"] == found["socket_path"]
        assert not {"port", "local_service_port", "local_service_address"} & {*found, *proxy}
    else:
        assert found["port"] == PORT
        assert (proxy["local_service_address"], proxy["local_service_port"]) == ("127.0.0.1", PORT)
        assert not {"socket_path", "local_service_socket_path"} & {*found, *proxy}
    assert "upstreams" not in proxy


@pytest.mark.parametrize("path", MESHED)
def test_client_calls_the_server_by_a_socket_or_a_port(path: str) -> None:
    found = service("web", path, "client")
    assert not {"socket_path", "port"} & set(found)
    proxy = found["connect"]["sidecar_service"]["proxy"]
    (upstream,) = proxy["upstreams"]
    assert upstream.pop("destination_name") == f"{ENVIRONMENT['NOMAD_JOB_ID']}-server"
    if HOPS[path][0] == "unix":
        assert upstream == {
            "local_bind_socket_path": "/alloc/tmp/upstream.sock",
            "local_bind_socket_mode": "0660",
        }
    else:
        # The server's own port is one less: on one host the two must not meet.
        assert upstream == {"local_bind_address": "127.0.0.1", "local_bind_port": PORT + 1}
    assert set(proxy) == {"config", "upstreams"}


@pytest.mark.parametrize("path", MESHED)
@each_end
def test_sidecar_listens_at_the_address_that_nomad_gives(path: str, end: str) -> None:
    sidecar = service("web", path, end)["connect"]["sidecar_service"]
    assert sidecar["address"] == ENVIRONMENT["NOMAD_IP_mesh"]
    assert sidecar["port"] == int(ENVIRONMENT["NOMAD_PORT_mesh"])
    assert sidecar["proxy"]["config"] == {"bind_address": ENVIRONMENT["NOMAD_IP_mesh"]}


@pytest.mark.parametrize("path", MESHED)
@each_end
def test_checks_dial_nothing_and_take_a_dead_end_away(path: str, end: str) -> None:
    found = service("web", path, end)
    checks = [*found["checks"], *found["connect"]["sidecar_service"]["checks"]]
    timed = [check for check in checks if "alias_service" not in check]
    assert [check["id"] for check in timed] == [f"{found['id']}-socket", f"{found['id']}-envoy"]
    for check in timed:
        assert set(check) == {"id", "name", "ttl", "deregister_critical_service_after"}
        assert check["ttl"] == "30s"
        assert check["deregister_critical_service_after"] == "1m"
    (alias,) = [check for check in checks if check not in timed]
    assert alias == {"name": "the service", "alias_service": found["id"]}


@pytest.mark.parametrize("path", MESHED)
@each_end
def test_mesh_task_verifies_consul_and_writes_facts(path: str, end: str) -> None:
    task = meshjob.tasks(meshjob.render("web", path, sidecar_workers=3))[f"sidecar-{end}"]
    assert task["Env"] == {
        "CONSUL_HTTP_ADDR": "https://127.0.0.1:8501",
        "CONSUL_GRPC_ADDR": "https://127.0.0.1:8503",
        "CONSUL_CACERT": "/local/ca.pem",
        "SECRETS": "/secrets",
        "FACTS": f"/alloc/data/sidecar-{end}.json",
        "WORKERS": "3",
    }
    assert set(meshjob.files(task)) == {"local/service.json", "local/ca.pem"}
    # Time to deregister, then for Envoy to end.
    assert task["KillTimeout"] == 10 * 10**9
