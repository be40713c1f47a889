"""Comparisons as a table for a terminal or a log, as CSV (one line a verdict), or as JSON.

The JSON is ``Comparisons`` or ``Changes``, field by field; docs/compare.schema.json describes it.
"""

from __future__ import annotations

import json
from itertools import groupby
from typing import Any, Final

import pandas as pd
from pydantic import TypeAdapter
from rich import box
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from analysis.change import percent, span
from analysis.compare import Comparisons, Figures, Table
from analysis.contrast import Cell
from analysis.metric import Metric, metrics_of
from analysis.newer import Change, Changes
from analysis.tables import csv_text, verdict_row
from analysis.terminal import STYLE
from analysis.verdict import Verdict
from analysis.wording import direction, margin_text, remark

_JSON: Final = TypeAdapter(Comparisons | Changes)


def schema() -> dict[str, Any]:
    """The JSON Schema of what ``as_json`` gives."""
    return _JSON.json_schema(mode="serialization")


def as_json(found: Comparisons | Changes) -> str:
    """The whole as JSON; what is unknown is null."""
    return json.dumps(_JSON.dump_python(found, mode="json"), indent=1)


def as_csv(found: Comparisons | Changes) -> str:
    """One line a verdict: what was compared, the cell, the verdict's fields."""
    if isinstance(found, Changes):
        ends = {
            "source": found.old, "campaign": found.old_campaign, "newer": found.new,
            "newer_campaign": found.new_campaign, "baseline": found.baseline,
        }  # fmt: skip
        changed = [
            {**ends, "metric": found.metric, **dict(one.by), **verdict_row(one)}
            for one in found.changes
        ]
        return csv_text(pd.DataFrame(changed).drop(columns="by"))
    rows = [
        {"source": found.source, "campaign": found.campaign, **dict(table.by), **verdict_row(one)}
        for table in found.tables
        for one in table.verdicts
    ]
    return csv_text(pd.DataFrame(rows))


def show(found: Comparisons | Changes, console: Console) -> None:
    """Print a table a cell: each arm's median, its change, the verdict; why, where inconclusive."""
    if isinstance(found, Changes):
        _show_changes(found, console)
        return
    for table in found.tables:
        console.print(_grid(found, table))
        for verdict in table.verdicts:
            if remark(verdict):
                console.print(Text(f"{verdict.arm}: {remark(verdict)}", style="dim"))


def metric_in(found: Changes, change: Change) -> Metric:
    """The metric in the words of the change's tool."""
    return _metric(change.cell.tool, found.metric)


def _show_changes(found: Changes, console: Console) -> None:
    then, now = found.old_campaign or found.old, found.new_campaign or found.new
    console.print(Text(f"then: {then}; now: {now}", style="dim"))
    for key, group in groupby(found.changes, lambda one: (one.cell, one.by)):
        own = list(group)
        grid = _empty(found, metric_in(found, own[0]), *key)
        for name in ("then", "now", "change", "95 % interval"):
            grid.add_column(name, justify="right")
        grid.add_column("verdict")
        for name in ("n", "p", "margin"):
            grid.add_column(name, justify="right", no_wrap=True)
        for one in own:
            word = _word(one, metric_in(found, one))
            said = f"{one.word} ({word})" if word != one.word else word
            grid.add_row(
                Text(one.arm), percent(one.old), percent(one.new), percent(one.ratio),
                span(one.low, one.high), Text(said, style=STYLE.get(word, "")),
                f"{one.n_old}+{one.n_new}", _p(one.p_adjusted), margin_text(one.margin),
            )  # fmt: skip
        console.print(grid)
    for when, names in (("then", found.gone), ("now", found.added)):
        for name in names:
            console.print(Text(f"measured only {when}: {name}", style="dim"))


def _word(change: Change, metric: Metric) -> str:
    if change.word != "different" or metric.higher_is_better is None:
        return change.word
    return "worse" if change.regressed(metric) else "better"


def _empty(
    found: Comparisons | Changes, metric: Metric, cell: Cell, by: tuple[tuple[str, str], ...]
) -> Grid:
    apart = "".join(f", {name}={value}" for name, value in by)
    unit = f" ({metric.unit})" if metric.unit else ""
    against = f", against {found.baseline}" if isinstance(found, Changes) else ""
    grid = Grid(
        title=Text(f"{metric.label}{unit}: {cell.label}{apart}{against}"),
        title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False,
    )  # fmt: skip
    grid.add_column("arm", overflow="fold")
    return grid


def _grid(found: Comparisons, table: Table) -> Grid:
    metric = _metric(table.cell.tool, found.metric)
    grid = _empty(found, metric, table.cell, table.by)
    for name in ("median", "95 % interval", f"vs {found.baseline}", "95 % interval"):
        grid.add_column(Text(name), justify="right")
    grid.add_column("verdict")
    for name in ("n", "p", "margin"):
        grid.add_column(name, justify="right", no_wrap=True)
    of_arm = {verdict.arm: verdict for verdict in table.verdicts}
    shown = {one.arm: one for one in table.arms}
    for arm in dict.fromkeys([found.baseline, *of_arm]):
        own = _own(shown.get(arm), metric)
        grid.add_row(Text(arm), *own, *_judged(of_arm.get(arm), metric))
    return grid


def _own(figures: Figures | None, metric: Metric) -> tuple[str, str]:
    if figures is None:
        return "none", ""
    if figures.low is None or figures.high is None:
        return _short(figures.median * metric.scale), ""
    low, high = (_short(value * metric.scale) for value in (figures.low, figures.high))
    return _short(figures.median * metric.scale), f"[{low}, {high}]"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 999.95 else f"{value:.4g}"


def _judged(verdict: Verdict | None, metric: Metric) -> tuple[str | Text, ...]:
    if verdict is None:
        return ("",) * 6
    word = direction(verdict, metric)
    said = f"{verdict.word} ({word})" if word != verdict.word else word
    return (
        percent(verdict.ratio),
        span(verdict.low, verdict.high),
        Text(said, style=STYLE.get(word, "")),
        str(verdict.n),
        _p(verdict.p_adjusted),
        margin_text(verdict.margin),
    )


def _p(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}" if value >= 0.001 else "<0.001"


def _metric(tool: str, name: str) -> Metric:
    """The metric in words; of one that is known nowhere else, its name, and no better or worse."""
    known = {metric.name: metric for metric in metrics_of(tool)}
    return known.get(name, Metric(name, name, "", 1.0, None))
