"""A live view of who uses what, host by host and container by container: ``make top``.

It looks through observers of its own, the same program that a campaign's are, every two seconds;
it takes no lock and changes nothing. Which containers there are the engine has to be asked, which
costs more than to read counters, so that is done when an allocation came or went, and now and then:
the tasks of one start one after the other.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Annotated, Any, Final

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from collector.campaign.cluster import Cluster
from collector.campaign.errors import INTERRUPTED, CampaignError, NotReadyError
from collector.campaign.program import pack_runner
from collector.campaign.remote import Remote, ask_all, connect, push
from collector.daily import LOCAL, InventoryPath, coded
from collector.plan.inventory import Inventory, load_inventory

PERIOD_S: Final = 2.0
MIB: Final = 1 << 20
LIST_EACH: Final = 5  # looks, at the least
HEAD_LINES: Final = 6  # of the screen, beside the rows
PIPED: Final = 160  # columns where nobody looks: nothing is cut
OF_ENGINE: Final = re.compile(r"sl-.*-b\d+-a\d+-(.+)-([ab])")
Snapshots = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class HostUse:
    """Shares of a host's CPUs over a period, None where the kernel did not say."""

    host: str
    cpus: int
    busy: float | None
    softirq: float | None
    steal: float | None


@dataclass(frozen=True, slots=True)
class Use:
    """One container over a period. ``cpu`` and ``throttled`` in cores, memory in bytes."""

    host: str
    job: str
    task: str
    cpu: float | None
    throttled: float | None
    switches_per_s: float | None
    connections_per_s: float | None
    memory: int | None
    cache: int | None


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("top")(coded(top))


