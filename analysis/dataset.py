"""Read the dataset: ``index.json`` and the Parquet parts that it lists, as data frames.

Input: a state directory. Output: frames with the columns of ``collector.schema``, without the
attempts that a later one replaced. Refuses: another ``schema`` number, a part outside the dataset's
folder, a part that is missing, unreadable or lacks columns.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.cells import with_cells
from analysis.errors import BadDatasetError, NoDatasetError, UnknownNameError
from analysis.metric import PARTED
from collector.schema import GOOD, SUPERSEDED, TABLES, VERSION

LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
ATTEMPT: Final = ["campaign", "block", "attempt"]


@dataclass(frozen=True, slots=True)
class Part:
    """One Parquet part as the index lists it; it holds rows of its campaign alone."""

    table: str
    campaign: str
    path: Path


@dataclass(frozen=True, slots=True)
class Dataset:
    """An opened index. ``superseded`` holds (campaign, block, attempt) that are not to be used."""

    state: Path
    generation: int
    parts: tuple[Part, ...]
    superseded: frozenset[tuple[str, int, int]]

    def table(
        self,
        name: str,
        campaigns: Iterable[str] | None = None,
        columns: Sequence[str] = (),
        *,
        encoded: bool = False,
    ) -> pd.DataFrame:
        """One table of the given campaigns (default: all), ``columns`` of it (default: all).

        A null is NaN or None, never zero. ``encoded``: texts are categoricals, which take a tenth
        of the memory. Raises ``BadDatasetError`` naming the part's file.
        """
        wanted = None if campaigns is None else set(campaigns)
        names = list(columns) or [column.name for column in TABLES[name]]
        kinds = {column.name: column.kind for column in TABLES[name]}
        texts = [column for column in names if encoded and kinds[column] == "string"]
        tables = [
            _read_part(part.path, names, texts)
            for part in self.parts
            if part.table == name and (wanted is None or part.campaign in wanted)
        ]
        if not tables:
            return pd.DataFrame({column: pd.Series(dtype="object") for column in names})
        whole = pa.concat_tables(tables, promote_options="permissive").unify_dictionaries()
        del tables
        frame: pd.DataFrame = whole.to_pandas(split_blocks=True, self_destruct=True)
        for column in texts:  # else groups come in the order in which values were met
            frame[column] = frame[column].cat.reorder_categories(
                sorted(frame[column].cat.categories)
            )
        return frame

    def runs(
        self,
        campaigns: Iterable[str] | None = None,
        columns: Sequence[str] = (),
        *,
        encoded: bool = False,
    ) -> pd.DataFrame:
        """The runs table; every row of a replaced attempt has ``state`` ``superseded``.

        An attempt is replaced when the index says so or when a later attempt at its block is there.
        ``peer`` is empty where the topology has one host, ``offered`` in a closed loop: they are
        parts of a cell's name. A run that measured several things has a row for each (``cells``).
        """
        wanted = None if campaigns is None else set(campaigns)
        parted = any(
            part.table == "cells" and (wanted is None or part.campaign in wanted)
            for part in self.parts
        )
        needed = [*ATTEMPT, "state", *(("run", "tool") if parted else ())]
        names = list(dict.fromkeys([*columns, *needed])) if columns else []
        frame = self.table("runs", wanted, names, encoded=encoded)
        if parted:
            frame = with_cells(frame, self.table("cells", wanted))
        for name in ("peer", "offered"):
            if name in frame:
                frame[name] = frame[name].astype("object").fillna("")
        last = frame.groupby(["campaign", "block"])["attempt"].transform("max")
        gone = frame["attempt"] < last
        if self.superseded:
            keys = zip(*(frame[c] for c in ATTEMPT), strict=True)
            gone |= pd.Series([key in self.superseded for key in keys], index=frame.index)
        if gone.any():
            frame["state"] = frame["state"].astype("str").mask(gone, SUPERSEDED)
        return frame

    def bindings(self, campaign: str) -> pd.DataFrame:
        """The bindings of a campaign's last attempts."""
        frame = self.table("bindings", [campaign])
        keep = [k not in self.superseded for k in zip(*(frame[c] for c in ATTEMPT), strict=True)]
        frame = frame[pd.Series(keep, index=frame.index, dtype=bool)]
        last = frame.groupby(["campaign", "block"])["attempt"].transform("max")
        return frame[frame["attempt"] == last].reset_index(drop=True)


