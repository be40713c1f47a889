"""The engine's clients of Nomad and Consul speak to the lab's, whatever the shell says."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from nomad.api.exceptions import URLNotFoundNomadException

from collector.campaign.cluster import PLACE_S, ROOM_S, Cluster
from collector.campaign.errors import BlockFailed, NoRoom, NotReadyError
from collector.campaign.mesh import Mesh

OURS = """NOMAD_ADDR=https://198.18.0.11:4646
NOMAD_CACERT=/nowhere/ca.pem
NOMAD_TOKEN=ours
CONSUL_HTTP_ADDR=https://198.18.0.11:8501
CONSUL_CACERT=/nowhere/ca.pem
CONSUL_HTTP_TOKEN=ours
"""


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lab's state, in a shell that has another cluster's addresses and tokens."""
    (tmp_path / "lab.env").write_text(OURS)
    for name in ("NOMAD", "CONSUL_HTTP"):
        monkeypatch.setenv(f"{name}_ADDR", "https://192.0.2.1:9999")
        monkeypatch.setenv(f"{name}_TOKEN", "another's")
    monkeypatch.setenv("NOMAD_NAMESPACE", "another")
    return tmp_path


def test_nomad_is_the_labs(state: Path) -> None:
    api = Cluster(state)._api
    assert api.address == "https://198.18.0.11:4646"
    assert api.token == "ours"
    assert api.get_namespace() == "default"


@pytest.mark.parametrize(
    ("answer", "facts"),
    [
        ('{"ciphers": ["AES"]}', {"ciphers": ["AES"]}),
        # What a server writes, under status 200, when the client that it forwards dies.
        ("Unknown stream type: EOF", {}),
        ('{"ciphers": [', {}),
        ("[]", {}),
        ("", {}),
    ],
)
def test_facts_that_cannot_be_read_are_not_there_yet(
    state: Path, monkeypatch: pytest.MonkeyPatch, answer: str, facts: dict[str, list[str]]
) -> None:
    cluster = Cluster(state)
    monkeypatch.setattr(cluster._api.client.cat, "read_file", lambda *_: answer)
    assert cluster.read_facts("allocation", "/alloc/data/sidecar-client.json") == facts


