"""Rendering ``jobs/web.nomad.hcl`` as a person does: with the ``nomad`` program and var-files.

No agent is asked: ``nomad job run -output`` parses and prints, ``nomad job validate`` checks what
it can without one. The environment is bare, so that neither ``NOMAD_VAR_*`` nor a lab's address
gets in.
"""

from __future__ import annotations

import functools
import json
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[2]
JOB: Final = ROOT / "jobs" / "web.nomad.hcl"
VAR_FILES: Final = sorted((ROOT / "jobs" / "web").glob("*.hcl"))
PATHS: Final = (
    "tcp-loopback",
    "sharedvolume",
    "tcp-bridge",
    "sharedvolume-bridge",
    "tcp-published",
    "combined",
    "combined-bridge",
)
INSTANCES: Final = (1, 2, 4)
IMAGES: Final = {
    f"image_{name}": f"registry.test/socklab/{name}@sha256:{digit * 64}"
    for name, digit in (("proxy", "a"), ("app", "b"), ("combined", "c"))
}
GO_NAMES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


def nomad_program() -> Path:
    """The pinned ``nomad``; fails the test, saying how to get it, where it is missing."""
    if given := os.environ.get("SOCKLAB_NOMAD"):
        found = Path(given)
    else:
        defaults = (ROOT / "roles" / "nomad" / "defaults" / "main.yml").read_text()
        version = re.search(r"^nomad_version: (\S+)$", defaults, re.MULTILINE)
        assert version, "roles/nomad/defaults/main.yml does not say nomad_version"
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        arch = GO_NAMES.get(platform.machine(), platform.machine())
        found = cache / "socklab" / "bin" / f"nomad-{version[1]}-linux-{arch}"
    if not os.access(found, os.X_OK):
        pytest.fail(
            f"no nomad at {found}: 'make setup' obtains it, or say where it is with SOCKLAB_NOMAD",
            pytrace=False,
        )
    return found


def run_nomad(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run ``nomad`` from the repository's root; standard error is folded into the output."""
    return subprocess.run(
        [nomad_program(), *arguments],
        cwd=ROOT,
        env={"PATH": os.defpath, "NOMAD_ADDR": "http://127.0.0.1:1", "NOMAD_CLI_NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )


def options(variables: dict[str, object]) -> list[str]:
    """``-var`` options; a Python bool is written as HCL's."""
    return [
        f"-var={name}={str(value).lower() if isinstance(value, bool) else value}"
        for name, value in variables.items()
    ]


def attempt(*files: Path, **variables: object) -> subprocess.CompletedProcess[str]:
    """Parse the job with these var-files and variables, and nothing else."""
    given = [f"-var-file={path}" for path in files]
    return run_nomad("job", "run", "-output", *given, *options(variables), JOB)


@functools.cache
def _printed(pairs: tuple[tuple[str, object], ...]) -> str:
    result = attempt(**{**IMAGES, **dict(pairs)})
    assert result.returncode == 0, result.stdout
    return result.stdout


def render(**variables: object) -> dict[str, Any]:
    """The job with test images and these variables, as Nomad would register it."""
    job = json.loads(_printed(tuple(sorted(variables.items()))))["Job"]
    assert isinstance(job, dict)
    return job


def group(job: dict[str, Any]) -> dict[str, Any]:
    """The job's one task group."""
    (only,) = job["TaskGroups"]
    assert isinstance(only, dict)
    return only


def tasks(job: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Its tasks by name."""
    return {task["Name"]: task for task in group(job)["Tasks"]}


def templates(job: dict[str, Any]) -> dict[str, str]:
    """The files that Nomad writes, by destination, placeholders still in them."""
    return {
        template["DestPath"]: template["EmbeddedTmpl"]
        for task in group(job)["Tasks"]
        for template in task["Templates"] or ()
    }
