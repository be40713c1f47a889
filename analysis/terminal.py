"""The terminal's view: the verdict table, then the answer in a few plain lines."""

from __future__ import annotations

from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from analysis.contrast import Cell
from analysis.metric import METRICS
from analysis.summary import Analysis
from analysis.verdict import Verdict
from analysis.wording import (
    METRIC,
    answer,
    direction,
    gate_line,
    interval,
    margin_text,
    percent,
)

FULL_CELLS: Final = 3  # with more cells the terminal shows throughput alone, the report all
STYLE: Final = {"better": "green", "worse": "red", "equivalent": "cyan", "inconclusive": "yellow"}


def show(analysis: Analysis, console: Console) -> None:
    """Print the verdicts, the sum of runs, warnings and the answer."""
    metrics = METRICS if len(analysis.cells) <= FULL_CELLS else METRICS[:1]
    for cell in analysis.cells:
        own = [
            v
            for arm, base in analysis.plan.contrasts
            for v in analysis.verdicts
            if (v.cell, v.arm, v.baseline) == (cell, arm, base) and METRIC[v.metric] in metrics
        ]
        console.print(_table(cell, own))
    for note in _notes(analysis, len(metrics)):
        console.print(Text(note, style="dim"))
    console.print()
    warning = gate_line(analysis)
    if warning:
        console.print(Text(f"Warning: {warning}", style="bold red"))
    for line in answer(analysis):
        console.print(Text(line, style="bold"), soft_wrap=True)


def _table(cell: Cell, verdicts: list[Verdict]) -> Table:
    table = Table(title=Text(cell.label), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("contrast")
    for name in ("effect", "95 % interval"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for name in ("blocks", "margin"):
        table.add_column(name, justify="right", no_wrap=True)
    several = len({verdict.metric for verdict in verdicts}) > 1
    before = ""
    for verdict in verdicts:
        name = f"{verdict.arm} vs {verdict.baseline}"
        if several and name != before:
            table.add_row(Text(name, style="bold", overflow="fold"))
            before = name
        metric = METRIC[verdict.metric]
        label = f"  {metric.label}{'*' if metric.caveat else ''}" if several else name
        table.add_row(Text(label, overflow="fold"), *_figures(verdict))
    return table


def _figures(verdict: Verdict) -> tuple[str | Text, ...]:
    word = direction(verdict, METRIC[verdict.metric])
    said = f"{verdict.word} ({word})" if word != verdict.word else word
    needed = verdict.blocks_needed
    return (
        percent(verdict.ratio),
        interval(verdict),
        Text(said, style=STYLE[word]),
        str(verdict.n) if needed is None else f"{verdict.n} of {needed}",
        margin_text(verdict.margin),
    )


def _notes(analysis: Analysis, metrics: int) -> list[str]:
    notes = [f"* {metric.label}, {metric.caveat}." for metric in METRICS[:metrics] if metric.caveat]
    if metrics < len(METRICS):
        notes.append("Throughput alone is shown here; the report has every metric.")
    off = [c for c in analysis.little if not c.holds]
    notes.extend(
        f"{c.cell.label}, {c.arm}: rate x latency / concurrency is {c.ratio:.2f}, not 1"
        for c in off
    )
    return [*notes, *analysis.warnings, f"Runs: {analysis.account.line}."]
