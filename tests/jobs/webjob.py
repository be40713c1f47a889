"""``jobs/web.nomad.hcl`` with test images, rendered."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, Final

import nomadjob
from nomadjob import ROOT, options, run_nomad

__all__ = ["ROOT", "options", "run_nomad"]

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
NULL: Final = "proxy-alone"  # no application behind it
GROWING: Final = "tcp-discovered"  # the application in a group of its own
INSTANCES: Final = (1, 2, 4)
IMAGES: Final = nomadjob.images("proxy", "app", "combined")


def attempt(*files: Path, **variables: object) -> subprocess.CompletedProcess[str]:
    """Parse the job with these var-files and variables, and nothing else."""
    return nomadjob.attempt(JOB, files, variables)


def render(**variables: object) -> dict[str, Any]:
    """The job with test images and these variables, as Nomad would register it."""
    return nomadjob.render(JOB, {**IMAGES, **variables})


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
