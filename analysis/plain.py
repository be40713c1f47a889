"""Measurements of others: a CSV with the columns host, block, arm and the metric, a line a run.

``copy`` (``b`` is the baseline's second deployment, for the noise), ``deployment`` and whatever
``--by`` names are used where they are there; other columns are left alone. An empty figure is null:
its block has no pair. Refuses, with file and line: text or a number without a logarithm in the
metric's column, a name that is empty, and two figures for one host, block, arm and copy.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from analysis.contrast import BLOCK, CELL, UNIFORM
from analysis.errors import BadDatasetError

NAMES: Final = ["host", "block", "arm"]
OPTIONAL: Final = {"copy": "a", "deployment": None}
LINE: Final = "line"


def read_plain(path: Path, metric: str, by: Sequence[str]) -> pd.DataFrame:
    """The file's runs with the columns of ``contrast``; what ``by`` names stays as text.

    Raises ``BadDatasetError`` for everything that the module's text refuses.
    """
    texts = _texts(path)
    _require(path, texts, [*NAMES, metric, *by])
    texts = texts.assign(**{name: "" for name in OPTIONAL if name not in texts})
    for name in [*NAMES, *by]:
        _refuse(path, texts[texts[name] == ""], f"{name} is empty", "every run has one")
    for name, default in OPTIONAL.items():
        texts[name] = texts[name].where(texts[name] != "", default or texts["block"])
    key = ["host", *by, "block", "arm", "copy"]
    again = texts[texts.duplicated(key)]
    _refuse(
        path, again, f"a second figure for the same {', '.join(key)}",
        "one run gives one; a column that tells them apart is named with --by",
    )  # fmt: skip
    runs = texts[[*NAMES, *OPTIONAL, *by]].copy()
    runs[metric] = _figures(path, texts, metric)
    missing = {*CELL, *BLOCK, *UNIFORM} - set(runs)
    return runs.assign(**dict.fromkeys(missing, "")).assign(concurrency=0, offered="")


def _texts(path: Path) -> pd.DataFrame:
    """Every field as it is written, and the line it is on."""
    try:
        texts = pd.read_csv(path, dtype=str, na_filter=False, skip_blank_lines=False)
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise BadDatasetError(
            f"{path}: not a CSV with a line of column names first ({error})"
        ) from error
    texts.columns = texts.columns.str.strip()
    if not isinstance(texts.index, pd.RangeIndex):
        raise BadDatasetError(f"{path}:2: more fields than the line of column names has")
    if not texts.columns.is_unique:
        raise BadDatasetError(f"{path}:1: two columns of one name")
    texts = texts.apply(lambda column: column.str.strip()).assign(**{LINE: texts.index + 2})
    return texts[(texts.drop(columns=LINE) != "").any(axis=1)]


def _require(path: Path, texts: pd.DataFrame, names: Sequence[str]) -> None:
    there = [name for name in texts.columns if name != LINE]
    for name in names:
        if name not in there:
            near = difflib.get_close_matches(name, there, 1)
            raise BadDatasetError(
                f"{path}:1: no column {name!r}; it has {', '.join(there)}"
                + (f"; is {near[0]!r} meant? Rename it" if near else "")
            )
    if texts.empty:
        raise BadDatasetError(f"{path}:2: no run; expected a line a run below the column names")


def _figures(path: Path, texts: pd.DataFrame, metric: str) -> pd.Series:
    figures = pd.to_numeric(texts[metric].where(texts[metric] != ""), errors="coerce")
    bad = (texts[metric] != "") & ~(np.isfinite(figures) & (figures > 0))
    first = texts.loc[bad, metric].head(1).to_list()
    _refuse(
        path, texts[bad], f"{metric} is {first[0]!r:.40}" if first else "",
        "expected a number above zero, or nothing where the run gave none",
    )  # fmt: skip
    return figures.astype("float64")


def _refuse(path: Path, rows: pd.DataFrame, found: str, mend: str) -> None:
    if len(rows):
        more = f" (and in {len(rows) - 1} lines more)" if len(rows) > 1 else ""
        raise BadDatasetError(f"{path}:{rows[LINE].iloc[0]}: {found}{more}: {mend}")
