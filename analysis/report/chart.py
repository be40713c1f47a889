"""What every chart of the report shares.

A chart holds its data and no colours of the page: ``report.js`` lays the page's theme, light or
dark, over it. Every width is ``container``, so a chart follows the screen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import altair as alt
import pandas as pd

from analysis.contrast import CELL, Cell

ROW_PX: Final = 34
BAND: Final = "#8a93a3"  # a grey that reads on light and on dark paper


@dataclass(frozen=True, slots=True)
class Chart:
    """A specification, what it draws in one sentence (its accessible name), and its caption."""

    spec: dict[str, Any]
    title: str
    caption: str


def to_spec(chart: alt.TopLevelMixin) -> dict[str, Any]:
    """The specification, without what belongs to the page: theme and schema address."""
    spec: dict[str, Any] = chart.to_dict()
    for key in ("config", "$schema"):
        spec.pop(key, None)
    return spec


def height_of(rows: int, least: int = 2) -> int:
    """Pixels for a chart with one row an arm or contrast."""
    return ROW_PX * max(rows, least)


def inline(rows: Sequence[dict[str, Any]]) -> alt.Data:
    """Rows written into the specification; Altair's limit of 5,000 is for notebooks."""
    return alt.Data(values=list(rows))  # type: ignore[no-untyped-call]


def in_cell(frame: pd.DataFrame, cell: Cell) -> pd.DataFrame:
    """The rows of one cell."""
    keep = pd.Series(True, index=frame.index)
    for column in CELL:
        # The empty variant is the only part of a cell that may have been null.
        keep &= frame[column].fillna("") == getattr(cell, column)
    return frame[keep]
