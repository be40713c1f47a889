"""The sections across hosts: what their template shows of each page, and its charts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import altair as alt

from analysis.across import REFERENCE, Page
from analysis.change import percent
from analysis.hosts import Comparison
from analysis.images import Image
from analysis.metric import Metric, answers_first, is_called
from analysis.report.chart import BAND, Chart, height_of, inline, to_spec
from analysis.report.judged import BREAK, LINE_PX
from analysis.result import Analysis

HOST: Final = "a host, 95 % interval"
SUMMARY: Final = "summary, 95 % interval"
FURTHER: Final = "a further host, 95 % prediction"
RATIO: Final = "ratio of ratios, 95 % interval"
THIN, THICK = 1.0, 2.5


@dataclass(frozen=True, slots=True)
class MetricView:
    """One metric: its comparisons, each host's ratio drawn, the ratios of ratios drawn if any.

    ``answers``: it is what some tool is asked for.
    """

    metric: Metric
    answers: bool
    comparisons: Sequence[Comparison]
    hosts: Chart | None
    ratios: Chart | None


@dataclass(frozen=True, slots=True)
class PageView:
    """One section; ``name`` begins its ids. ``images``: with the bytes beyond the reference's."""

    name: str
    page: Page
    metrics: Sequence[MetricView]
    images: Sequence[tuple[Image, int | None]]


def page_views(analysis: Analysis) -> list[PageView]:
    """A section for each page of the analysis, what answers first in each."""
    return [
        PageView(f"across-{number}", page, list(_metrics(page)), list(_against_reference(page)))
        for number, page in enumerate(analysis.across, start=1)
    ]


def _metrics(page: Page) -> Iterator[MetricView]:
    for metric, answers in answers_first(one.setting.tool for one in page.comparisons):
        own = [one for one in page.comparisons if is_called(metric, one.setting.tool, one.metric)]
        if own or answers:
            yield MetricView(metric, answers, own, _hosts(own, metric), _ratios(own, metric))


def _against_reference(page: Page) -> Iterator[tuple[Image, int | None]]:
    size = {one.name: one.bytes for one in page.images if one.arch == REFERENCE}
    for one in page.images:
        base = None if one.arch == REFERENCE else size.get(one.name)
        yield one, None if base is None or one.bytes is None else one.bytes - base


def _hosts(own: Sequence[Comparison], metric: Metric) -> Chart | None:
    """Each host's ratio and each group's summary, by contrast; None without any ratio."""
    several = len({one.setting for one in own}) > 1
    rows: list[dict[str, Any]] = []
    for one in own:
        name = f"{one.arm} / {one.baseline}{f', {one.setting.label}' if several else ''}"
        for host in one.hosts:
            found = host.verdict
            if found.ratio is not None:
                where, ends = f"{found.cell.where}{BREAK}{name}", (found.low, found.high)
                rows.append(_row(where, host.group.label, HOST, found.ratio, ends))
        for group, summary in one.summaries:
            where, ratio = f"{group.label}, together{BREAK}{name}", math.exp(summary.mean.value)
            for kind, logs in ((FURTHER, summary.predicted), (SUMMARY, summary.mean.interval())):
                low, high = (math.exp(end) for end in logs)
                rows.append(_row(where, group.label, kind, ratio, (low, high)))
    if not rows:
        return None
    return Chart(
        _forest(rows, "architecture", f"change in {metric.label}"),
        f"Change of {metric.label} against the baseline by host and architecture",
        f"Point: each host's own ratio of {metric.label}, with its exact 95 % interval. Where "
        "hosts are enough: their summary, and, thin, where a further host is expected.",
    )


def _ratios(own: Sequence[Comparison], metric: Metric) -> Chart | None:
    rows = []
    for one in own:
        if one.ratio is not None:
            row = _row(
                f"{one.arm} / {one.baseline}{BREAK}{one.setting.label}",
                one.ratio.word,
                RATIO,
                one.ratio.ratio,
                (one.ratio.low, one.ratio.high),
            )
            margin = one.ratio.margin
            rows.append({**row, "margin_low": 1 / (1 + margin) - 1, "margin_high": margin})
    if not rows:
        return None
    first, second = (group.label for group in own[0].groups)
    return Chart(
        _forest(rows, "verdict", f"ratio of ratios of {metric.label}"),
        f"Ratio of {metric.label} on {first} over that on {second}, one row a contrast",
        f"Zero: the arm changes {metric.label} alike on both. To the right: its ratio to the "
        f"baseline is larger on {first}. Line: 95 % interval. Grey band: the largest margin of the "
        "hosts.",
    )


def _row(
    where: str, key: str, kind: str, ratio: float, ends: tuple[float | None, float | None]
) -> dict[str, Any]:
    low, high = (None if end is None else end - 1 for end in ends)
    return {
        "row": where, "key": key, "kind": kind, "change": ratio - 1, "low": low, "high": high,
        "effect": percent(ratio), "weight": THIN if kind == FURTHER else THICK,
    }  # fmt: skip


def _forest(rows: Sequence[dict[str, Any]], key: str, title: str) -> dict[str, Any]:
    """Points with intervals, one line a ``row``, coloured and shaped by ``key``; margins if any."""
    order = list(dict.fromkeys(row["row"] for row in rows))
    lines = alt.Axis(
        labelExpr="split(datum.label, '\\n')", labelOffset=LINE_PX / -2, labelLineHeight=LINE_PX
    )
    y = alt.Y("row:N", title=None, sort=order, axis=lines)
    axis = alt.Axis(format="+.1%", title=title)
    # The same scale and no title on both: one legend, not two.
    keys = alt.Scale(domain=list(dict.fromkeys(row["key"] for row in rows)))
    colour = alt.Color("key:N", title=None, scale=keys)
    base = alt.Chart(inline(rows), height=height_of(len(order)), width="container")
    band = base.mark_bar(opacity=0.22, size=22, tooltip=None, color=BAND).encode(
        alt.X("margin_low:Q", axis=axis, scale=alt.Scale(zero=True)), alt.X2("margin_high:Q"), y
    )
    zero = alt.Chart(inline([{"at": 0}])).mark_rule(strokeDash=[3, 3]).encode(x="at:Q")
    spans = [row for row in rows if row["low"] is not None]
    line = (
        alt.Chart(inline(spans))
        .mark_rule()
        .encode(
            alt.X("low:Q", axis=axis),
            alt.X2("high:Q"),
            y,
            colour,
            strokeWidth=alt.StrokeWidth("weight:Q", scale=None, legend=None),
        )
    )
    point = base.mark_point(size=110, filled=True, opacity=1).encode(
        alt.X("change:Q", axis=axis),
        y,
        colour,
        alt.Shape("key:N", title=None, scale=keys),
        tooltip=[
            alt.Tooltip("row:N", title="row"),
            alt.Tooltip("key:N", title=key),
            alt.Tooltip("kind:N"),
            alt.Tooltip("effect:N"),
            alt.Tooltip("low:Q", format="+.1%"),
            alt.Tooltip("high:Q", format="+.1%"),
        ],
    )
    layers = [*([band] if "margin_low" in rows[0] else []), zero, *([line] if spans else []), point]
    return to_spec(alt.layer(*layers))
