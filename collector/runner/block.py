"""Executes one block on a load host: every run in the plan's order, written as it ends."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from collector.blockfile import BlockWriter
from collector.runner.invoke import invoke
from collector.runner.link import Link

OF_WARMUP: Final = ("argv", "exit_code", "started_monotonic_ns", "ended_monotonic_ns")
# What the engine saw of a deployment whose arm is about it.
OF_DEPLOYMENT: Final = ("scaled", "spans")


def ask_for_snapshots(link: Link, run: str, when: str) -> dict[str, Any]:
    """Ask the controller for every host's snapshot, at this moment of this run."""
    link.send({"event": "snapshot", "run": run, "when": when})
    while True:
        answer = link.receive()
        if answer.get("do") == "snapshots" and answer.get("run") == run:
            return dict(answer["snapshots"])


def trace(
    link: Link, run: Mapping[str, Any], library: Path, folder: Path, name: str
) -> dict[str, Any]:
    """Load the deployment once more while the controller has its system calls counted.

    ``{"measure": ..., "calls": {task: {system call: number}}}``, or ``{"error": reason}``.
    """
    link.send({"event": "trace", "run": run["run"], "when": "begin"})
    if "error" in (said := _told(link, run["run"])):
        return said
    measure = invoke(link, run["traced"], library, folder, name)
    link.send({"event": "trace", "run": run["run"], "when": "end"})
    return {"measure": measure, **_told(link, run["run"])}


def _told(link: Link, run: str) -> dict[str, Any]:
    while True:
        answer = link.receive()
        if answer.get("do") == "traced" and answer.get("run") == run:
            return dict(answer["said"])


def execute(link: Link, order: Mapping[str, Any], folder: Path, library: Path) -> dict[str, Any]:
    """Run the block and return ``{"name", "bytes"}`` of the sealed file.

    ``order``: ``name`` (b0001-a1), ``header`` (the file's first line) and ``runs``, each with its
    slot (run, position, arm, copy), the invocation ``measure``, before it ``warmup`` unless the
    tool has its own, and ``traced`` where system calls are to be counted, after everything else and
    apart from it.
    """
    name = order["name"]
    for rest in folder.glob(f"{name}.*"):
        rest.unlink()
    with BlockWriter(folder, name, order["header"]) as writer:
        for run in order["runs"]:
            began_ns = time.monotonic_ns()
            body = {key: run[key] for key in ("run", "position", "arm", "copy")}
            if "warmup" in run:
                link.send({"event": "run", "run": run["run"], "state": "warmup"})
                warmup = invoke(link, run["warmup"], library, folder, name)
                body["warmup"] = {key: warmup[key] for key in OF_WARMUP}
            before = ask_for_snapshots(link, run["run"], "before")
            measure = invoke(link, run["measure"], library, folder, name)
            after = ask_for_snapshots(link, run["run"], "after")
            body |= {
                "measure": measure,
                "began_monotonic_ns": began_ns,
                "before": before,
                "after": after,
                "containers_after": after.pop("containers", {}),
                "finished_monotonic_ns": time.monotonic_ns(),
            }
            body |= {key: after.pop(key) for key in OF_DEPLOYMENT if key in after}
            if "traced" in run:
                body["traced"] = trace(link, run, library, folder, name)
            writer.run(body)
            link.send(
                {
                    "event": "run",
                    "run": run["run"],
                    "state": "done",
                    "exit_code": measure["exit_code"],
                    "stdout": measure.get("stdout", ""),
                }
            )
        sealed = writer.seal({"ended_wall_ns": time.time_ns()})
    return {"name": sealed.name, "bytes": sealed.stat().st_size}
