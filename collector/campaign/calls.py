"""System calls of a deployment, counted while a run of its own loads it.

The tracer slows what it counts many times over, so such a run gives no figure but the number of its
requests, and comes after everything that does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from collector.campaign.errors import BlockFailed
from collector.campaign.remote import Remote

TRACED_S: Final = 2.0


def begin(containers: Mapping[str, Mapping[str, Any]], observers: Mapping[str, Remote]) -> Any:
    """Start to count on every host of a deployment; ``{}``, or ``{"error": reason}``.

    ``containers``: task to its ``host`` and ``id``, as bound.
    """
    try:
        for host, tasks in _by_host(containers).items():
            observers[host].ask("trace", containers=sorted(tasks))
    except BlockFailed as error:
        end(containers, observers)
        return {"error": str(error)}
    return {}


def end(containers: Mapping[str, Mapping[str, Any]], observers: Mapping[str, Remote]) -> Any:
    """Stop to count; ``{"calls": {task: {system call: number}}}``, or ``{"error": reason}``."""
    calls, problems = {}, []
    for host, tasks in _by_host(containers).items():
        try:
            counted = observers[host].ask("traced")["calls"]
        except BlockFailed as error:
            problems.append(str(error))
        else:
            calls.update({task: counted[one] for one, task in tasks.items()})
    return {"error": "; ".join(problems)} if problems else {"calls": calls}


def _by_host(containers: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for task, one in containers.items():
        found.setdefault(one["host"], {})[one["id"]] = task
    return found
