"""One request's spans for the page: a lane for each service's serving and asking, over time."""

from __future__ import annotations

from typing import Final

import altair as alt

from analysis.report.chart import Chart, height_of, inline, to_spec
from analysis.result import Analysis

CAPTION: Final = (
    "Of the requests that kept their spans, the one whose time is in the middle. What of the "
    "asking the next service does not serve is on the way, or waits there."
)


def traces(analysis: Analysis) -> list[Chart]:
    """A picture an arm and cell that kept spans."""
    drawn = []
    for trace in analysis.traces:
        named = [(f"{span.service} {span.what}", span) for span in trace.spans]
        lanes = list(dict.fromkeys(lane for lane, _ in named))
        rows = [
            {
                "lane": lane,
                "what": span.what,
                "from": span.start_us,
                "to": span.start_us + span.duration_us,
                "us": span.duration_us,
            }
            for lane, span in named
        ]
        bars = (
            alt.Chart(inline(rows), height=height_of(len(lanes)), width="container")
            .mark_bar(size=16)
            .encode(
                alt.X("from:Q", title="us since the first service had the request"),
                alt.X2("to:Q"),
                alt.Y("lane:N", title=None, sort=lanes).axis(labelLimit=320),
                alt.Color("what:N", title=None),
                tooltip=["lane:N", *(alt.Tooltip(f"{x}:Q", format=",.0f") for x in ("from", "us"))],
            )
        )
        title = f"One request through the chain, {trace.arm}, {trace.cell.label}"
        drawn.append(Chart(to_spec(bars), title, CAPTION))
    return drawn
