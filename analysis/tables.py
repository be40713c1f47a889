"""The report's tables, one CSV each: stored units, full precision, nulls empty.

A text cell that begins with = + - @ or a control character gets an apostrophe before it: a
spreadsheet would run it as a formula.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import pandas as pd

from analysis.across_tables import across_tables
from analysis.cells import Unmeasured, Wire
from analysis.contrast import CELL, Cell
from analysis.counted import Counted
from analysis.failures import KINDS
from analysis.hops import Hop
from analysis.mesh import Added, Mesh
from analysis.newer import Change
from analysis.peers import Peers
from analysis.result import Analysis
from analysis.saturation import Grown, Knee
from analysis.traces import Span, Trace
from analysis.verdict import Verdict

FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


def tables(analysis: Analysis) -> dict[str, pd.DataFrame]:
    """Every table by the name of its file, without the ending."""
    return {
        "verdicts": pd.DataFrame([verdict_row(v) for v in analysis.verdicts]),
        "aa": pd.DataFrame(
            [
                {
                    **verdict_row(t.verdict),
                    "outcome": t.outcome,
                    "noise_floor": None if t.floor is None else math.expm1(t.floor),
                    "pool_pairs": int(t.twin.pool.size),
                    "pool_campaigns": t.twin.campaigns,
                }
                for t in analysis.twins
            ]
        ),
        "arms": _spread_cells(analysis.medians),
        "blocks": analysis.runs[
            [*CELL, "block", "replicate", "position", "arm", "copy", "throughput_rps",
             "latency_mean_s", "latency_p50_s", "latency_p99_s",
             "latency_corrected_p50_s", "latency_corrected_p99_s",
             "transfer_bytes_per_s", "cpu_per_request_s", "cpu_per_mb_s", "run", "attempt"]
        ],
        "cpu": analysis.cpu,
        "latency": analysis.curves,
        "counted": pd.DataFrame(
            [{**_cell(c.cell), **_fields(c)} for c in analysis.counted]
        ),
        **({"calls": _calls(analysis)} if analysis.calls else {}),
        **({"used": _used(analysis)} if analysis.used else {}),
        **({"shares": _shares(analysis)} if analysis.shares else {}),
        **(
            {"unmeasured": pd.DataFrame([_fields(one) for one in analysis.unmeasured])}
            if analysis.unmeasured
            else {}
        ),
        "consistency": pd.DataFrame(
            [
                {**_cell(c.cell), "arm": c.arm, "little_ratio": c.ratio, "n": c.n, "holds": c.holds}
                for c in analysis.little
            ]
        ),
        "replication": _replication(analysis),
        **({"failures": _failures(analysis)} if analysis.failures else {}),
        **{
            name: pd.DataFrame([{**_cell(one.cell), **_fields(one)} for one in found])
            for name, found in (("knees", analysis.knees), ("grown", analysis.grown))
            if found
        },
        **(
            {"wire": pd.DataFrame([_fields(one) for one in analysis.wire])}
            if analysis.wire
            else {}
        ),
        **({"hops": _hops(analysis.hops)} if analysis.hops else {}),
        **({"traces": _traces(analysis.traces)} if analysis.traces else {}),
        **({"agreement": _agreement(analysis.agreement)} if analysis.agreement else {}),
        "files": analysis.files,
        "account": _account(analysis),
        "environment": pd.DataFrame(analysis.facts, columns=["where", "fact", "value"]),
        **(_mesh(analysis.mesh) if analysis.mesh else {}),
        **(across_tables(analysis.across) if analysis.across else {}),
    }  # fmt: skip


def _traces(traces: Iterable[Trace]) -> pd.DataFrame:
    rows = [
        {**_cell(trace.cell), "arm": trace.arm, **_fields(span)}
        for trace in traces
        for span in trace.spans
    ]
    return pd.DataFrame(rows)


_COMPARED: Final = ("arm", "baseline", "ratio", "low", "high")


def _agreement(peers: Peers) -> pd.DataFrame:
    rows = [
        {
            "host": one.ours.cell.host,
            **{f"their_{name}": getattr(one.theirs, name) for name in _COMPARED},
            **{f"our_{name}": getattr(one.ours, name) for name in _COMPARED},
            "off": one.off,
            "agrees": one.agrees,
        }
        for one in peers.agreements
    ]
    return pd.DataFrame(rows)


def _mesh(mesh: Mesh) -> dict[str, pd.DataFrame]:
    proofs = [{**dataclasses.asdict(p), "evidence": "\n".join(p.evidence)} for p in mesh.proofs]
    added = [{**_cell(a.cell), **_fields(a)} for a in mesh.added]
    settings = [
        (one.variant, one.arm, one.task, key, one.shown(key))
        for one in mesh.settings
        for key in one.values
    ]
    return {
        "proofs": pd.DataFrame(proofs, columns=["name", "claim", "passed", "evidence"]),
        "sidecars": pd.DataFrame(settings, columns=["variant", "arm", "task", "setting", "value"]),
        "mesh_cpu": mesh.cpu,
        "mesh_latency": pd.DataFrame(added),
    }


def _fields(added: Added | Counted | Knee | Grown | Span | Unmeasured | Wire) -> dict[str, object]:
    return {f.name: getattr(added, f.name) for f in dataclasses.fields(added) if f.name != "cell"}


def _cell(cell: Cell) -> dict[str, object]:
    return dataclasses.asdict(cell)


def verdict_row(verdict: Verdict | Change) -> dict[str, object]:
    """The fields, the cell's first."""
    fields = {f.name: getattr(verdict, f.name) for f in dataclasses.fields(verdict)}
    return {**_cell(fields.pop("cell")), **fields}


