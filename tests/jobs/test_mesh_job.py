"""``jobs/mesh.nomad.hcl``, every workload by every path: who is where, with which network."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import meshjob
import nomadjob
import pytest
from meshjob import CLIENTS, GIVEN, GRID, HOPS, JOB, MESHED, ONE_HOST, SERVERS, TLS, VAR_FILES

SECOND = 10**9
DYNAMIC_PORTS = range(20000, 32001)  # Nomad's default, which the role nomad leaves alone
PORT = 12340
ADDRESS = "198.18.0.77"

everywhere = pytest.mark.parametrize(("workload", "path"), GRID)


def rendered(workload: str, path: str) -> dict[str, Any]:
    """With values that differ from every default."""
    return meshjob.render(
        workload, path, node="lab-7", peer="lab-8", peer_address=ADDRESS, port=PORT
    )


def networks(workload: str, path: str) -> dict[str, str]:
    """The network of each task, as the table in ``meshjob`` has its hop."""
    client, server = ({"tcp": "host", "unix": "none"}[hop] for hop in HOPS[path])
    # nginx serves clients, whatever its hop to the application is.
    found = {CLIENTS[workload]: "host" if workload == "web" else client, SERVERS[workload]: server}
    for end in ("client", "server"):
        if path in MESHED:
            found[f"sidecar-{end}"] = "host"
        if path == "socat":
            found[f"bridge-{end}"] = "host"
    return found


def test_the_promised_var_files_are_there() -> None:
    tested = {f"{workload}-{path}" for workload, path in GRID}
    stems = {path.stem for path in VAR_FILES}
    assert stems <= tested
    assert {name for name in tested if name.startswith("web-")} <= stems
    assert len(stems) == 16


@pytest.mark.parametrize("file", VAR_FILES, ids=lambda path: path.stem)
def test_var_file_validates_and_is_all_that_a_topology_needs(file: Path) -> None:
    given: dict[str, object] = {**GIVEN, **(TLS if file.stem.endswith("-tls") else {})}
    chosen = [f"-var-file={file}", *nomadjob.options(given)]
    result = nomadjob.run_nomad("job", "validate", *chosen, JOB)
    assert result.returncode == 0, result.stdout
    assert "Job validation successful" in result.stdout
    printed = nomadjob.attempt(JOB, [file], given)
    workload, _, path = file.stem.partition("-")
    assert json.loads(printed.stdout)["Job"] == meshjob.render(workload, path)


@everywhere
def test_groups_are_pinned_to_their_nodes(workload: str, path: str) -> None:
    groups = meshjob.groups(rendered(workload, path))
    assert list(groups) == (["client"] if path == "unix" else ["client", "server"])
    for end, group in groups.items():
        node = "lab-7" if end == "client" or path in ONE_HOST else "lab-8"
        pinned = {"LTarget": "${node.unique.name}", "RTarget": node, "Operand": "="}
        assert group["Constraints"] == [pinned]
        assert group["Count"] == 1


@everywhere
def test_allocation_never_moves_or_comes_back(workload: str, path: str) -> None:
    for group in rendered(workload, path)["TaskGroups"]:
        assert (group["RestartPolicy"]["Attempts"], group["RestartPolicy"]["Mode"]) == (0, "fail")
        assert group["ReschedulePolicy"]["Attempts"] == 0
        assert group["ReschedulePolicy"]["Unlimited"] is False
        assert group["Disconnect"]["Replace"] is False
        # A task's own policy would override the group's.
        assert all(task["RestartPolicy"] is None for task in group["Tasks"])


@everywhere
def test_failing_deployment_ends_within_two_minutes(workload: str, path: str) -> None:
    job = rendered(workload, path)
    update = job["Update"]
    assert 0 < update["HealthyDeadline"] <= update["ProgressDeadline"] <= 120 * SECOND
    assert update["HealthCheck"] == "task_states"
    assert update["AutoRevert"] is False
    assert all(group["Update"] is None for group in job["TaskGroups"])


@everywhere
def test_tasks_and_their_networks_follow_from_the_path(workload: str, path: str) -> None:
    tasks = meshjob.tasks(rendered(workload, path))
    found = {name: task["Config"]["network_mode"] for name, task in tasks.items()}
    assert found == networks(workload, path)


@everywhere
def test_helpers_of_an_end_are_up_before_it(workload: str, path: str) -> None:
    for name, task in meshjob.tasks(rendered(workload, path)).items():
        beside = name.startswith(("sidecar-", "bridge-"))
        assert task["Lifecycle"] == ({"Hook": "prestart", "Sidecar": True} if beside else None)


@everywhere
def test_nobody_is_privileged(workload: str, path: str) -> None:
    known = {
        "image", "image_pull_timeout", "entrypoint", "args", "network_mode", "readonly_rootfs",
        "cap_drop",
    }  # fmt: skip
    for name, task in meshjob.tasks(rendered(workload, path)).items():
        assert task["Driver"] == "docker"
        assert set(task["Config"]) <= known, name
        assert task["Config"]["cap_drop"] == ["all"]
        # nginx and MariaDB write beside /alloc; the image's user may do so in few places.
        assert task["Config"]["readonly_rootfs"] is (name not in ("proxy", "database"))
        assert not task["User"]
        assert not task["VolumeMounts"]


@everywhere
def test_only_the_mesh_task_has_a_consul_token(workload: str, path: str) -> None:
    for name, task in meshjob.tasks(rendered(workload, path)).items():
        assert (task["Consul"] is not None) == name.startswith("sidecar-")


@everywhere
def test_load_waits_for_its_turn(workload: str, path: str) -> None:
    config = meshjob.tasks(rendered(workload, path))[CLIENTS[workload]]["Config"]
    expected = {"proxy": ["/usr/sbin/nginx", "-c", "/local/nginx.conf"]}
    waiting = ["/usr/bin/sleep", "infinity"]
    assert [*config["entrypoint"], *config["args"]] == expected.get(CLIENTS[workload], waiting)


@everywhere
def test_images_are_those_of_the_tasks(workload: str, path: str) -> None:
    images = {"load": "query" if workload == "database" else "stream", "serve": "stream"}
    for name, task in meshjob.tasks(rendered(workload, path)).items():
        kind = images.get(name, name.removesuffix("-client").removesuffix("-server"))
        assert task["Config"]["image"] == GIVEN[f"image_{kind}"]


@everywhere
def test_ports_are_nomads_or_outside_of_its_range(workload: str, path: str) -> None:
    job = rendered(workload, path)
    for end, group in meshjob.groups(job).items():
        (network,) = group["Networks"]
        assert network["Mode"] == "host"
        asked = {port["Label"] for port in network["DynamicPorts"] or ()}
        wanted = {"mesh"} if path in MESHED else set()
        assert asked == wanted | ({"http"} if (workload, end) == ("web", "client") else set())
        fixed = {port["Label"]: port["Value"] for port in network["ReservedPorts"] or ()}
        between = end == "server" and path not in MESHED
        assert fixed == ({"server": PORT} if between else {})
        assert not DYNAMIC_PORTS.start <= PORT + 1 < DYNAMIC_PORTS.stop


@pytest.mark.parametrize("port", [1024, 19990])
def test_both_ports_stay_outside_of_nomads_range(port: int) -> None:
    job = json.dumps(meshjob.render("stream", "mesh-tcp", port=port))
    assert f"tcp:127.0.0.1:{port}" in job
    assert f"tcp:127.0.0.1:{port + 1}" in job
    assert port + 1 not in DYNAMIC_PORTS


def listens(workload: str, job: dict[str, Any]) -> str:
    """Where the server listens, as ``unix:PATH`` or ``HOST:PORT``."""
    task = meshjob.tasks(job)[SERVERS[workload]]
    if workload == "web":
        return str(task["Env"]["BIND"])
    if workload == "stream":
        assert task["Config"]["args"][0] == "serve"
        return str(task["Config"]["args"][1]).removeprefix("tcp:")
    words = [word.removeprefix("--").partition("=") for word in task["Config"]["args"]]
    said = {name: value for name, _, value in words}
    if "skip-networking" in said:
        return f"unix:{said['socket']}"
    assert said["socket"] == "/tmp/unused.sock"
    return f"{said['bind-address']}:{said['port']}"


@everywhere
def test_server_listens_where_it_is_called_and_nowhere_else(workload: str, path: str) -> None:
    inside = f"127.0.0.1:{PORT}" if path in MESHED else f"{ADDRESS}:{PORT}"
    expected = "unix:/alloc/tmp/server.sock" if HOPS[path][1] == "unix" else inside
    job = rendered(workload, path)
    assert listens(workload, job) == expected
    assert "0.0.0.0" not in json.dumps(job)


@pytest.mark.parametrize("workload", SERVERS)
def test_socat_joins_the_two_sockets(workload: str) -> None:
    tasks = meshjob.tasks(rendered(workload, "socat"))
    client, server = (tasks[f"bridge-{end}"]["Config"]["args"] for end in ("client", "server"))
    assert client[0].startswith("UNIX-LISTEN:/alloc/tmp/upstream.sock,fork,")
    assert ",mode=0660," in client[0]
    assert client[1] == f"TCP:{ADDRESS}:{PORT},nodelay"
    assert server[0].startswith(f"TCP-LISTEN:{PORT},bind={ADDRESS},fork,")
    assert server[1] == "UNIX-CONNECT:/alloc/tmp/server.sock"


@everywhere
def test_secrets_stand_in_files_that_only_their_task_has(workload: str, path: str) -> None:
    job = rendered(workload, path)
    for name, task in meshjob.tasks(job).items():
        for destination, text in meshjob.files(task).items():
            if not destination.startswith("secrets/"):
                assert meshjob.PASSWORD not in text, (name, destination)
                assert meshjob.KEY not in text, (name, destination)
        bare = json.dumps({**task, "Templates": None})
        assert meshjob.PASSWORD not in bare
        assert meshjob.KEY not in bare
    everything = json.dumps(job)
    assert (meshjob.PASSWORD in everything) == (workload == "database")
    assert (meshjob.KEY in everything) == (path == "tcp-tls")


@everywhere
def test_sockets_fit_into_sun_path(workload: str, path: str) -> None:
    text = json.dumps(rendered(workload, path))
    sockets = set(re.findall(r"/alloc/[\w/.-]+\.sock", text))
    assert sockets <= {"/alloc/tmp/server.sock", "/alloc/tmp/upstream.sock"}
    assert all(len(socket.encode()) <= 107 for socket in sockets)
    assert bool(sockets) == ("unix" in HOPS[path])


@everywhere
def test_cpu_is_a_share_and_a_database_has_twice_the_memory(workload: str, path: str) -> None:
    job = meshjob.render(workload, path, cpu=150, memory_mb=300)
    for name, task in meshjob.tasks(job).items():
        found = (task["Resources"]["CPU"], task["Resources"]["MemoryMB"])
        assert found == (150, 600 if name == "database" else 300)


def test_query_message_and_direction_reach_the_load() -> None:
    database = meshjob.render("database", "tcp", query="oltp_read_only")
    assert " oltp_read_only " in meshjob.files(meshjob.tasks(database)["load"])["local/load"]
    stream = meshjob.render("stream", "tcp", message_bytes=64, direction="both")
    load = meshjob.files(meshjob.tasks(stream)["load"])["local/load"]
    assert " --message-bytes 64 --direction both " in load