def test_a_host_that_was_made_anew_is_its_last_node(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first node stays in Nomad's list for a day, down, under the same name."""
    cluster = Cluster(state)
    for order in (1, -1):
        listed = [
            {"Name": "lab-2", "ID": "new", "Status": "ready", "CreateIndex": 90},
            {"Name": "lab-3", "ID": "other", "Status": "down", "CreateIndex": 14},
            {"Name": "lab-2", "ID": "old", "Status": "down", "CreateIndex": 12},
        ][::order]
        monkeypatch.setattr(cluster._api.nodes, "get_nodes", lambda listed=listed: listed)
        assert cluster.nodes() == {"lab-2": "ready", "lab-3": "down"}
    monkeypatch.setattr(
        cluster._api.jobs, "get_jobs",
        lambda: [{"ID": "roomy", "Type": "system", "Stop": False, "Datacenters": ["dc1"]}],
    )  # fmt: skip
    monkeypatch.setattr(cluster._api.job, "get_allocations", lambda _: [])
    for node in listed:
        node |= {"Datacenter": "dc1", "Status": "down"}
    assert [one.host for one in cluster.system_placements()] == ["lab-2", "lab-3"]


@pytest.mark.parametrize(
    ("status", "states", "said"),
    [
        ("running", {"app": {"Failed": False, "Events": []}}, ""),
        ("lost", None, "its allocation is lost"),
        ("failed", {}, "its allocation is failed"),
        (
            "failed",
            {"app": {"Failed": True, "Events": [{"DisplayMessage": "Exit Code: 3"}]}},
            "task app failed: Exit Code: 3\n  stderr: boom",
        ),
    ],
)
def test_why_an_allocation_failed_is_told_whatever_nomad_knows_of_it(
    state: Path,
    monkeypatch: pytest.MonkeyPatch,
    status: str,
    states: dict[str, object] | None,
    said: str,
) -> None:
    """An allocation whose host went away before it started anything has no tasks to speak of."""
    cluster = Cluster(state)
    found = {"ID": "a", "ClientStatus": status, "TaskStates": states}
    monkeypatch.setattr(cluster._api.job, "get_allocations", lambda _: [found])
    lines = {"stderr": ["stderr: boom"]}
    monkeypatch.setattr(cluster, "last_lines", lambda *asked: lines.get(asked[2], []))
    assert cluster.failure("sl-x") == said


@pytest.mark.parametrize(("killed", "kind"), [("true", NoRoom), ("false", BlockFailed)])
def test_a_task_that_was_killed_at_its_memory_limit_had_no_room(
    state: Path, monkeypatch: pytest.MonkeyPatch, killed: str, kind: type[BlockFailed]
) -> None:
    cluster = Cluster(state)
    event = {"DisplayMessage": "Exit Code: 137", "Details": {"oom_killed": killed}}
    task = {"Failed": True, "Events": [{"DisplayMessage": "Started", "Details": None}, event]}
    found = {"ID": "a", "ClientStatus": "failed", "TaskGroup": "web", "TaskStates": {"app": task}}
    monkeypatch.setattr(cluster._api.job, "get_allocations", lambda _: [found])
    monkeypatch.setattr(cluster, "last_lines", lambda *_: ["boom"])
    with pytest.raises(BlockFailed, match="task app failed: Started; Exit Code: 137") as failed:
        cluster.wait_running("sl-x", ["web"])
    assert type(failed.value) is kind


def test_a_job_that_nomad_does_not_have_is_none_and_a_nomad_that_is_away_is_said(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(state)

    def fail(error: Exception) -> Callable[[str], object]:
        def ask(_: str) -> object:
            raise error

        return ask

    missing = URLNotFoundNomadException(SimpleNamespace(text="job not found", status_code=404))
    monkeypatch.setattr(cluster._api.job, "get_job", fail(missing))
    assert cluster.job("gone") is None
    monkeypatch.setattr(cluster._api.job, "get_job", fail(BlockFailed("Nomad does not answer")))
    with pytest.raises(NotReadyError, match="Nomad does not answer"):
        cluster.job("any")
    monkeypatch.setattr(cluster._api.job, "get_job", lambda name: {"ID": name})
    assert cluster.job("there") == {"ID": "there"}


EXHAUSTED = {"client": {"DimensionExhausted": {"memory": 1}, "ConstraintFiltered": {"node": 2}}}


@pytest.mark.parametrize("patience", [1.0, 5.0])
def test_what_has_no_room_is_told_after_the_same_wait_however_slow_the_host_is(
    state: Path, monkeypatch: pytest.MonkeyPatch, patience: float
) -> None:
    """Patience is for what starts slowly; where there is no room, Nomad knows at once."""
    cluster, slept = Cluster(state), [0.0]

    def sleep(seconds: float) -> None:
        slept[0] += seconds

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: slept[0])
    monkeypatch.setattr(cluster._api.job, "get_allocations", lambda _: [])
    said: dict[str, object] = {"FailedTGAllocs": EXHAUSTED}
    monkeypatch.setattr(cluster._api.job, "get_evaluations", lambda _: [said])
    with pytest.raises(NoRoom, match=r"group client: exhausted .'memory': 1."):
        cluster.wait_running("sl-x", ["client"], patience)
    assert ROOM_S <= slept[0] < ROOM_S + 2
    said["FailedTGAllocs"] = {"client": {"ConstraintFiltered": {"node": 2}}}
    slept[0] = 0.0
    with pytest.raises(BlockFailed, match=r"group client: .*filtered .'node': 2.") as raised:
        cluster.wait_running("sl-x", ["client"], patience)
    assert raised.type is BlockFailed, "another attempt may help"
    assert PLACE_S <= slept[0] < PLACE_S + 2, "the host may have come back"
    said["FailedTGAllocs"] = None
    slept[0] = 0.0
    with pytest.raises(BlockFailed, match="client not placed after"):
        cluster.wait_running("sl-x", ["client"], patience)
    assert slept[0] >= PLACE_S * patience


def test_consul_is_the_labs(state: Path) -> None:
    client = Mesh(state)._servers
    assert client.http.base_uri == "https://198.18.0.11:8501"
    assert client.token == "ours"


def test_a_mesh_without_consul_is_refused(state: Path) -> None:
    lines = [line for line in OURS.splitlines() if not line.startswith("CONSUL")]
    (state / "lab.env").write_text("\n".join(lines))
    with pytest.raises(NotReadyError, match="this cluster has no Consul"):
        Mesh(state)


@pytest.mark.parametrize(
    ("ends", "edges"),
    [
        (["client", "server"], {"sl-x-server": "sl-x-client"}),
        (
            ["service-0", "service-1", "service-2"],
            {"sl-x-service-1": "sl-x-service-0", "sl-x-service-2": "sl-x-service-1"},
        ),
    ],
)
def test_each_end_may_call_the_next_one_alone(
    state: Path, monkeypatch: pytest.MonkeyPatch, ends: list[str], edges: dict[str, str]
) -> None:
    entries: dict[str, Any] = {"*": {}, "another": {}}
    mesh = Mesh(state)
    config = mesh._servers.config
    monkeypatch.setattr(config, "set", lambda kind, name, body: entries.update({name: body}))
    monkeypatch.setattr(config, "delete", lambda kind, name: entries.pop(name))
    monkeypatch.setattr(config, "list", lambda kind: [{"Name": name} for name in entries])
    mesh.allow("sl-x", ends)
    allowed = {name: body["Sources"] for name, body in entries.items() if name.startswith("sl-")}
    assert allowed == {
        name: [{"Name": source, "Action": "allow"}] for name, source in edges.items()
    }
    mesh.forbid("sl-x", ends)
    assert list(entries) == ["*", "another"]
    mesh.allow("sl-y", ends)
    mesh.forbid_left()
    assert list(entries) == ["*", "another"], "a person's own edges stay"


def test_the_catalog_says_where_there_is_something_to_sweep(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = {"consul": ["lab-1"], "a-person-s-own": ["lab-2"], "sl-x-client": ["lab-2", "lab-3"]}
    mesh = Mesh(state)
    catalog = mesh._servers.catalog
    monkeypatch.setattr(catalog, "services", lambda: (1, {name: [] for name in nodes}))
    monkeypatch.setattr(catalog, "service", lambda name: (1, [{"Node": n} for n in nodes[name]]))
    assert mesh.registered_on() == {"lab-2", "lab-3"}


def test_a_sweep_forgets_what_is_ours_and_leaves_no_connection_open(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = {"1": {"Service": "sl-x-client"}, "2": {"Service": "a-person-s-own"}}
    left: list[object] = []
    agent = SimpleNamespace(
        services=lambda: services, service=SimpleNamespace(deregister=left.append)
    )
    session = SimpleNamespace(close=lambda: left.append("closed"))
    client = SimpleNamespace(agent=agent, http=SimpleNamespace(session=session))
    mesh = Mesh(state)
    monkeypatch.setattr(mesh, "_client", lambda host, port: client)
    assert mesh.sweep("127.0.0.1", 1) == ["1"]
    assert left == ["1", "closed"]
