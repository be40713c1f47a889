"""Write down what a machine was before the lab. Standard library; runs on the host as root.

Argument, JSON: {"record": path to write, "lab": id, "sysctls": [names], "units": [names],
"paths": [...], "users": [...]}. The record, JSON, mode 0600: values of sysctls (null: the kernel
has none), of each unit whether it was there, enabled, active, Docker's configuration (null: none;
else its text, mode, uid and gid), and which of the paths and users were there. It is written whole
or not at all.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

DOCKER = Path("/etc/docker/daemon.json")


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None


def _file(path: Path) -> dict[str, Any] | None:
    text = _text(path)
    if text is None:
        return None
    found = path.stat()
    mode = f"{found.st_mode & 0o7777:04o}"
    return {"text": text, "mode": mode, "uid": found.st_uid, "gid": found.st_gid}


def _says(*argv: str) -> bool:
    return subprocess.run(["systemctl", *argv], capture_output=True, check=False).returncode == 0


def _sysctl(name: str) -> str | None:
    value = _text(Path("/proc/sys", *name.split(".")))
    return None if value is None else value.strip()


def _before(asked: dict[str, Any]) -> dict[str, Any]:
    users = {line.partition(":")[0] for line in Path("/etc/passwd").read_text().splitlines()}
    return {
        "schema": 1,
        "lab": asked["lab"],
        "sysctls": {name: _sysctl(name) for name in asked["sysctls"]},
        "units": {
            unit: {
                "there": _says("cat", unit),
                "enabled": _says("is-enabled", unit),
                "active": _says("is-active", unit),
            }
            for unit in asked["units"]
        },
        "daemon_json": _file(DOCKER),
        "kept": {
            "paths": [path for path in asked["paths"] if os.path.lexists(path)],
            "users": [user for user in asked["users"] if user in users],
        },
    }


def _main() -> None:
    asked = json.loads(sys.argv[1])
    record = Path(asked["record"])
    record.parent.mkdir(mode=0o755, exist_ok=True)
    new = record.with_suffix(".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
        json.dump(_before(asked), stream, indent=1)
        os.fsync(stream.fileno())
    new.rename(record)


if __name__ == "__main__":
    _main()