def top(
    inventory: InventoryPath = LOCAL,
    *,
    once: Annotated[bool, typer.Option("--once", help="One look, then end.")] = False,
) -> None:
    """Show live what every host and container of the lab uses; end it with Ctrl-C."""
    hosts = load_inventory(inventory)
    console = Console(markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = PIPED
    try:
        with ExitStack() as stack:
            remotes, missing = _observers(hosts, stack)
            looks = _looks(remotes, Cluster(hosts.lab_state))
            if once:
                console.print(_screen(*next(looks), missing, None))
                return
            with Live(console=console, screen=console.is_terminal, auto_refresh=False) as live:
                for uses, containers in looks:
                    room = console.height - HEAD_LINES - len(uses) if console.is_terminal else None
                    live.update(_screen(uses, containers, missing, room), refresh=True)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def _observers(hosts: Inventory, stack: ExitStack) -> tuple[list[Remote], list[str]]:
    """Reach every host; and say why one could not be."""
    program, digest = pack_runner()
    remotes, missing = [], []
    for name, host in sorted(hosts.hosts.items()):
        try:
            connection = connect(host, hosts.lab_state / "ssh")
            stack.callback(connection.close)
            remote = Remote(host, connection, push(connection, program, digest))
            stack.callback(remote.close)
            remotes.append(remote)
        except CampaignError as error:
            missing.append(f"{name}: {error}")
    if not remotes:
        raise NotReadyError("\n".join(missing) or "the inventory has no hosts")
    return remotes, missing


def _looks(remotes: list[Remote], cluster: Cluster) -> Iterator[tuple[list[HostUse], list[Use]]]:
    """What was used since the last look, for as long as it is asked for."""
    before: Snapshots = {}
    listed: dict[str, str] = {}
    named: dict[tuple[str, str], tuple[str, str]] = {}
    for look in itertools.count():
        jobs = cluster.running_jobs()
        if jobs != listed or look % LIST_EACH == 0:
            answers = ask_all(remotes, "containers", allocations=sorted(jobs))
            named = {
                (host, one["id"]): (jobs[one["allocation"]], one["task"])
                for host, answer in answers.items()
                for one in answer["containers"]
            }
            listed = jobs
        now = {host: one["snapshot"] for host, one in ask_all(remotes, "snapshot").items()}
        if before:
            yield hosts_used(before, now), containers_used(before, now, named)
        before = now
        time.sleep(PERIOD_S)


def hosts_used(before: Snapshots, now: Snapshots) -> list[HostUse]:
    """What the CPUs of each host did between two looks."""
    found = []
    for host, after in sorted(now.items()):
        ticks = [0] * 8
        for cpu, last in after["cpu"].items():
            first = before.get(host, {}).get("cpu", {}).get(cpu)
            for index, value in enumerate(last if first else ()):
                ticks[index] += value - first[index]
        total = sum(ticks)
        idle, softirq, steal = ticks[3] + ticks[4], ticks[6], ticks[7]
        parts = (total - idle - steal, softirq, steal)
        busy, softirq_share, stolen = (part / total if total else None for part in parts)
        found.append(HostUse(host, len(after["cpu"]), busy, softirq_share, stolen))
    return found


def containers_used(
    before: Snapshots, now: Snapshots, named: Mapping[tuple[str, str], tuple[str, str]]
) -> list[Use]:
    """What each container used between two looks, the busiest first.

    ``named``: (host, container id) to its job and task. One that was not there at the first look
    has no use yet.
    """
    found = []
    for (host, container), (job, task) in named.items():
        last = now[host]["cgroups"].get(container, {})
        first = before.get(host, {}).get("cgroups", {}).get(container, {})
        seconds = (now[host]["monotonic_ns"] - before[host]["monotonic_ns"]) / 1e9 if first else 0.0
        opened = [
            _grown(first.get("net", {}), last.get("net", {}), name, seconds)
            for name in ("ActiveOpens", "PassiveOpens")
        ]
        known = [one for one in opened if one is not None]
        cpu, throttled = (
            _grown(first, last, name, seconds * 1e9) for name in ("cpu_ns", "throttled_ns")
        )
        found.append(
            Use(
                host=host,
                job=_short(job),
                task=task,
                cpu=cpu,
                throttled=throttled,
                switches_per_s=_grown(first, last, "context_switches", seconds),
                connections_per_s=sum(known) if known else None,
                memory=last.get("memory_bytes"),
                cache=last.get("memory_cache_bytes"),
            )
        )
    return sorted(found, key=lambda use: (-(use.cpu or 0.0), use.host, use.job, use.task))


def _grown(
    first: Mapping[str, Any], last: Mapping[str, Any], name: str, per: float
) -> float | None:
    was, now = first.get(name), last.get(name)
    return None if was is None or now is None or per <= 0 else float((now - was) / per)


def _short(job: str) -> str:
    """``tcp-loopback/a`` for an engine's job, any other by its own name."""
    found = OF_ENGINE.fullmatch(job)
    return f"{found[1]}/{found[2]}" if found else job


def _screen(
    hosts: list[HostUse], containers: list[Use], missing: list[str], room: int | None
) -> Group:
    """Both tables; of the containers as many as there is ``room`` for."""
    first = Table("host", "CPUs", "busy", "soft interrupts", "stolen", box=None)
    for one in hosts:
        shares = (one.busy, one.softirq, one.steal)
        first.add_row(one.host, str(one.cpus), *(_text(share, 100, " %") for share in shares))
    second = Table(
        "host", "deployment", "task", "cores", "throttled", "switch/s", "conn/s", "MiB", "cache",
        box=None,
    )  # fmt: skip
    shown = containers if room is None else containers[: max(1, room)]
    for use in shown:
        second.add_row(
            use.host, use.job, use.task, _text(use.cpu, 1, "", 2), _text(use.throttled, 1, "", 2),
            _text(use.switches_per_s, 1, ""), _text(use.connections_per_s, 1, ""),
            _text(use.memory, 1 / MIB, ""), _text(use.cache, 1 / MIB, ""),
        )  # fmt: skip
    rest = len(containers) - len(shown)
    more = [Text(f"and {rest} more")] if rest else []
    return Group(first, Text(""), second, *more, *map(Text, missing))


def _text(value: float | None, scale: float, unit: str, digits: int = 0) -> str:
    return "not known" if value is None else f"{value * scale:,.{digits}f}{unit}"
