"""Charts of what was measured, one cell each: the primary metric, latency, CPU per request."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Final

import altair as alt
import pandas as pd

from analysis.contrast import Cell
from analysis.cpu import APART, IDLE, LOAD_TASK, UNATTRIBUTED
from analysis.metric import PRIMARY, primary_of, words_of
from analysis.report.chart import Chart, height_of, in_cell, inline, to_spec
from analysis.result import Analysis

QUANTILE_MARKS: Final = (0.5, 0.9, 0.99, 0.999, 0.9999)


def strip(analysis: Analysis, cell: Cell) -> Chart:
    """Every block's primary metric by arm, with median and order-statistic interval."""
    metric = primary_of(cell.tool)
    runs = in_cell(analysis.runs, cell)
    shown = runs[runs[metric.name].notna()]
    points: list[dict[str, Any]] = [
        {
            "arm": _copy_label(str(row.arm), str(row.copy)),
            "value": float(value) * metric.scale,
            "block": int(row.block),
            "position": int(row.position),
        }
        for row, value in zip(shown.itertuples(), shown[metric.name], strict=True)
    ]
    medians = analysis.medians
    own = medians[(medians["cell"] == cell) & (medians["metric"] == metric.name)]
    middle = [
        {
            "arm": _copy_label(str(row.arm), str(row.copy)),
            "median": row.median * metric.scale,
            "low": None if pd.isna(row.low) else row.low * metric.scale,
            "high": None if pd.isna(row.high) else row.high * metric.scale,
            "n": int(row.n),
        }
        for row in own.itertuples()
    ]
    y = alt.Y(
        "arm:N",
        title=None,
        sort=[_copy_label(arm, copy) for arm in analysis.arms for copy in ("a", "b")],
    )
    x = alt.X("value:Q", title=metric.unit, scale=alt.Scale(zero=False), axis=alt.Axis(format=",d"))
    dots = (
        alt.Chart(inline(points), height=height_of(len(middle)), width="container")
        .mark_circle(size=58, opacity=0.75)
        .encode(
            x, y, tooltip=["arm:N", alt.Tooltip("value:Q", format=",.0f"), "block:Q", "position:Q"]
        )
    )
    summary = alt.Chart(inline(middle))
    line = summary.mark_rule(strokeWidth=1.5, opacity=0.5).encode(
        alt.X("low:Q"), alt.X2("high:Q"), y
    )
    tick = summary.mark_tick(thickness=3, size=22).encode(
        alt.X("median:Q"), y, tooltip=["arm:N", alt.Tooltip("median:Q", format=",.0f"), "n:Q"]
    )
    return Chart(
        to_spec(alt.layer(line, dots, tick)),
        f"{metric.label.capitalize()} of every block by arm, {cell.label}",
        "Dot: one run. Tick: median. Line: order-statistic 95 % interval of the median (none below "
        "6 runs). Comparisons are made within blocks, so overlap here is no verdict.",
    )


def _copy_label(arm: str, copy: str) -> str:
    return arm if copy == "a" else f"{arm} (A/A copy)"


def curves(frame: pd.DataFrame, cell: Cell, arms: Sequence[str]) -> Chart | None:
    """Latency by quantile and arm; None where the tool recorded no histogram."""
    own = in_cell(frame, cell)
    if own.empty:
        return None
    rows = [
        {
            "arm": str(row.arm),
            "at": -math.log10(1 - row.quantile),
            "quantile": row.quantile,
            "us": row.latency_s * 1e6,
            "low": row.lowest_s * 1e6,
            "high": row.highest_s * 1e6,
        }
        for row in own.itertuples()
    ]
    marks = [-math.log10(1 - q) for q in QUANTILE_MARKS if q <= own["quantile"].max() + 1e-9]
    # 1 - 10^-x turns the axis back into a percentile; rounding hides the floating point.
    label = "format(100 * (1 - pow(10, -datum.value)), '~r') + ' %'"
    x = alt.X(
        "at:Q",
        title=f"percentile of {words_of(cell.tool).work}s",
        axis=alt.Axis(values=marks, labelExpr=label),
    )
    scale = alt.Scale(type="log", nice=False)
    y = alt.Y("us:Q", title="latency, us", scale=scale, axis=alt.Axis(format="~s", tickCount=6))
    legend = alt.Legend(symbolType="stroke", symbolOpacity=1, symbolStrokeWidth=3)
    colour = alt.Color("arm:N", title=None, sort=list(arms), legend=legend)
    base = alt.Chart(inline(rows), height=270, width="container")
    band = base.mark_area(opacity=0.15).encode(
        x, alt.Y("low:Q", scale=scale), alt.Y2("high:Q"), colour
    )
    line = base.mark_line(strokeWidth=2).encode(
        x,
        y,
        colour,
        alt.StrokeDash("arm:N", sort=list(arms), legend=None),
        tooltip=[
            "arm:N",
            alt.Tooltip("quantile:Q", format=".2%"),
            alt.Tooltip("us:Q", format=",.0f"),
        ],
    )
    return Chart(
        to_spec(alt.layer(band, line)),
        f"Latency by percentile and arm, {cell.label}",
        "Each deployment's histograms are merged and its quantiles taken; line: median over "
        "deployments, band: smallest to largest. Percentiles of runs are never averaged. "
        "The scale widens towards the tail. A quantile q is drawn from "
        "100 / (1 - q) samples in every deployment."
        + (" From the sending of each request, not from its schedule." if cell.offered else ""),
    )


