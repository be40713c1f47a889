"""What a machine was before the lab is written down whole, readable by root alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parents[2] / "roles/footprint/files/before.py"
SYSTEMCTL = """#!/bin/sh
case "$*" in "cat there.service" | "is-enabled there.service") exit 0 ;; esac
exit 1
"""


def test_the_record(tmp_path: Path) -> None:
    (tmp_path / "systemctl").write_text(SYSTEMCTL)
    (tmp_path / "systemctl").chmod(0o755)
    record = tmp_path / "socklab" / "before.json"
    asked = {
        "record": str(record),
        "lab": "bench",
        "sysctls": ["kernel.ostype", "net.no.such"],
        "units": ["there.service", "absent.service"],
        "paths": [str(PROGRAM), "/nonesuch"],
        "users": ["root", "nonesuch"],
    }
    subprocess.run(
        [sys.executable, "-I", "-", json.dumps(asked)],
        input=PROGRAM.read_text(), text=True, check=True,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )  # fmt: skip
    read = json.loads(record.read_text())
    del read["daemon_json"]
    assert read == {
        "schema": 1,
        "lab": "bench",
        "sysctls": {"kernel.ostype": "Linux", "net.no.such": None},
        "units": {
            "there.service": {"there": True, "enabled": True, "active": False},
            "absent.service": {"there": False, "enabled": False, "active": False},
        },
        "kept": {"paths": [str(PROGRAM)], "users": ["root"]},
    }
    assert record.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in record.parent.iterdir()] == ["before.json"]