def open_dataset(state: Path) -> Dataset:
    """Open ``<state>/results/dataset``.

    Raises ``NoDatasetError`` where there is none, ``BadDatasetError`` where it cannot be believed.
    """
    folder = state / "results" / "dataset"
    path = folder / "index.json"
    make = f"run `python -m collector collect --state {state}`"
    if not path.is_file():
        raise NoDatasetError(f"{path}: there is no dataset yet: measure (`make lab`), then {make}")
    index = _read_index(path)
    try:
        parts = tuple(_part(folder, path, entry) for entry in index["parts"])
        superseded = frozenset(
            (str(campaign), int(block), int(attempt))
            for campaign, block, attempt in index.get("superseded", [])
        )
        generation = int(index.get("generation", 0))
    except (KeyError, TypeError, ValueError) as error:
        raise BadDatasetError(
            f"{path}: expected 'parts' with table, campaign and file, and 'superseded' with "
            f"[campaign, block, attempt] ({error}): write it again with "
            f"`python -m collector collect --state {state} --rebuild`"
        ) from error
    if not any(part.table == "runs" for part in parts):
        raise NoDatasetError(f"{path}: the dataset holds no run yet: measure, then {make}")
    return Dataset(state, generation, parts, superseded)


def _read_index(path: Path) -> dict[str, Any]:
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        line = getattr(error, "lineno", 1)
        raise BadDatasetError(f"{path}:{line}: not JSON: {error}: rebuild the dataset") from error
    if not isinstance(index, dict) or index.get("schema") != VERSION:
        found = index.get("schema") if isinstance(index, dict) else type(index).__name__
        raise BadDatasetError(
            f"{path}: schema {found!r}, expected {VERSION}: rebuild the dataset with this version"
        )
    return index


def _part(folder: Path, index: Path, entry: dict[str, Any]) -> Part:
    path = (folder / entry["file"]).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise BadDatasetError(f"{index}: part {entry['file']!r} lies outside {folder}")
    if entry["table"] not in TABLES:
        raise BadDatasetError(f"{index}: unknown table {entry['table']!r}, not of {list(TABLES)}")
    return Part(str(entry["table"]), str(entry["campaign"]), path)


def _read_part(path: Path, columns: list[str], encoded: list[str]) -> pa.Table:
    mend = "rebuild the dataset (`python -m collector collect --rebuild`)"
    try:
        with pq.ParquetFile(path, read_dictionary=encoded) as file:
            absent = [name for name in columns if name not in file.schema_arrow.names]
            if absent:
                raise BadDatasetError(f"{path}: lacks the columns {', '.join(absent)}: {mend}")
            table = file.read(columns=columns)
    except FileNotFoundError as error:
        raise BadDatasetError(f"{path}: listed by index.json, but absent: {mend}") from error
    except (pa.ArrowException, OSError) as error:
        raise BadDatasetError(f"{path}: not a readable Parquet part ({error}): {mend}") from error
    # What is not asked for encoded may be so in one part and not in another.
    fields = [
        pa.field(f.name, f.type.value_type)
        if pa.types.is_dictionary(f.type) and f.name not in encoded
        else f
        for f in table.schema
    ]
    return table.cast(pa.schema(fields))


def find_campaign(runs: pd.DataFrame, experiment: str, campaign: str | None) -> str:
    """The campaign to analyse: the one named, else the experiment's newest by its first run.

    ``runs``: columns experiment, campaign, started_wall_s. Raises ``UnknownNameError``.
    """
    known = sorted(runs["experiment"].dropna().unique())
    if experiment not in known:
        hint = difflib.get_close_matches(experiment, known, 1)
        guess = f"; did you mean {hint[0]!r}?" if hint else ""
        raise UnknownNameError(
            f"experiment {experiment!r} is not in the dataset, which has {', '.join(known)}{guess}"
        )
    started = campaigns_by_age(runs[runs["experiment"] == experiment])
    chosen = started[-1] if campaign is None else campaign
    if chosen not in started:
        raise UnknownNameError(
            f"experiment {experiment!r} has no campaign {campaign!r}; it has {', '.join(started)}"
        )
    for name in (experiment, chosen):
        if not LABEL.fullmatch(name):
            raise UnknownNameError(f"{name!r} is not a name: expected a-z, 0-9 and hyphens")
    return chosen


def campaigns_by_age(runs: pd.DataFrame) -> list[str]:
    """Campaign ids, oldest first, by the wall clock of their first run, then by id."""
    first = runs.groupby("campaign")["started_wall_s"].min().reset_index()
    first = first.sort_values(["started_wall_s", "campaign"], na_position="first")
    return [str(name) for name in first["campaign"]]


def good_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """The rows that may be ranked; a run none of whose cells could be measured is none of them."""
    return where(runs, (runs["state"] == GOOD) & ~runs["tool"].isin(PARTED))


def where(runs: pd.DataFrame, chosen: pd.Series) -> pd.DataFrame:
    """The chosen rows; without a copy where that is all of them."""
    return runs if chosen.all() else runs[chosen]
