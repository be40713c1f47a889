"""The terminal's view: the verdict table, then the answer in a few plain lines."""

from __future__ import annotations

from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from analysis.change import listed, percent
from analysis.contrast import Cell
from analysis.metric import metric_of, metrics_in, metrics_of, primary_of
from analysis.result import Analysis
from analysis.verdict import Verdict
from analysis.wording import (
    answer,
    direction,
    gate_line,
    interval,
    margin_text,
)

FULL_CELLS: Final = 3  # with more cells the terminal shows throughput alone, the report all
STYLE: Final = {"better": "green", "worse": "red", "equivalent": "cyan", "inconclusive": "yellow"}


def show(analysis: Analysis, console: Console) -> None:
    """Print the verdicts, the sum of runs, warnings and the answer."""
    all_metrics = len(analysis.cells) <= FULL_CELLS
    for cell in analysis.cells:
        metrics = metrics_of(cell.tool)[: None if all_metrics else 1]
        names = {metric.name for metric in metrics}
        own = [
            v
            for arm, base in analysis.plan.contrasts
            for v in analysis.verdicts
            if (v.cell, v.arm, v.baseline) == (cell, arm, base) and v.metric in names
        ]
        console.print(_table(cell, own))
    for note in _notes(analysis, all_metrics):
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
        metric = metric_of(cell.tool, verdict.metric)
        label = f"  {metric.label}{'*' if metric.caveat else ''}" if several else name
        table.add_row(Text(label, overflow="fold"), *_figures(verdict))
    return table


def _figures(verdict: Verdict) -> tuple[str | Text, ...]:
    word = direction(verdict, metric_of(verdict.cell.tool, verdict.metric))
    said = f"{verdict.word} ({word})" if word != verdict.word else word
    needed = verdict.blocks_needed
    return (
        percent(verdict.ratio),
        interval(verdict),
        Text(said, style=STYLE[word]),
        str(verdict.n) if needed is None else f"{verdict.n} of {needed}",
        margin_text(verdict.margin),
    )


def _notes(analysis: Analysis, all_metrics: bool) -> list[str]:
    shown = {verdict.metric for verdict in analysis.verdicts}
    metrics = [m for m in metrics_in(cell.tool for cell in analysis.cells) if m.name in shown]
    notes = [f"* {m.label}, {m.caveat}." for m in metrics if m.caveat and all_metrics]
    if not all_metrics:
        asked = listed(primary_of(cell.tool).label for cell in analysis.cells)
        notes.append(f"The {asked} alone is shown here; the report has every metric.")
    off = [c for c in analysis.little if not c.holds]
    notes.extend(
        f"{c.cell.label}, {c.arm}: rate x latency / concurrency is {c.ratio:.2f}, not 1"
        for c in off
    )
    if analysis.proofs:
        held = len(analysis.proofs) - len(analysis.failed_proofs)
        notes.append(f"Proofs: {held} of {len(analysis.proofs)} held.")
    return [*notes, *analysis.stopping, *analysis.warnings, f"Runs: {analysis.account.line}."]
