"""Makes a dataset with a known effect: index, Parquet parts and plan, as the contracts say.

The seed decides every number. ``effect`` is the true throughput ratio of each arm to the baseline;
latency follows from Little's law, CPU per request from the inverse. With ``tasks`` the CPU seconds
of each container are given, and a task ``load`` means that the load is made inside; with
``latency`` the quantiles of each arm are, and move together from block to block. ``host_ratios``
(by host), ``host_values`` (by host and arm), ``host_facts`` and ``images`` (by host) make hosts
differ. ``used_by_host`` is what the table ``hosts`` says, which is empty without. The first tranche
has ``first`` blocks a cell, without it all. Runs of the tool ``ipc`` have cells, and no figure of
their own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from collector.schema import TABLES

TYPES = {
    "string": pa.string(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
}


@dataclass
class Campaign:
    """What to make. ``arms`` maps an arm to its true ratio; the first is the baseline."""

    name: str = "web-20261121t113000-1f3a"
    experiment: str = "web"
    arms: Mapping[str, float] = field(
        default_factory=lambda: {"tcp-loopback": 1.0, "sharedvolume": 1.12, "combined": 1.0}
    )
    blocks: int = 8
    first: int | None = None
    noise: float = 0.01
    twin: float = 1.0
    seed: int = 7
    profile: str = "quick"
    cells: Sequence[Mapping[str, Any]] = (
        {"host": "lab-2", "variant": "keepalive=true", "tool": "wrk", "concurrency": 16},
    )
    started: float = 1_795_000_000.0
    histograms: bool = True
    run_values: Mapping[str, Any] = field(default_factory=dict)
    arm_values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    with_plan: bool = True
    factor: str = "path"
    tasks: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    latency: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    sidecars: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    peer_facts: Mapping[str, Any] = field(default_factory=dict)
    host_ratios: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    host_values: Mapping[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    host_facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    images: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    proofs: Sequence[Mapping[str, Any]] = ()
    used_by_host: Mapping[str, Any] | None = None
    question: str = "Is a Unix socket faster than loopback TCP between nginx and its application?"


def add_campaign(state: Path, campaign: Campaign, superseded: Iterable[list[Any]] = ()) -> None:
    """Add a campaign's parts to the dataset under ``state``, making it where there is none."""
    rows = _rows(campaign)
    folder = state / "results" / "dataset"
    (folder / "parts").mkdir(parents=True, exist_ok=True)
    path = folder / "index.json"
    index = (
        json.loads(path.read_text())
        if path.exists()
        else {"schema": 1, "generation": 0, "parts": [], "superseded": []}
    )
    index["generation"] += 1
    index["superseded"].extend(superseded)
    for table, values in rows.items():
        index["parts"].append(write_part(folder, table, campaign.name, values))
    path.write_text(json.dumps(index))
    if campaign.with_plan:
        home = state / "results" / "campaigns" / campaign.name
        home.mkdir(parents=True, exist_ok=True)
        (home / "plan.json").write_text(json.dumps(_plan(campaign, rows["runs"])))
        (home / "finished").touch()


