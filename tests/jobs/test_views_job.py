"""``jobs/views.nomad.hcl``: a known use of memory, and what free and ps read of it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, Final

import nomadjob
from nomadjob import ROOT

JOB: Final = ROOT / "jobs" / "views.nomad.hcl"


def task(**variables: object) -> dict[str, Any]:
    job = nomadjob.render(JOB, {**nomadjob.images("app"), **variables})
    (found,) = job["TaskGroups"][0]["Tasks"]
    return dict(found)


def test_it_has_the_limit_and_holds_what_is_asked_for() -> None:
    found = task(memory_mb=200, held_mb=64)
    scripts = {one["DestPath"]: one["EmbeddedTmpl"] for one in found["Templates"]}
    assert found["Resources"]["MemoryMB"] == 200
    assert "size = 64 << 20" in scripts["local/holds"]
    assert found["Config"]["network_mode"] == "none"


def test_the_view_is_that_of_free_and_ps() -> None:
    (view,) = [
        one["EmbeddedTmpl"] for one in task()["Templates"] if one["DestPath"] == "local/load"
    ]
    said = json.loads(subprocess.check_output([sys.executable, "-I", "-c", view], text=True))
    assert said.keys() == {"total", "used", "processes", "resident"}
    assert 0 < said["used"] < said["total"]
    assert said["processes"] > 1
    assert said["resident"] > 1 << 20
