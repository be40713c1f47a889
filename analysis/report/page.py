"""The HTML page: Jinja2 with autoescape, charts as JSON data blocks, scripts allowed by hash only.

A label comes from files and is hostile until escaped: text goes through autoescape; JSON inside a
script element has every ``<``, ``>`` and ``&`` written as ``\\u003c`` and so on, so that no label
can end the element; and the page's own policy lets no script run whose hash it does not name.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jinja2
import pandas as pd
import vl_convert
from markupsafe import Markup

from analysis import __version__, wording
from analysis.across_wording import log_span
from analysis.change import percent, span
from analysis.contrast import Cell
from analysis.cpu import LOAD, TOTAL
from analysis.metric import (
    CLOSED_LOOP,
    Metric,
    answers_first,
    is_called,
    metrics_of,
    words_of,
)
from analysis.report import hops_view, judged, measured
from analysis.report.across_view import page_views
from analysis.report.chart import Chart, in_cell
from analysis.report.mesh_view import mesh_cells
from analysis.report.trace_view import traces
from analysis.result import Analysis
from analysis.tables import csv_text
from analysis.verdict import Verdict

FOLDER: Final = Path(__file__).parent
ESCAPES: Final = {
    "<": "\\u003c",
    ">": "\\u003e",
    "&": "\\u0026",
    "\u2028": "\\u2028",
    "\u2029": "\\u2029",
}


@dataclass(frozen=True, slots=True)
class CpuTable:
    """CPU by arm (``rows``, with ``arm``) and part."""

    parts: list[str]
    rows: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class CellView:
    """One cell's part of the page."""

    cell: Cell
    strip: Chart
    curves: Chart | None
    cpu: Chart | None
    cpu_table: CpuTable
    arms: pd.DataFrame
    metrics: tuple[Metric, ...]
    latency: bool
    cpu_per: str


def json_block(value: object) -> Markup:
    """JSON that is safe inside a script element and parses to the same value."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for raw, escaped in ESCAPES.items():
        text = text.replace(raw, escaped)
    return Markup(text)  # noqa: S704 - no character of markup is left in it


@functools.cache
def _bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed; without them a page would have to fetch them."""
    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))


def _script(text: str) -> tuple[Markup, str]:
    """A trusted script for inlining, and its source expression for the page's policy."""
    if "</script" in text.lower() or "<!--" in text:
        raise ValueError("a script that would end its own element")
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Markup(text), f"'sha256-{digest}'"  # noqa: S704 - our own file and the library's


def _cpu_table(analysis: Analysis, cell: Cell, scale: float) -> CpuTable:
    own = in_cell(analysis.cpu, cell)
    parts = sorted(set(own["part"]) - {TOTAL, LOAD}, key=_part_order)
    by_arm = [
        {"arm": arm, **dict(zip(rows["part"], rows["cpu_s"] * scale, strict=True))}
        for arm in analysis.arms
        if len(rows := own[own["arm"] == arm])
    ]
    return CpuTable([*parts, *(one for one in (TOTAL, LOAD) if one in set(own["part"]))], by_arm)


def _cells(analysis: Analysis) -> Iterator[CellView]:
    medians = analysis.medians
    for cell in analysis.cells:
        here = medians[medians["cell"] == cell]
        order = here["arm"].map(analysis.arms.index)
        yield CellView(
            cell=cell,
            strip=measured.strip(analysis, cell),
            curves=measured.curves(analysis.curves, cell, analysis.arms),
            cpu=measured.cpu(analysis.cpu, cell, analysis.arms),
            cpu_table=_cpu_table(analysis, cell, 1e6),
            arms=here.assign(order=order).sort_values(["order", "copy"], kind="stable"),
            metrics=metrics_of(cell.tool),
            latency=any(m.name.startswith("latency_") for m in metrics_of(cell.tool)),
            cpu_per=words_of(cell.tool).cpu_per,
        )


@dataclass(frozen=True)
class Forest:
    """The verdicts on a metric, and their picture; ``answers``: what a cell is asked for."""

    name: str
    metric: Metric
    answers: bool
    chart: Chart
    verdicts: Sequence[Verdict]


def _part_order(name: str) -> tuple[bool, bool, str]:
    return name == "unattributed", name == "idle arms", name


def _download(table: pd.DataFrame) -> str:
    return "data:text/csv;base64," + base64.b64encode(csv_text(table).encode()).decode()


def _medians(view: CellView, arm: str, copy: str) -> Mapping[str, Any]:
    own = view.arms[(view.arms["arm"] == arm) & (view.arms["copy"] == copy)]
    return {row.metric: row for row in own.itertuples()}


def _forests(analysis: Analysis) -> list[Forest]:
    """By metric; those that a cell's answer is in come first."""
    several = len(analysis.cells) > 1
    tools = [cell.tool for cell in analysis.cells]
    found: list[Forest] = []
    for metric, answers in answers_first(tools):
        both = analysis.by_contrast(metric.name)
        own = [v for v in both if is_called(metric, v.cell.tool, v.metric)]
        if any(verdict.ratio is not None for verdict in own):
            drawn, name = judged.forest(own, metric, several), f"forest-{len(found)}"
            found.append(Forest(name, metric, answers, drawn, own))
    return found


def render(analysis: Analysis, shown: Mapping[str, pd.DataFrame]) -> str:
    """The whole page. ``shown``: the tables that it offers for download, by name."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["json_block"] = json_block
    library, library_hash = _script(_bundle())
    own, own_hash = _script((FOLDER / "report.js").read_text(encoding="utf-8"))
    style = Markup((FOLDER / "report.css").read_text(encoding="utf-8"))  # noqa: S704 - our own file
    return environment.get_template("report.html.j2").render(
        analysis=analysis,
        version=__version__,
        wording=wording,
        words_of=words_of,
        percent=percent,
        span=span,
        exp=math.exp,
        log_span=log_span,
        across=page_views(analysis),
        closed_loop=CLOSED_LOOP,
        closed_tails=any(wording.metric(v).caveat for v in analysis.verdicts),
        mesh_cells=mesh_cells(analysis),
        failures=measured.failures(analysis),
        knees=measured.knees(analysis),
        chains=hops_view.chains(analysis),
        ledgers=hops_view.ledgers(analysis),
        steps=hops_view.steps(analysis),
        traces=traces(analysis),
        forests=_forests(analysis),
        twins=judged.twins(analysis.gates),
        cells=list(_cells(analysis)),
        wholes=[(cell, _cpu_table(analysis, cell, 1e3)) for cell in analysis.wholes],
        medians=_medians,
        downloads={f"{name}.csv": _download(table) for name, table in shown.items()},
        style=style,
        library=library,
        own=own,
        hashes=f"{library_hash} {own_hash}",
    )