def write_part(
    folder: Path, table: str, campaign: str, rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Write one part and return its entry in the index."""
    columns = TABLES[table]
    schema = pa.schema([(column.name, TYPES[column.kind]) for column in columns])
    data = [{column.name: row.get(column.name) for column in columns} for row in rows]
    digest = hashlib.sha256(json.dumps([table, campaign, data]).encode()).hexdigest()
    name = f"parts/{table}-{digest}.parquet"
    pq.write_table(pa.Table.from_pylist(data, schema=schema), folder / name)
    return {
        "table": table,
        "campaign": campaign,
        "file": name,
        "sha256": digest,
        "rows": len(data),
        "blocks": [],
    }


def _rows(campaign: Campaign) -> dict[str, list[dict[str, Any]]]:
    rng = np.random.default_rng(campaign.seed)
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
    block = 0
    for replicate in range(1, campaign.blocks + 1):
        for cell in campaign.cells:
            block += 1
            _add_block(
                campaign=campaign, cell=cell, replicate=replicate, block=block, rng=rng, rows=rows
            )
    rows["proofs"] = [{"campaign": campaign.name, **proof} for proof in campaign.proofs]
    return rows


def _add_block(
    *,
    campaign: Campaign,
    cell: Mapping[str, Any],
    replicate: int,
    block: int,
    rng: np.random.Generator,
    rows: dict[str, list[dict[str, Any]]],
) -> None:
    baseline = next(iter(campaign.arms))
    slots = [(arm, "a", ratio) for arm, ratio in campaign.arms.items()]
    slots.append((baseline, "b", campaign.twin))
    level = 12_000.0 * float(np.exp(rng.normal(0, 0.05)))
    for position, at in enumerate(rng.permutation(len(slots)), start=1):
        arm, copy, ratio = slots[int(at)]
        ratio = campaign.host_ratios.get(cell["host"], {}).get(arm, ratio)
        rate = level * ratio * float(np.exp(rng.normal(0, campaign.noise)))
        place = {"replicate": replicate, "block": block, "position": position}
        row = _run(campaign, cell, {**place, "arm": arm, "copy": copy}, rate)
        rows["runs"].append(row)
        rows["cells"].extend(_cells(row))
        rows["bindings"].append(_binding(row, campaign))
        rows["containers"].extend(_containers(row, campaign, rng))
        if campaign.used_by_host is not None:
            where = {key: row[key] for key in ("run", "attempt", "host")}
            rows["hosts"].append({**where, "complete": True, **campaign.used_by_host})
        if campaign.histograms and row["latency_p50_s"] is not None:
            rows["histograms"].extend(_histogram(row, rng))


def _run(
    campaign: Campaign,
    cell: Mapping[str, Any],
    slot: Mapping[str, Any],
    rate: float,
) -> dict[str, Any]:
    arm, copy, block = slot["arm"], slot["copy"], slot["block"]
    mean = cell["concurrency"] / rate
    requests = int(rate * 2)
    identity = hashlib.sha256(f"{campaign.name} {block} {arm} {copy}".encode()).hexdigest()
    cpu = 1.6
    row: dict[str, Any] = {
        "run": identity[:16],
        "attempt": 1,
        "state": "good",
        "campaign": campaign.name,
        "experiment": campaign.experiment,
        "tranche": 1 if slot["replicate"] <= (campaign.first or campaign.blocks) else 2,
        **slot,
        "path": arm,
        "deployment": f"sl-{block}-{arm}-{copy}",
        "load_host": "lab-1",
        "peer": None,
        "inside": False,
        "profile": campaign.profile,
        "placement": "same_core",
        "arch": "x86_64",
        "kind": "virtual",
        "emulated": False,
        "untested": False,
        "conditions": "",
        "started_wall_s": campaign.started + 10.0 * block + slot["position"],
        "measured_s": 2.0,
        "planned_s": 2.0,
        "exit_code": 0,
        "tool_version": "4.1.0",
        "duration_s": 2.0,
        "requests": requests,
        "throughput_rps": rate,
        "transfer_bytes": requests * 250,
        "transfer_bytes_per_s": rate * 250,
        "latency_mean_s": mean,
        "latency_p50_s": mean * 0.95,
        "latency_p99_s": mean * 2.5,
        "containers_cpu_s": cpu,
        "host_cpu_s": cpu + 0.2,
        "unattributed_cpu_s": 0.18,
        "load_cpu_s": 0.7,
        "little_ratio": 1.0,
    }
    row.update(cell)
    if row["tool"] == "stream":
        row.update(latency_mean_s=None, latency_p50_s=None, latency_p99_s=None, little_ratio=None)
    if arm in campaign.latency:
        row["latency_p50_s"], row["latency_p99_s"] = (
            at + block * 1e-6 for at in campaign.latency[arm]
        )
    if tasks := campaign.tasks.get(arm):
        load = tasks.get("load")
        used = sum(tasks.values())
        row.update(inside=load is not None, load_cpu_s=0.7 if load is None else load)
        row.update(containers_cpu_s=used - (load or 0.0), host_cpu_s=used + 0.2)
    row.update(campaign.run_values)
    row.update(campaign.arm_values.get(arm, {}))
    if cell.get("offered"):  # the rate is kept, and what the arm is slower by is waited for
        row.update(
            throughput_rps=cell["offered_rps"],
            requests=2 * cell["offered_rps"],
            little_ratio=None,
            latency_corrected_p50_s=mean * 0.95,
            latency_corrected_p99_s=mean * 2.5,
        )
    row.update(campaign.host_values.get((cell["host"], arm), {}))
    return row


def _cells(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A run of ipc: a round trip, two sizes one way, one of them too large, no connections.

    Of serialisation: one size, too few messages for a quantile. A run without a rate was given
    nothing but what is too large.
    """
    rate = row["throughput_rps"]
    row_of = {"run": row["run"], "attempt": row["attempt"], "state": "measured", "lost": 0}
    beyond = {"message_bytes": 32768, "state": "too_large", "lost": None,
              "reason": "at most 8192 B: kernel.msgmax"}  # fmt: skip
    used = {"cpu_measuring_s": 0.2, "cpu_serving_s": 0.3, "duration_s": 0.5}
    switches = {"switches_measuring": 100, "switches_serving": 120}
    if row["tool"] == "serialisation":
        few = {"message_bytes": 1 << 20, "count": 4, "rate_per_s": rate, "latency_mean_s": 1 / rate}
        return [
            {**row_of, "mode": mode, **few, **used, **switches}
            for mode in ("encode", "decode", "exchange")
        ]
    if row["tool"] != "ipc":
        return []
    if rate is None:
        return [{**row_of, "mode": "throughput", **beyond}]
    latency = {"latency_p50_s": 1 / rate, "latency_p99_s": 3 / rate, "clock_s": 2e-8}
    latency["latency_mean_s"] = 0.3 / rate  # of a connection: the rate has its end in it, too
    way = {"count": int(4 * rate), "rate_per_s": 8 * rate}
    return [
        {**row_of, "mode": "latency", "message_bytes": 64, "count": int(rate / 2),
         "rate_per_s": rate, **latency, **used, **switches},
        {**row_of, "mode": "throughput", "message_bytes": 4096, **way, **used, **switches,
         "transfer_bytes_per_s": 8 * rate * 4096},
        {**row_of, "mode": "throughput", **beyond},
        {**row_of, "mode": "connect", "message_bytes": None, "state": "not_applicable"}
        if row["arm"] != "unix-seqpacket"
        else {**row_of, "mode": "connect", "message_bytes": None, **way, **latency, **used,
              **switches},
    ]  # fmt: skip


def _containers(
    row: Mapping[str, Any], campaign: Campaign, rng: np.random.Generator
) -> list[dict[str, Any]]:
    shares = {"combined": 1.0} if row["arm"] == "combined" else {"proxy": 0.4, "app-0": 0.6}
    cpu = row["containers_cpu_s"]
    tasks = campaign.tasks.get(row["arm"]) or {
        task: None if cpu is None else cpu * share for task, share in shares.items()
    }
    memory = {"memory_anonymous_bytes": 22_000_000, "memory_cache_bytes": 8_000_000}
    own = [
        {"container": task, "measured": True, "cpu_s": used, **memory}
        for task, used in tasks.items()
    ]
    idle = {"container": "proxy", "measured": False, "cpu_s": float(rng.uniform(0.001, 0.003))}
    common = {key: row[key] for key in ("run", "attempt", "deployment", "host")}
    common["allocation"] = "allocation-1"
    return [{**common, "container_id": "0" * 64, **part} for part in [*own, idle]]


def _histogram(row: Mapping[str, Any], rng: np.random.Generator) -> list[dict[str, Any]]:
    samples = rng.lognormal(np.log(row["latency_p50_s"] * 1e6), 0.35, row["requests"])
    values, counts = np.unique(np.maximum(samples, 1).astype(int), return_counts=True)
    return [
        {"run": row["run"], "attempt": row["attempt"], "value_us": int(v), "count": int(c)}
        for v, c in zip(values, counts, strict=True)
    ]


def _binding(row: Mapping[str, Any], campaign: Campaign) -> dict[str, Any]:
    far = {"kind": row["kind"], "arch": row["arch"], **campaign.peer_facts}
    near = {"kernel": "6.1.0-18-amd64", "cpu_model": "Example CPU"}
    images = campaign.images.get(row["host"])
    containers = {
        "proxy": {
            "id": "0" * 64,
            "image": "sha256:" + "ab" * 32,
            "cpus": [1],
            "memory_limit_bytes": 268435456,
        }
    }
    keys = ("campaign", "block", "attempt", "deployment", "arm", "copy", "host")
    return {
        **{key: row[key] for key in keys},
        "peer": row["peer"],
        "sidecars": json.dumps(row.get("sidecars", campaign.sidecars.get(row["arm"], {}))),
        "peer_environment": json.dumps(far) if row["peer"] else None,
        "node": "node-1",
        "allocation": "allocation-1",
        "endpoint": "http://198.18.0.12:24001/",
        "containers": json.dumps(containers),
        "variables": json.dumps({"keepalive": True, "path": row["path"]}),
        "images": None if images is None else json.dumps(images),
        "environment": json.dumps({**near, **campaign.host_facts.get(row["host"], {})}),
        "load_environment": json.dumps({"tools": {"wrk": {"version": "4.1.0"}}}),
        "readiness_s": 2.1,
    }


def _plan(campaign: Campaign, runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    baseline = next(iter(campaign.arms))
    blocks: dict[int, list[dict[str, Any]]] = {}
    places: dict[int, dict[str, Any]] = {}
    for row in runs:
        blocks.setdefault(row["block"], []).append({"run": row["run"], "arm": row["arm"]})
        places[row["block"]] = {
            "block": row["block"],
            **{key: row[key] for key in ("tranche", "host", "peer", "load_host", "variant")},
            "load": {"tool": row["tool"], "concurrency": row["concurrency"]},
        }
    return {
        "schema": 1,
        "campaign": campaign.name,
        "experiment": campaign.experiment,
        "question": campaign.question,
        "factor": campaign.factor,
        "baseline": baseline,
        "contrasts": [[arm, baseline] for arm in campaign.arms if arm != baseline],
        "arms": {arm: {"also_differs": None} for arm in campaign.arms},
        "blocks": [{**places[block], "runs": slots} for block, slots in blocks.items()],
    }
