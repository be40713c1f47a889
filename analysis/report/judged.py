"""Charts of what was concluded: contrasts with their margins, A/A pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import altair as alt

from analysis.change import percent
from analysis.metric import Metric
from analysis.noise import LEAST_MARGIN
from analysis.report.chart import BAND, Chart, height_of, inline, to_spec
from analysis.result import TwinResult
from analysis.verdict import Verdict
from analysis.wording import direction

BREAK: Final = "\n"  # between the lines of an axis label
LINE_PX: Final = 14
WORDS: Final = ("better", "worse", "equivalent", "inconclusive")


def forest(verdicts: Sequence[Verdict], metric: Metric, several_cells: bool) -> Chart:
    """Ratio with its 95 % interval per contrast, over the margin's band."""
    rows: list[dict[str, Any]] = [
        {
            "row": _row_label(v, several_cells),
            "change": v.ratio - 1,
            "low": None if v.low is None else v.low - 1,
            "high": None if v.high is None else v.high - 1,
            "margin_low": 1 / (1 + v.margin) - 1,
            "margin_high": v.margin,
            "verdict": direction(v, metric),
            "effect": percent(v.ratio),
            "n": v.n,
        }
        for v in verdicts
        if v.ratio is not None
    ]
    data = inline(rows)
    order = [row["row"] for row in rows]
    lines = alt.Axis(
        labelExpr="split(datum.label, '\\n')",
        labelOffset=LINE_PX / -2 if several_cells else 0,
        labelLineHeight=LINE_PX,
    )
    y = alt.Y("row:N", title=None, sort=order, axis=lines)
    axis = alt.Axis(format="+.0%", title=f"change in {metric.label}")
    base = alt.Chart(data, height=height_of(len(rows)), width="container")
    band = base.mark_bar(opacity=0.22, size=22, tooltip=None, color=BAND).encode(
        alt.X("margin_low:Q", axis=axis, scale=alt.Scale(zero=True)), alt.X2("margin_high:Q"), y
    )
    zero = alt.Chart(inline([{"at": 0}])).mark_rule(strokeDash=[3, 3]).encode(x="at:Q")
    colour = alt.Color(
        "verdict:N", scale=alt.Scale(domain=list(WORDS), range="ordinal"), title=None
    )
    line = base.mark_rule(strokeWidth=2.5).encode(alt.X("low:Q"), alt.X2("high:Q"), y, colour)
    shape = alt.Shape(
        "verdict:N",
        scale=alt.Scale(
            domain=list(WORDS), range=["triangle-right", "triangle-left", "square", "circle"]
        ),
        title=None,
    )
    point = base.mark_point(size=110, filled=True, opacity=1).encode(
        alt.X("change:Q"),
        y,
        colour,
        shape,
        tooltip=[
            alt.Tooltip("row:N", title="contrast"),
            alt.Tooltip("effect:N"),
            alt.Tooltip("low:Q", format="+.1%"),
            alt.Tooltip("high:Q", format="+.1%"),
            alt.Tooltip("verdict:N"),
            alt.Tooltip("n:Q"),
        ],
    )
    better = "right" if metric.higher_is_better else "left"
    return Chart(
        to_spec(alt.layer(band, zero, line, point)),
        f"Change of {metric.label} against the baseline with 95 % intervals, one row a contrast",
        f"Point: Hodges-Lehmann ratio of {metric.label}. Line: exact 95 % interval. Grey band: the "
        f"margin within which a difference means nothing. Better is to the {better}.",
    )


def _row_label(verdict: Verdict, several_cells: bool) -> str:
    name = f"{verdict.arm} / {verdict.baseline}"
    return f"{name}{BREAK}{verdict.cell.label}" if several_cells else name


def twins(gates: Sequence[TwinResult]) -> Chart | None:
    """A/A pairs of the primary metric by cell; None where no pair was good."""
    rows = [
        {"cell": gate.twin.cell.label, "change": math.expm1(float(unit)), "pair": number}
        for gate in gates
        for number, unit in enumerate(gate.twin.pairs.units, start=1)
    ]
    if not rows:
        return None
    y = alt.Y("cell:N", title=None, sort=None)
    axis = alt.Axis(format="+.1%", title="second copy of the baseline against the first")
    edges = [
        {
            "cell": gate.twin.cell.label,
            "low": 1 / (1 + margin) - 1,
            "high": margin,
            "is": name,
        }
        for gate in gates
        for name, margin in (("margin", gate.margin), ("gate", LEAST_MARGIN))
    ]
    medians = [
        {"cell": g.twin.cell.label, "change": g.verdict.ratio - 1}
        for g in gates
        if g.verdict.ratio is not None
    ]
    band = (
        alt.Chart(inline(edges), height=height_of(len(gates), 1) + 10, width="container")
        .mark_bar(opacity=0.2, size=24, color=BAND, tooltip=None)
        .encode(alt.X("low:Q", axis=axis), alt.X2("high:Q"), y)
    )
    dots = alt.Chart(inline(rows)).mark_circle(size=46, opacity=0.6)
    tick = alt.Chart(inline(medians)).mark_tick(thickness=3, size=24)
    tip = ["cell:N", alt.Tooltip("change:Q", format="+.2%"), "pair:Q"]
    return Chart(
        to_spec(
            alt.layer(
                band,
                dots.encode(alt.X("change:Q"), y, tooltip=tip),
                tick.encode(alt.X("change:Q"), y),
            )
        ),
        "Change between two identical deployments of the baseline, by cell",
        "Dot: one pair of identical deployments. Tick: their Hodges-Lehmann ratio. Darker band: "
        "the fixed 2 % of the gate; lighter band: the margin used for verdicts here.",
    )
