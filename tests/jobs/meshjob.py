"""``jobs/mesh.nomad.hcl`` with test images and secrets, rendered; what each path should be."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any, Final

import nomadjob
from nomadjob import ROOT

JOB: Final = ROOT / "jobs" / "mesh.nomad.hcl"
VAR_FILES: Final = sorted((ROOT / "jobs" / "mesh").glob("*.hcl"))
PASSWORD: Final = "wordThatOpensTheTable"
KEY: Final = "lineOfThePrivateKey"
CERTIFICATE: Final = "lineOfTheCertificate"
GIVEN: Final[dict[str, object]] = {
    **nomadjob.images("app", "proxy", "database", "query", "stream", "sidecar", "bridge"),
    "mesh_ca": "lineOfTheCa",
    "database_password": PASSWORD,
}
TLS: Final = {"tls_certificate": CERTIFICATE, "tls_key": KEY}
# The hop of the client and that of the server.
HOPS: Final = {
    "tcp": ("tcp", "tcp"),
    "tcp-tls": ("tcp", "tcp"),
    "socat": ("unix", "unix"),
    "mesh-tcp": ("tcp", "tcp"),
    "mesh-unix": ("unix", "unix"),
    "mesh-unix-client": ("unix", "tcp"),
    "mesh-unix-server": ("tcp", "unix"),
    "unix": ("unix", "unix"),
    "mesh-local": ("unix", "unix"),
}
PATHS: Final = tuple(HOPS)
MESHED: Final = tuple(path for path in PATHS if path.startswith("mesh-"))
ONE_HOST: Final = ("unix", "mesh-local")
SERVERS: Final = {"web": "app", "database": "database", "stream": "serve"}
CLIENTS: Final = {"web": "proxy", "database": "load", "stream": "load"}
WORKLOADS: Final = tuple(SERVERS)
GRID: Final = [
    (workload, path)
    for workload in WORKLOADS
    for path in PATHS
    if path != "tcp-tls" or workload == "database"
]
MESH_GRID: Final = [(workload, path) for workload, path in GRID if path in MESHED]
# What Nomad puts into templates at run time.
ENVIRONMENT: Final = {
    "NOMAD_JOB_ID": "sl-7",
    "NOMAD_ALLOC_ID": "6b6f381b-a31d-2d13-8008-d88767ddacad",
    "NOMAD_IP_mesh": "198.18.0.12",
    "NOMAD_PORT_mesh": "24002",
    "NOMAD_ADDR_http": "127.0.0.1:24001",
}


def attempt(*files: Path, **variables: object) -> subprocess.CompletedProcess[str]:
    """Parse the job with these var-files and variables, and nothing else."""
    return nomadjob.attempt(JOB, files, variables)


def render(workload: str, path: str, **variables: object) -> dict[str, Any]:
    """The job as Nomad would register it; tcp-tls with a certificate."""
    secure = TLS if path == "tcp-tls" else {}
    chosen = {"workload": workload, "path": path}
    return nomadjob.render(JOB, {**GIVEN, **secure, **chosen, **variables})


def groups(job: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Its task groups by name."""
    return {group["Name"]: group for group in job["TaskGroups"]}


def tasks(job: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The tasks of all groups by name, which none of them share."""
    found = [task for group in job["TaskGroups"] for task in group["Tasks"]]
    named = {task["Name"]: task for task in found}
    assert len(named) == len(found)
    return named


def files(task: dict[str, Any]) -> dict[str, str]:
    """The files that Nomad writes for a task, by destination, placeholders still in them."""
    return {one["DestPath"]: one["EmbeddedTmpl"] for one in task["Templates"] or ()}


def fill(text: str) -> str:
    """What Nomad's templates put in at run time, with literal values; no other call is known."""
    filled = re.sub(r'\{\{ env ["`](\w+)["`] \}\}', lambda call: ENVIRONMENT[call[1]], text)
    assert "{{" not in filled, filled
    return filled


def definition(job: dict[str, Any], end: str) -> dict[str, Any]:
    """The Consul service that an end registers."""
    found = json.loads(fill(files(tasks(job)[f"sidecar-{end}"])["local/service.json"]))
    assert list(found) == ["service"]
    return dict(found["service"])
