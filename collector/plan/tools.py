"""What the load tools say of a planned load, so that a plan never holds what a tool refuses."""

from __future__ import annotations

from typing import Final

from collector.parse import TOOLS, Load
from collector.plan.experiment import LoadEntry

# Stand-ins for what is known only when the topology is up; no tool's refusal depends on them.
_URL: Final = "http://192.0.2.1/"
_DURATION_S: Final = 1.0
_TIMEOUT_S: Final = 1.0


def known_tools() -> tuple[str, ...]:
    """Names of the registered load tools."""
    return tuple(TOOLS)


def refusals(entry: LoadEntry) -> list[str]:
    """Why the tool cannot make this load, each reason once; empty where it can.

    An unknown tool says nothing, and neither does one whose connections do not divide among its
    threads: other rules do.
    """
    tool = TOOLS.get(entry.tool)
    reasons: dict[str, None] = {}
    for concurrency in entry.concurrency:
        if tool is None or concurrency % entry.threads:
            continue
        load = Load(
            url=None if tool.capabilities.inside else _URL,
            concurrency=concurrency,
            threads=entry.threads,
            duration_s=_DURATION_S if entry.requests is None else None,
            requests=entry.requests,
            keepalive=entry.keepalive is not False,
            timeout_s=_TIMEOUT_S,
        )
        try:
            tool.arguments(load)
        except ValueError as error:
            reasons[str(error)] = None
    return list(reasons)
