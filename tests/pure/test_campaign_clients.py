"""The engine's clients of Nomad and Consul speak to the lab's, whatever the shell says."""

from __future__ import annotations

from pathlib import Path

import pytest

from collector.campaign.cluster import Cluster
from collector.campaign.errors import NotReadyError
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


def test_consul_is_the_labs(state: Path) -> None:
    client = Mesh(state)._servers
    assert client.http.base_uri == "https://198.18.0.11:8501"
    assert client.token == "ours"


def test_a_mesh_without_consul_is_refused(state: Path) -> None:
    lines = [line for line in OURS.splitlines() if not line.startswith("CONSUL")]
    (state / "lab.env").write_text("\n".join(lines))
    with pytest.raises(NotReadyError, match="this cluster has no Consul"):
        Mesh(state)
