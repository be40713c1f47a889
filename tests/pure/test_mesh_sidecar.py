"""The mesh task refuses a definition that could not work, and says how to mend it."""

from __future__ import annotations

import copy
import importlib.util
import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "workloads" / "mesh" / "sidecar.py"


def load():  # type: ignore[no-untyped-def]
    spec = importlib.util.spec_from_file_location("sidecar", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


sidecar = load()


def definition(folder: Path) -> dict[str, Any]:
    upstream = {
        "destination_name": "db",
        "local_bind_socket_path": f"{folder}/db.sock",
        "local_bind_socket_mode": "0660",
    }
    return {
        "service": {
            "id": "api-1",
            "name": "api",
            "socket_path": f"{folder}/api.sock",
            "connect": {"sidecar_service": {"proxy": {"upstreams": [upstream]}}},
        }
    }


def upstream_of(document: dict[str, Any]) -> dict[str, Any]:
    upstream: dict[str, Any] = document["service"]["connect"]["sidecar_service"]["proxy"][
        "upstreams"
    ][0]
    return upstream


def test_a_sound_definition_has_no_findings(tmp_path: Path) -> None:
    assert sidecar.findings(definition(tmp_path)) == []


def test_a_stale_socket_is_envoys_to_replace(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "db.sock"))
    assert sidecar.findings(definition(tmp_path)) == []


def test_a_file_that_is_no_socket_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "db.sock").write_text("somebody's data")
    (found,) = sidecar.findings(definition(tmp_path))
    assert found == (
        f"upstream db: local_bind_socket_path: {tmp_path}/db.sock exists and is no socket: "
        "remove it"
    )


@pytest.mark.parametrize(
    ("mode", "quoted"), [("660", "'660'"), ("", "''"), ("0o660", "'0o660'"), ("0668", "'0668'")]
)
def test_a_mode_that_consul_would_misread(tmp_path: Path, mode: str, quoted: str) -> None:
    document = definition(tmp_path)
    upstream_of(document)["local_bind_socket_mode"] = mode
    assert sidecar.findings(document) == [
        f"upstream db: local_bind_socket_mode {quoted}: expected four octal digits, the first a "
        "zero, as in '0660' (Consul reads '660' as decimal)"
    ]


def test_a_path_that_does_not_fit_the_kernels_address(tmp_path: Path) -> None:
    document = definition(tmp_path)
    path = f"{tmp_path}/{'x' * (108 - len(str(tmp_path)) - 1)}"
    assert len(path) == 108
    upstream_of(document)["local_bind_socket_path"] = path
    assert sidecar.findings(document) == [
        "upstream db: local_bind_socket_path: 108 bytes; a Unix socket's path has at most 107: "
        "shorten it"
    ]
    upstream_of(document)["local_bind_socket_path"] = path[:-1]
    assert sidecar.findings(document) == []


def test_a_directory_that_is_missing(tmp_path: Path) -> None:
    document = definition(tmp_path)
    document["service"]["socket_path"] = f"{tmp_path}/none/api.sock"
    assert sidecar.findings(document) == [
        f"service: socket_path: no directory {tmp_path}/none in this task: make it first, or use "
        "/alloc/tmp"
    ]


def test_two_upstreams_on_one_path(tmp_path: Path) -> None:
    document = definition(tmp_path)
    other = copy.deepcopy(upstream_of(document)) | {"destination_name": "cache"}
    document["service"]["connect"]["sidecar_service"]["proxy"]["upstreams"].append(other)
    assert sidecar.findings(document) == [
        f"upstream cache: listens at {tmp_path}/db.sock, and so does upstream db: give each its own"
    ]


@pytest.mark.parametrize("extra", [{"local_bind_port": 5000}, {"local_bind_socket_path": None}])
def test_path_or_port_but_not_both_or_none(tmp_path: Path, extra: dict[str, Any]) -> None:
    document = definition(tmp_path)
    upstream_of(document).update(extra)
    assert sidecar.findings(document) == [
        "upstream db: expected exactly one of local_bind_socket_path and local_bind_port"
    ]


def test_everything_wrong_is_said_at_once(tmp_path: Path) -> None:
    document = definition(tmp_path)
    document["service"] |= {"name": "", "port": 80, "socket_path": "api.sock"}
    del upstream_of(document)["destination_name"]
    assert sidecar.findings(document) == [
        "service: name is missing",
        "service: expected one of socket_path and port, not both",
        "service: socket_path: 'api.sock' is not absolute",
        "upstream ?: destination_name is missing: name the service",
    ]


@pytest.mark.parametrize("text", ["", "[]", '{"service": 1}', "{"])
def test_a_file_that_is_no_definition_ends_with_2(tmp_path: Path, text: str) -> None:
    path = tmp_path / "service.json"
    path.write_text(text)
    done = subprocess.run(
        [sys.executable, "-I", str(PROGRAM), str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"{path}: ")


def test_without_sidecar_there_is_nothing_to_run(tmp_path: Path) -> None:
    document = definition(tmp_path)
    del document["service"]["connect"]
    path = tmp_path / "service.json"
    path.write_text(json.dumps(document))
    assert sidecar.findings(document) == [
        "service: connect.sidecar_service is missing: nothing to run Envoy for"
    ]


def test_a_registration_that_consul_dropped_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Consul drops what was critical for a minute: an Envoy that starts slowly is."""
    monkeypatch.setenv("SECRETS", str(tmp_path))
    path = tmp_path / "service.json"
    path.write_text(json.dumps(definition(tmp_path)))
    known, told = {"value": False}, []

    def tell(path: str) -> None:
        if not known["value"]:
            raise OSError(f"{path}: status 404 b'Unknown check ID \"api-1-envoy\"'")
        told.append(path)

    class Envoy:
        def wait(self, seconds: float) -> int:
            if told:
                return 0
            raise subprocess.TimeoutExpired("envoy", seconds)

    one = sidecar.Sidecar(path)
    one.envoy = Envoy()
    monkeypatch.setattr(sidecar, "tell_consul", tell)
    monkeypatch.setattr(one, "register", lambda: known.update(value=True))
    assert one.run() == 1, "Envoy ended"
    assert told == [
        "/v1/agent/check/fail/api-1-envoy", "/v1/agent/check/fail/api-1-socket",
    ]  # fmt: skip
    assert "Unknown check ID" in capsys.readouterr().err


def test_a_refused_registration_is_told_in_a_line_and_ends_with_1(tmp_path: Path) -> None:
    consul = tmp_path / "bin" / "consul"
    consul.parent.mkdir()
    consul.write_text("#!/bin/sh\necho 'Permission denied: service:write' >&2\nexit 1\n")
    consul.chmod(0o755)
    path = tmp_path / "service.json"
    path.write_text(json.dumps(definition(tmp_path)))
    done = subprocess.run(
        [sys.executable, "-I", str(PROGRAM), str(path)],
        env={"PATH": f"{consul.parent}:/usr/bin:/bin", "SECRETS": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == (
        "sidecar: Consul refuses the registration: Permission denied: service:write\n"
    )
