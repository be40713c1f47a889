"""The ledger of a chain for the page: time by length drawn, a hop's parts and steps as tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import altair as alt

from analysis.hops import METRICS, WHOLE, Hop, Slope
from analysis.report.chart import Chart, inline, to_spec
from analysis.result import Analysis

TIME, CPU = METRICS
SERIALISATION: Final = "serialisation"
PARTS: Final = ("application", SERIALISATION, "transport")


@dataclass(frozen=True, slots=True)
class Ledger:
    """One place's table: a row an arm, ready to be shown."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


def chains(analysis: Analysis) -> list[Chart]:
    """Mean time of a request over the length of the chain: a chart a place."""
    drawn = []
    for cell in dict.fromkeys(hop.cell for hop in analysis.hops):
        rows = [
            {"arm": hop.arm, "services": length, "us": mean * 1e6}
            for hop in analysis.hops
            if hop.cell == cell and hop.metric == TIME
            for length, mean in zip(hop.lengths, hop.means, strict=True)
        ]
        line = (
            alt.Chart(inline(rows), height=240, width="container")
            .mark_line(strokeWidth=2, point=True)
            .encode(
                alt.X("services:Q", title="services in the chain"),
                alt.Y("us:Q", title="time of a request, us").axis(format="~s").scale(domainMin=0),
                alt.Color("arm:N", title=None, sort=analysis.arms),
                tooltip=["arm:N", "services:Q", alt.Tooltip("us:Q", format=",.0f")],
            )
        )
        title = f"Time of a request by length of the chain and arm, {cell.label}"
        drawn.append(Chart(to_spec(line), title, "Means over blocks, one connection."))
    return drawn


def ledgers(analysis: Analysis) -> list[Ledger]:
    """What a hop costs in each place: time, its parts, CPU, and what neither explains."""
    found = {(hop.cell, hop.arm, hop.metric): hop for hop in analysis.hops}
    columns = ("time", *PARTS, f"{SERIALISATION}'s share", "CPU", "time less CPU", "off")
    return [
        Ledger(
            cell.label,
            columns,
            tuple(
                (arm, tuple(_values(time, found.get((cell, arm, CPU)))))
                for arm in analysis.arms
                if (time := found.get((cell, arm, TIME))) is not None
            ),
        )
        for cell in dict.fromkeys(hop.cell for hop in analysis.hops)
    ]


def steps(analysis: Analysis) -> list[Ledger]:
    """What one more service takes from each length to the next, in each place."""
    times = [hop for hop in analysis.hops if hop.metric == TIME]
    found = []
    for cell in dict.fromkeys(hop.cell for hop in times):
        own = {hop.arm: hop.steps for hop in times if hop.cell == cell}
        taken = sorted({step for each in own.values() for step in each})
        columns = tuple(f"{short} to {long}" for short, long in taken)
        rows = tuple(
            (arm, tuple(_text(own[arm].get(step)) for step in taken))
            for arm in analysis.arms
            if arm in own
        )
        found.append(Ledger(cell.label, columns, rows))
    return [one for one in found if one.columns]


def _values(time: Hop, cpu: Hop | None) -> Iterator[str]:
    yield _text(time.parts.get(WHOLE))
    for name in PARTS:
        yield _text(time.parts.get(name))
    share = time.share(SERIALISATION)
    yield "none" if share is None else f"{100 * share:.0f} %"
    yield _text(cpu.parts.get(WHOLE) if cpu else None)
    yield f"{1e6 * (time.parts[WHOLE].value - cpu.parts[WHOLE].value):,.0f}" if cpu else "none"
    yield f"{100 * time.off:.0f} %"


def _text(slope: Slope | None) -> str:
    if slope is None:
        return "none"
    value, low, high = (1e6 * one for one in (slope.value, slope.low, slope.high))
    return f"{value:,.0f} [{low:,.0f}, {high:,.0f}]"
