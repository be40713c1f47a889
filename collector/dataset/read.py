"""A sealed block file -> rows of the tables. Pure but for reading the file and its blobs.

``read_block`` raises ``BlockFileError`` (path, line, reason) for a file that cannot be believed:
none of its rows is used then, since a block is atomic. A run whose output the parser refuses is a
row with the state ``quarantined`` and no figures.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from collector.blockfile import BlockFileError, read_lines
from collector.dataset.bindings import binding_rows
from collector.dataset.counters import Observed, observe
from collector.dataset.fields import (
    Body,
    FieldError,
    mapping,
    maybe_mapping,
    maybe_whole,
    text,
    whole,
)
from collector.dataset.figures import container_rows, counters, growth, host_rows, spans, times
from collector.dataset.gates import judge
from collector.dataset.header import (
    Deployment,
    Header,
    header_warnings,
    read_header_body,
)
from collector.dataset.output import read_output
from collector.dataset.planned import Planned
from collector.parse import TOOLS, LoadTool
from collector.parse.record import Cell
from collector.schema import QUARANTINED, RECORD_FIELDS

Row = dict[str, Any]
NO_RECORD: Final = dict.fromkeys(RECORD_FIELDS)


@dataclass(slots=True)
class HistogramRows:
    """Histograms of a block's runs: ``lengths[i]`` of the values and counts belong to ``runs[i]``.

    Columns, not rows: they are nearly all of a dataset.
    """

    runs: list[str] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    values_us: array[int] = field(default_factory=lambda: array("q"))
    counts: array[int] = field(default_factory=lambda: array("q"))

    def add(self, run: str, pairs: Sequence[tuple[int, int]]) -> None:
        """Append one run's histogram; an empty one leaves no rows."""
        if not pairs:
            return
        values, counts = zip(*pairs, strict=True)
        self.values_us.extend(values)
        self.counts.extend(counts)
        self.runs.append(run)
        self.lengths.append(len(values))


@dataclass(slots=True)
class BlockRows:
    """Everything that one block file says, by table."""

    block: int
    attempt: int
    sha256: str = ""
    bytes: int = 0
    runs: list[Row] = field(default_factory=list)
    containers: list[Row] = field(default_factory=list)
    hosts: list[Row] = field(default_factory=list)
    bindings: list[Row] = field(default_factory=list)
    histograms: HistogramRows = field(default_factory=HistogramRows)
    cells: list[Row] = field(default_factory=list)
    cell_histograms: list[Row] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Place:
    path: Path
    line: int


class _Counting:
    """A hash that also counts what it takes in."""

    def __init__(self) -> None:
        self.sha256 = hashlib.sha256()
        self.bytes = 0

    def update(self, data: bytes, /) -> None:
        self.sha256.update(data)
        self.bytes += len(data)


def read_block(path: Path, planned: Planned, tools: Mapping[str, LoadTool] = TOOLS) -> BlockRows:
    """Read, check and judge one block file of the campaign ``planned``.

    Raises ``BlockFileError`` naming the line for a broken chain, a body that is not as
    docs/contracts.md says, a header of another campaign, or runs that are not the planned slots.
    """
    whole_file = _Counting()
    lines = read_lines(path, whole_file, orjson.loads)
    number = 1
    try:
        number, body = next(lines)
        header = read_header_body(body, planned)
        rows = BlockRows(header.block, header.attempt, bindings=binding_rows(header))
        seen: set[str] = set()
        for number, body in lines:
            if body["type"] == "run":
                _check_slot(body, header, seen)
                _add_run(rows, header, body, _Place(path, number), tools)
    except FieldError as error:
        raise BlockFileError(path, number, str(error)) from None
    rows.sha256, rows.bytes = whole_file.sha256.hexdigest(), whole_file.bytes
    for row in rows.runs:
        row["block_sha256"] = rows.sha256
    return rows


def _check_slot(body: Body, header: Header, seen: set[str]) -> None:
    run = text(body, "run")
    slot = header.planned.slots.get(run)
    if slot is None:
        raise FieldError(f"run {run!r} is not one of block {header.block} of the plan")
    if run in seen:
        raise FieldError(f"run {run!r} stands twice in the block")
    seen.add(run)
    found = (whole(body, "position"), text(body, "arm"), text(body, "copy"))
    if found != slot:
        raise FieldError(f"run {run!r} is {found}; the plan says {tuple(slot)}")


def _add_run(
    rows: BlockRows,
    header: Header,
    body: Body,
    place: _Place,
    tools: Mapping[str, LoadTool],
) -> None:
    run, measure = text(body, "run"), mapping(body, "measure")
    key = f"{text(body, 'arm')}/{text(body, 'copy')}"
    deployment = header.deployments.get(key)
    if deployment is None:
        raise FieldError(f"'deployments': expected one for {key!r}")
    row: Row = {**header.common, **NO_RECORD, "run": run}
    row.update(_slot_columns(body, deployment), block_file=place.path.name, line=place.line)
    row.update(times(body, measure))
    row.update(growth(body))
    row.update(spans(body))
    traced = maybe_mapping(body, "traced") or {}
    row["traced_requests"] = _traced_requests(tools, header.tool, traced, place.path)
    output = read_output(tools, header.tool, measure, place.path)
    row.update(output.record)
    rows.histograms.add(run, output.histogram)
    _add_cells(rows, run, output.cells)
    observed = observe(body)
    row.update(counters(row, measure, header, deployment, observed))
    _judge(row, body, header, observed, output.refusal)
    rows.runs.append(row)
    calls = maybe_mapping(traced, "calls") or {}
    rows.containers.extend(container_rows(run, header, deployment, observed, calls))
    rows.hosts.extend(host_rows(run, header, observed))


def _add_cells(rows: BlockRows, run: str, cells: Sequence[Cell]) -> None:
    slot = {"run": run, "attempt": rows.attempt}
    for cell in cells:
        rows.cells.append({**slot, **cell.as_dict()})
        which = {**slot, "mode": cell.mode, "message_bytes": cell.message_bytes}
        rows.cell_histograms.extend(
            {**which, "value_ns": value, "count": count} for value, count in cell.histogram
        )


def _traced_requests(
    tools: Mapping[str, LoadTool], tool: str, traced: Body, path: Path
) -> int | None:
    measure = maybe_mapping(traced, "measure")
    if measure is None:
        return None
    requests: int | None = read_output(tools, tool, measure, path).record.get("requests")
    return requests


def _judge(row: Row, body: Body, header: Header, observed: Observed, refusal: str | None) -> None:
    judged = judge(row, body, header, observed)
    reasons = ([refusal] if refusal else []) + list(judged.reasons)
    warnings = [*header_warnings(header.body), *_warmup_warning(body), *judged.warnings]
    row["state"] = QUARANTINED if refusal else judged.state
    row["reasons"] = "; ".join(reasons) or None
    row["warnings"] = "; ".join(warnings) or None


def _warmup_warning(body: Body) -> list[str]:
    code = maybe_whole(maybe_mapping(body, "warmup") or {}, "exit_code")
    return [f"warmup ended with exit_code {code}"] if code else []


def _slot_columns(body: Body, deployment: Deployment) -> Row:
    return {
        "position": whole(body, "position"),
        "arm": text(body, "arm"),
        "copy": text(body, "copy"),
        "path": deployment.path,
        "deployment": deployment.job,
        "placement": deployment.placement,
        "inside": deployment.inside,
    }
