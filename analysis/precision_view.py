"""A campaign's precision and a lab's noise as tables for a terminal or a log."""

from __future__ import annotations

import math
from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from analysis.metric import metric_of, words_of
from analysis.noise import Known
from analysis.peak import Peak
from analysis.precision import CellPrecision, Precision, Width


def show(found: Precision, console: Console) -> None:
    """Print a table a cell: each contrast, its units, its half-width beside the limit."""
    console.print(f"{found.campaign}, {found.tranches} tranches", highlight=False, markup=False)
    for cell in found.cells:
        console.print(_grid(cell))


def _grid(cell: CellPrecision) -> Table:
    grid = Table(
        title=Text(cell.cell.label), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False
    )
    for name in ("contrast", "metric"):
        grid.add_column(name, overflow="fold")
    for name in ("n", "half-width", "limit"):
        grid.add_column(name, justify="right", no_wrap=True)
    grid.add_column("")
    for width in cell.widths:
        grid.add_row(
            Text(f"{width.arm} / {width.baseline}"),
            metric_of(cell.cell.tool, width.metric).label,
            str(width.n),
            half_width_text(width),
            f"{math.expm1(width.limit) * 100:.1f} %",
            Text("reached", "green") if width.reached else Text("too wide", "yellow"),
        )
    return grid


def half_width_text(width: Width) -> str:
    """``1.7 %``, or that there are too few units for an interval."""
    return "none" if width.half_width is None else f"{math.expm1(width.half_width) * 100:.1f} %"


def show_noise(known: Iterable[Known], console: Console) -> None:
    """Print a line a profile, load and placement."""
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("profile", "load", "placement"):
        grid.add_column(name, overflow="fold")
    for name in ("campaigns", "A/A pairs", "SD of a pair"):
        grid.add_column(name, justify="right", no_wrap=True)
    for one in known:
        flows = f"{words_of(one.tool).flow}{'s' * (one.concurrency != 1)}"
        load = ", ".join(filter(None, (one.tool, f"{one.concurrency} {flows}", one.offered)))
        grid.add_row(
            Text(one.profile), Text(load), Text(one.placement),
            str(one.campaigns), str(one.pairs),
            "none" if one.sd is None else f"{math.expm1(one.sd) * 100:.1f} %",
        )  # fmt: skip
    console.print(grid)


def show_peaks(known: Iterable[Peak], console: Console) -> None:
    """Print a line an experiment, host, variant and arm."""
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("experiment", "host", "variant", "arm", "load"):
        grid.add_column(name, overflow="fold")
    for name in ("peak, requests/s", "runs"):
        grid.add_column(name, justify="right", no_wrap=True)
    for one in known:
        where = f"{one.host} and {one.peer}" if one.peer else one.host
        grid.add_row(
            *map(Text, (one.experiment, where, one.variant or "-", one.arm)),
            Text(f"{one.tool}, {one.concurrency} {words_of(one.tool).flow}s"),
            f"{one.peak_rps:,.0f}", str(one.runs),
        )  # fmt: skip
    console.print(grid)
