"""A job file rendered as a person does: with the ``nomad`` program, variables and var-files.

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
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[2]
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


def images(*names: str) -> dict[str, str]:
    """The variables of these images, each with a reference by digest."""
    return {
        f"image_{name}": f"registry.test/socklab/{name}@sha256:{index:064x}"
        for index, name in enumerate(names)
    }


def options(variables: dict[str, object]) -> list[str]:
    """``-var`` options; a Python bool is written as HCL's."""
    return [
        f"-var={name}={str(value).lower() if isinstance(value, bool) else value}"
        for name, value in variables.items()
    ]


def attempt(
    job: Path, files: Iterable[Path], variables: dict[str, object]
) -> subprocess.CompletedProcess[str]:
    """Parse a job file with these var-files and variables, and nothing else."""
    given = [f"-var-file={path}" for path in files]
    return run_nomad("job", "run", "-output", *given, *options(variables), job)


@functools.cache
def _printed(job: Path, pairs: tuple[tuple[str, object], ...]) -> str:
    result = attempt(job, (), dict(pairs))
    assert result.returncode == 0, result.stdout
    return result.stdout


def render(job: Path, variables: dict[str, object]) -> dict[str, Any]:
    """The job with these variables, as Nomad would register it."""
    found = json.loads(_printed(job, tuple(sorted(variables.items()))))["Job"]
    assert isinstance(found, dict)
    return found


def declarations(job: Path) -> list[tuple[str, str]]:
    """(name, body) of every variable that a job file declares."""
    text = job.read_text()
    return re.findall(r'^variable "(\w+)" \{\n(.*?)^\}', text, re.DOTALL | re.MULTILINE)


def assigned(file: Path) -> list[str]:
    """The names that a var-file sets."""
    return re.findall(r"^(\w+)\s*=", file.read_text(), re.MULTILINE)