def failures(analysis: Analysis) -> Chart | None:
    """Failed share of every cell and arm, stacked by kind; None where nothing was asked of it."""
    if not analysis.failures:
        return None
    rows = [
        {
            "where": f"{one.cell.label}: {one.arm}",
            "kind": kind,
            "share": share,
            "n": one.n,
        }
        for one in analysis.failures
        for kind, share in (one.kinds or {"none": 0.0}).items()
    ]
    order = [f"{one.cell.label}: {one.arm}" for one in analysis.failures]
    chart = (
        alt.Chart(inline(rows), height=height_of(len(order)), width="container")
        .mark_bar(size=22)
        .encode(
            alt.X("share:Q", title="share of what was asked for", stack="zero")
            .axis(format=".0%")
            .scale(domainMin=0),
            alt.Y("where:N", title=None, sort=order).axis(labelLimit=320),
            alt.Color("kind:N", title=None),
            tooltip=["where:N", "kind:N", alt.Tooltip("share:Q", format=".2%"), "n:Q"],
        )
    )
    return Chart(
        to_spec(chart),
        "What callers saw fail, by cell and arm",
        "Medians over blocks of the share of requests that failed, by what a caller saw.",
    )


def knees(analysis: Analysis) -> list[Chart]:
    """Throughput over concurrency by arm: a chart for each place where a knee was looked for."""
    drawn = []
    places = {dataclasses.replace(one.cell, concurrency=0): one.cell for one in analysis.knees}
    for place in places:
        cells = [
            cell for cell in analysis.cells if dataclasses.replace(cell, concurrency=0) == place
        ]
        medians = analysis.medians[analysis.medians["cell"].isin(cells)]
        rows = [
            {"arm": str(row.arm), "connections": row.cell.concurrency, "rps": float(row.median)}
            for row in medians.itertuples()
            if row.metric == PRIMARY and row.copy == "a"
        ]
        where = ", ".join(filter(None, (place.where, place.tool, place.variant)))
        line = (
            alt.Chart(inline(rows), height=240, width="container")
            .mark_line(strokeWidth=2, point=True)
            .encode(
                alt.X("connections:Q", title="connections").scale(type="log", base=2),
                alt.Y("rps:Q", title=f"{words_of(place.tool).work}s/s")
                .axis(format="~s")
                .scale(domainMin=0),
                alt.Color("arm:N", title=None, sort=analysis.arms),
                tooltip=["arm:N", "connections:Q", alt.Tooltip("rps:Q", format=",.0f")],
            )
        )
        title = f"Throughput by connections and arm, {where}"
        drawn.append(Chart(to_spec(line), title, "Medians over blocks."))
    return drawn


def cpu(frame: pd.DataFrame, cell: Cell, arms: Sequence[str]) -> Chart | None:
    """CPU per unit of work by arm, stacked by container; None where no host gave its counters."""
    own = in_cell(frame, cell)
    own = own[~own["part"].isin(APART)]
    if own.empty:
        return None
    per, inside = words_of(cell.tool).cpu_per, LOAD_TASK in set(own["part"])
    names = sorted(set(own["part"]) - {IDLE, UNATTRIBUTED})
    order = [*names, *(name for name in (IDLE, UNATTRIBUTED) if name in set(own["part"]))]
    rows = [
        {
            "arm": str(row.arm),
            "part": str(row.part),
            "us": float(row.cpu_s) * 1e6,
            "order": order.index(row.part),
            "n": int(row.n),
        }
        for row in own.itertuples()
    ]
    chart = (
        alt.Chart(inline(rows), height=height_of(own["arm"].nunique()), width="container")
        .mark_bar(size=22)
        .encode(
            alt.X("us:Q", title=f"CPU per {per}, us", stack="zero"),
            alt.Y("arm:N", title=None, sort=list(arms)),
            alt.Color("part:N", title=None, sort=order),
            order=alt.Order("order:Q"),
            tooltip=["arm:N", "part:N", alt.Tooltip("us:Q", format=",.2f"), "n:Q"],
        )
    )
    return Chart(
        to_spec(chart),
        f"CPU per {per} by arm and container, {cell.label}",
        f"Medians over blocks of each container's CPU per {per}. Unattributed: the hosts' CPU less "
        "every container's (soft interrupts and the like). Idle arms: deployments that waited. "
        + (
            "The load is made inside, by the container load; the total of the containers is "
            "without it."
            if inside
            else "The load generator is on another host and stands apart, in the table."
        ),
    )
