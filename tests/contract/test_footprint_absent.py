"""A teardown that goes on where an interrupted one ended: Docker may have been stopped by it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
STOP = ROOT / "roles/footprint/tasks/stop.yml"
SILENT = "#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\nexit 1\n"


@pytest.mark.parametrize(
    ("there", "active", "code"), [(False, False, 0), (True, False, 0), (True, True, 2)]
)
def test_a_silent_docker_is_an_error_only_where_it_ran_before(
    there: bool, active: bool, code: int, tmp_path: Path
) -> None:
    (tmp_path / "docker").write_text(SILENT)
    (tmp_path / "docker").chmod(0o755)
    (look,) = [one for one in yaml.safe_load(STOP.read_text()) if "Look" in one["name"]]
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {
            "ansible_python_interpreter": sys.executable,
            "lab_id": "bench",
            "footprint_registry": "198.51.100.11:5000",
            "__footprint_before": {"units": {"docker.service": {"there": there, "active": active}}},
        },
        "tasks": [look],
    }
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    program = Path(sys.executable).with_name("ansible-playbook")
    done = subprocess.run(
        [program, tmp_path / "play.yml", "-i", "localhost,"],
        env={**os.environ, "PATH": f"{tmp_path}:{program.parent}:{os.environ['PATH']}"}, cwd=ROOT,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
