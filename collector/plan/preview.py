"""A plan for a person: hosts, arms, cells, size, time, what it can detect, and what to know."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from collector.plan.estimate import (
    ASSUMED_RPS,
    DEPLOYMENT_S,
    RUN_OVERHEAD_S,
    Estimate,
    estimate,
)
from collector.plan.experiment import level_name
from collector.plan.findings import Finding
from collector.plan.history import Noise
from collector.plan.model import Load, Plan
from collector.plan.tools import warmup_s


def print_plan(plan: Plan, findings: Sequence[Finding], noise: Noise, console: Console) -> None:
    """Print a plan and its warnings. The console must take text literally (no markup)."""
    size = estimate(plan, noise.sd)
    console.print(f"{plan.experiment}: {plan.question}\n")
    console.print(_hosts(plan))
    console.print(_arms(plan))
    console.print(_cells(plan))
    for line in _lines(plan, size, noise):
        console.print(line)
    for finding in findings:
        console.print(str(finding), soft_wrap=True)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _hosts(plan: Plan) -> Table:
    table = _table("Hosts", "host", "address", "kind", "arch", "CPUs", "role")
    measured = {block.host: block.load_host for block in plan.blocks}
    for name, host in sorted(plan.hosts.items()):
        roles = [f"topology, loaded from {measured[name]}"] if name in measured else []
        roles += ["load"] if name in measured.values() else []
        kind = f"{host.kind}, emulated" if host.emulated else host.kind
        cpus = ", ".join(map(str, host.cpus))
        table.add_row(name, host.address, kind, host.arch, cpus, "; ".join(roles))
    return table


def _arms(plan: Plan) -> Table:
    table = _table("Arms", "arm", "job or program", "variables", "note")
    for name, arm in plan.arms.items():
        notes = ["baseline, runs twice (A/A)"] if name == plan.baseline else []
        notes += [f"also differs: {arm.also_differs}"] if arm.also_differs else []
        variables = (f"{key}={level_name(value)}" for key, value in sorted(arm.variables.items()))
        made_of = arm.job or " ".join(arm.program)
        table.add_row(name, made_of, "\n".join(variables), "; ".join(notes))
    return table


def _cells(plan: Plan) -> Table:
    table = _table("Cells", "host", "variant", "load", "blocks")
    counts: dict[tuple[str, str, Load], int] = {}
    for block in plan.blocks:
        cell = (block.host, block.variant, block.load)
        counts[cell] = counts.get(cell, 0) + (block.tranche == 1)
    for cell in sorted(counts, key=_cell_order):
        host, variant, load = cell
        table.add_row(host, variant or "-", load_text(load), str(counts[cell]))
    return table


def _cell_order(cell: tuple[str, str, Load]) -> tuple[str, str, str, int, int]:
    host, variant, load = cell
    return host, variant, load.tool, load.concurrency, load.rate_rps or 0


def load_text(load: Load) -> str:
    """A load in words: ``wrk, 16 connections, 1 thread, connections kept``."""
    parts = [load.tool, _count(load.concurrency, "connection"), _count(load.threads, "thread")]
    if load.rate_rps is not None:
        share = f" ({load.offered})" if "peak" in load.offered else ""
        parts.append(f"{load.rate_rps} requests/s{share}")
    if load.requests is not None:
        parts.append(_count(load.requests, "request"))
    parts.append("connections kept" if load.keepalive else "a connection a request")
    return ", ".join(parts)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _percent(effect: float | None) -> str:
    return "nothing (fewer than 2 blocks a cell)" if effect is None else f"{100 * effect:.1f} %"


def _warmup(plan: Plan) -> str:
    spent = {warmup_s(plan.profile, block.load) for block in plan.blocks}
    return f"{max(spent):g} s warm-up and " if any(spent) else ""


def _lines(plan: Plan, size: Estimate, noise: Noise) -> list[str]:
    profile = plan.profile
    lines = [
        f"Contrasts: {', '.join(f'{arm} / {base}' for arm, base in plan.contrasts)}",
        f"Profile: {profile.name}, {_warmup(plan)}{profile.measure_s:g} s measured a run",
        f"Size: {_count(size.hosts, 'host')}, {_count(size.cells, 'cell')}, "
        f"{_count(size.blocks, 'block')}, {_count(size.runs, 'run')}, "
        f"about {size.minutes:.0f} minutes (assumed: {RUN_OVERHEAD_S:g} s a run and "
        f"{DEPLOYMENT_S:g} s a block beside the load; {ASSUMED_RPS:g} requests/s where requests "
        "are counted)",
        f"Detectable effect: {_percent(size.detectable)} a cell, as often as not, the margin "
        f"included; to know a ratio to 2 %: {_count(size.to_know, 'block')} a cell (noise of "
        f"{100 * noise.sd:.1f} % a paired ratio, {noise.source})",
    ]
    if size.blocks_cap > size.blocks:
        lines.append(
            f"Up to the cap: {_count(size.blocks_cap, 'block')}, {_count(size.runs_cap, 'run')}, "
            f"about {size.seconds_cap / 60:.0f} minutes, {_percent(size.detectable_cap)} detectable"
        )
    return lines