def _spread_cells(frame: pd.DataFrame) -> pd.DataFrame:
    cells = pd.DataFrame([_cell(cell) for cell in frame["cell"]], columns=CELL)
    return pd.concat([cells, frame.drop(columns="cell").reset_index(drop=True)], axis=1)


def _replication(analysis: Analysis) -> pd.DataFrame:
    columns = [
        "claim", *CELL, "arm", "baseline", "metric", "published_ratio", "published_consistent",
        "ratio", "low", "high", "verdict", "outcome", "size",
    ]  # fmt: skip
    rows = [
        {**_cell(r.ours.cell), "claim": r.claim.name, "arm": r.ours.arm,
         "baseline": r.ours.baseline, "metric": r.ours.metric, "published_ratio": r.claim.ratio,
         "published_consistent": r.claim.consistent, "ratio": r.ours.ratio, "low": r.ours.low,
         "high": r.ours.high, "verdict": r.ours.word, "outcome": r.outcome, "size": r.size}
        for r in analysis.replications
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def _failures(analysis: Analysis) -> pd.DataFrame:
    rows = [
        {
            **_cell(one.cell), "arm": one.arm, "n": one.n, "share": one.share.value,
            "low": one.share.low, "high": one.share.high,
            **{kind: one.kinds.get(kind, 0.0) for kind in KINDS},
            "latency_p50_s": one.p50_s, "latency_p99_s": one.p99_s,
            "retransmits": one.retransmits, "listen_overflows": one.listen_overflows,
        }
        for one in analysis.failures
    ]  # fmt: skip
    return pd.DataFrame(rows)


def _hops(hops: tuple[Hop, ...]) -> pd.DataFrame:
    rows = [
        {
            **_cell(hop.cell), "arm": hop.arm, "metric": hop.metric, "part": name, "n": hop.n,
            "per_hop_s": part.value, "low_s": part.low, "high_s": part.high,
            "share": hop.share(name), "off": off,
        }
        for hop in hops
        for name, part, off in [
            *((name, part, hop.off) for name, part in hop.parts.items()),
            *((f"{short} to {long}", step, None) for (short, long), step in hop.steps.items()),
        ]
    ]  # fmt: skip
    return pd.DataFrame(rows)


def _calls(analysis: Analysis) -> pd.DataFrame:
    rows = [
        {
            **_cell(one.cell), "arm": one.arm, "container": one.container,
            "requests": one.requests, "call": name, "per_request": number,
        }
        for one in analysis.calls
        for name, number in one.each.items()
    ]  # fmt: skip
    return pd.DataFrame(rows)


def _used(analysis: Analysis) -> pd.DataFrame:
    rows = [
        {
            **_cell(one.cell), "arm": one.arm, "container": one.container, "n": one.n,
            "own_bytes": one.own, "cache_bytes": one.cache, "kernel_bytes": one.kernel,
            "memory_limit_hits": one.hits, "read_bytes_per_work": one.read,
            "written_bytes_per_work": one.written, "received_bytes_per_work": one.received,
            "sent_bytes_per_work": one.sent, "loopback_bytes_per_work": one.loopback,
        }
        for one in analysis.used
    ]  # fmt: skip
    return pd.DataFrame(rows)


def _shares(analysis: Analysis) -> pd.DataFrame:
    rows = [
        {
            **_cell(one.cell), "arm": one.arm, "level": one.level, "name": one.name, "n": one.n,
            "cpu_s_per_work": one.cpu_s, "own_bytes": one.own, "memory_bytes": one.memory,
            "block_bytes_per_work": one.blocks, "network_bytes_per_work": one.network,
        }
        for one in analysis.shares
    ]  # fmt: skip
    return pd.DataFrame(rows)


def _account(analysis: Analysis) -> pd.DataFrame:
    names = ("planned", "good", "invalid", "quarantined", "missing", "not_needed", "superseded")
    rows: list[tuple[str, str, int | None]] = [
        (name, "", getattr(analysis.account, name)) for name in names
    ]
    return pd.DataFrame([*rows, *analysis.account.reasons], columns=["state", "reason", "runs"])


def guard_formula(value: object) -> object:
    """A text that a spreadsheet would run gets an apostrophe before it; all else stays."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def csv_text(table: pd.DataFrame) -> str:
    """One table as CSV with ``\\n`` line ends."""
    guarded = table.map(guard_formula) if len(table) else table
    text: str = guarded.to_csv(index=False, lineterminator="\n")
    return text


def write_csv(folder: Path, shown: Mapping[str, pd.DataFrame]) -> None:
    """Write ``<name>.csv`` for each table into ``folder``, each replaced as a whole."""
    for name, table in shown.items():
        replace_text(folder / f"{name}.csv", csv_text(table))


def replace_text(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old one or the new one, never a part."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
