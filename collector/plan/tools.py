"""What the load tools say of a planned load, so that a plan never holds what a tool refuses."""

from __future__ import annotations

from typing import Final

from collector.parse import TOOLS
from collector.parse import Load as ToolLoad
from collector.plan.experiment import LoadEntry
from collector.plan.model import Load, Profile

# Stand-ins for what is known only when the topology is up; no tool's refusal depends on them.
_URL: Final = "http://192.0.2.1/"
_DURATION_S: Final = 1.0
_TIMEOUT_S: Final = 1.0


def known_tools() -> tuple[str, ...]:
    """Names of the registered load tools."""
    return tuple(TOOLS)


def loads_of(entry: LoadEntry, peak_rps: float | None = None) -> list[Load]:
    """One load a concurrency and rate, in the file's order; keepalive is on unless stated.

    ``peak_rps`` is what an open loop's shares are of; a request/s a connection where it is None.
    """
    return [
        Load(
            tool=entry.tool,
            concurrency=concurrency,
            threads=entry.threads,
            requests=entry.requests,
            keepalive=entry.keepalive is not False,
            rate_rps=rate,
            offered=offered,
        )
        for concurrency in entry.concurrency
        for rate, offered in _rates(entry, concurrency, peak_rps)
    ]


def _rates(
    entry: LoadEntry, concurrency: int, peak_rps: float | None
) -> list[tuple[int | None, str]]:
    if entry.of_peak is not None:
        return [
            (
                concurrency if peak_rps is None else max(1, round(share * peak_rps)),
                f"{100 * share:g} % of peak",
            )
            for share in entry.of_peak.shares
        ]
    if entry.rate_rps is not None:
        return [(rate, f"{rate}/s") for rate in entry.rate_rps]
    return [(None, "")]


def warmup_s(profile: Profile, load: Load) -> float:
    """Seconds of warm-up before a run; none for a tool that has its own within its time."""
    return 0.0 if TOOLS[load.tool].capabilities.warms_up else profile.warmup_s


def refusal(load: Load) -> str | None:
    """Why the tool cannot make this load; None where it can, and for a tool that is not known."""
    tool = TOOLS.get(load.tool)
    if tool is None:
        return None
    asked = ToolLoad(
        url=None if tool.capabilities.inside else _URL,
        concurrency=load.concurrency,
        threads=load.threads,
        duration_s=_DURATION_S if load.requests is None else None,
        requests=load.requests,
        keepalive=load.keepalive,
        timeout_s=_TIMEOUT_S,
        rate_rps=load.rate_rps,
    )
    try:
        tool.arguments(asked)
    except ValueError as error:
        return str(error)
    return None


def refusals(entry: LoadEntry) -> list[str]:
    """Why the tool cannot make this entry's loads, each reason once; empty where it can.

    One whose connections do not divide among its threads says nothing: another rule does.
    """
    asked = (load for load in loads_of(entry) if load.concurrency % load.threads == 0)
    return list(dict.fromkeys(filter(None, map(refusal, asked))))
