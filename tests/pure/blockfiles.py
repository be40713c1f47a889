"""Builds a small campaign on disk for tests: a plan and realistic sealed block files.

    campaign = Campaign(blocks=2)
    campaign.write(state)                    # results/campaigns/<name>/plan.json and blocks/
    body = campaign.run_body(block, run)     # change it, then write_block(folder, header, bodies)

With ``peer`` the topology spans two hosts and a mesh: the containers of ``MESH``, the load made
inside, and every key of the contract that such a block has. Without it the keys of peers are
absent, as in block files that were written before there were any.

wrk's output and its histogram agree with each other and with Little's law, counters grow as they
would, so that every run passes every gate until a test changes something. Deterministic.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from collector.blockfile import BlockWriter, block_name

SECOND = 10**9
BOOT = {"lab-1": "boot-1", "lab-2": "boot-2"}
CPUS = {"lab-1": [0], "lab-2": [1], "lab-3": [1]}
# Task -> its host, and the share of a CPU that it uses while its deployment is under load.
TASKS = {"proxy": ("lab-2", 0.4), "app": ("lab-2", 0.4)}
MESH = {
    "load": ("lab-2", 0.05),
    "sidecar-client": ("lab-2", 0.2),
    "sidecar-server": ("lab-3", 0.15),
    "app": ("lab-3", 0.25),
}
SIDECAR = {
    "version": "1.36.4",
    "concurrency": 1,
    "access_log": False,
    "tracing": False,
    "ciphers": ["TLS_AES_128_GCM_SHA256"],
}
Body = dict[str, Any]
Change = Callable[[Body], None]


def wrk_time(us: float) -> str:
    """Microseconds as wrk prints them."""
    value, units = us, ["us", "ms", "s"]
    while value >= 850 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.2f}{units[0]}"


def wrk_bytes(size: float) -> str:
    """Bytes as wrk prints them."""
    units = ["", "K", "M", "G"]
    while size >= 0.85 * 1024 and len(units) > 1:
        size, units = size / 1024, units[1:]
    return f"{size:.2f}{units[0]}B"


def histogram(rng: random.Random, mean_us: int, samples: int, values: int) -> dict[int, int]:
    """About ``values`` latencies around ``mean_us`` with ``samples`` samples altogether."""
    low = max(mean_us - values // 2, 1)
    weights = [1.0 / (1 + ((low + i - mean_us) / (values / 6)) ** 2) for i in range(values)]
    scale = samples / sum(weights)
    counts = {low + i: max(int(w * scale), 1) for i, w in enumerate(weights)}
    counts[mean_us] += samples - sum(counts.values())
    top = low + values - 1
    if rng.random() < 0.5 and counts[top] > 1:
        counts[top] -= 1
        counts[top + rng.randrange(1, 20)] = 1
    return counts


@cache
def wrk_output(
    seed: int, *, concurrency: int = 16, mean_us: int = 700, seconds: float = 2.1, values: int = 60
) -> tuple[str, str]:
    """(stdout, histogram file) of one wrk run that obeys Little's law."""
    rng = random.Random(seed)
    requests = round(seconds * 1e6 * concurrency / mean_us)
    counts = histogram(rng, mean_us, requests, values)
    ordered = sorted(counts)
    mean = sum(value * count for value, count in counts.items()) / requests
    size = requests * 169
    rate = requests / seconds / 1000
    lines = [
        "Running 2s test @ http://198.18.0.12:24001/",
        f"  1 threads and {concurrency} connections",
        "  Thread Stats   Avg      Stdev     Max   +/- Stdev",
        f"    Latency {wrk_time(mean):>9} {wrk_time(values / 8):>9} {wrk_time(ordered[-1]):>9}"
        "   91.67%",
        f"    Req/Sec {rate:>8.2f}k   512.00  {rate * 1.1:>8.2f}k    80.95%",
        "  Latency Distribution",
        *(f"     {percent}% {wrk_time(mean_us):>9}" for percent in (50, 75, 90, 99)),
        f"  {requests} requests in {seconds:.2f}s, {wrk_bytes(size)} read",
        f"Requests/sec: {requests / seconds:>9.2f}",
        f"Transfer/sec: {wrk_bytes(size / seconds):>10}",
    ]
    rows = "".join(f"{value}\t{counts[value]}\n" for value in ordered)
    return "\n".join(lines) + "\n", rows


def cgroup(share: float, at_ns: int) -> Body:
    """Counters of a container that used ``share`` of a CPU since the block began."""
    used = int(share * at_ns)
    return {
        "cpu_ns": used,
        "cpu_user_ns": used // 3,
        "cpu_system_ns": used - used // 3,
        "throttled_count": 0,
        "throttled_ns": 0,
        "memory_bytes": 20_000_000,
        "memory_peak_bytes": None,
    }


def processes(share: float, at_ns: int) -> Body:
    """Two processes that share what their container used."""
    used = {"name": "nginx", "cpu_ns": int(share * at_ns) // 2, "memory_anonymous_bytes": 2_000_000}
    return {f"{pid}.4711": used for pid in (7, 8)}


@cache
def container_id(*parts: object) -> str:
    """A container id, 64 hex digits."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


@dataclass
class Campaign:
    """A planned campaign of ``blocks`` blocks of three runs: baseline twice (A/A), and an arm."""

    name: str = "web-20261121t113000-1f3a"
    blocks: int = 2
    tranches: tuple[int, ...] = ()
    arms: tuple[tuple[str, str], ...] = (
        ("tcp-loopback", "a"),
        ("sharedvolume", "a"),
        ("tcp-loopback", "b"),
    )
    profile: Body = field(
        default_factory=lambda: {"name": "standard", "warmup_s": 1.0, "measure_s": 2.0}
    )
    load: Body = field(
        default_factory=lambda: {
            "tool": "wrk",
            "concurrency": 16,
            "threads": 1,
            "requests": None,
            "keepalive": True,
        }
    )
    values: int = 60
    rounds: int = 1
    idle_cgroups: int = 0
    peer: str | None = None
    peer_boot: str = "boot-2"  # that of lab-2: virtual hosts of one machine
    proofs: tuple[Body, ...] = ()
    images: Body | None = None  # of every deployment; absent in block files of before

    @property
    def tasks(self) -> Mapping[str, tuple[str, float]]:
        """The containers of every deployment."""
        return MESH if self.peer else TASKS

    @property
    def boots(self) -> dict[str, str]:
        """Boot id by host."""
        return {**BOOT, self.peer: self.peer_boot} if self.peer else BOOT

    @property
    def load_host(self) -> str:
        """Where the load tool is started."""
        return "lab-2" if self.peer else "lab-1"

    @property
    def positions(self) -> range:
        """Places of a block's runs: every arm once a round."""
        return range(1, len(self.arms) * self.rounds + 1)

    def arm_at(self, position: int) -> tuple[str, str]:
        """(arm, copy) of the run at a position."""
        return self.arms[(position - 1) % len(self.arms)]

    def plan(self) -> Body:
        """The plan as docs/contracts.md has it."""
        return {
            "schema": 1,
            "campaign": self.name,
            "experiment": "web",
            "seed": 7,
            "question": "Is a Unix socket faster?",
            "factor": "path",
            "baseline": "tcp-loopback",
            "contrasts": [["sharedvolume", "tcp-loopback"]],
            "profile": self.profile,
            "embeds": {},
            "hosts": {},
            "arms": {},
            "variants": {"": {}},
            "blocks": [self.planned_block(number) for number in range(1, self.blocks + 1)],
        }

    def planned_block(self, number: int) -> Body:
        """One block of the plan."""
        return {
            "block": number,
            "replicate": number,
            "tranche": self.tranches[number - 1] if self.tranches else 1,
            "host": "lab-2",
            **({"peer": self.peer} if self.peer else {}),
            "load_host": self.load_host,
            "variant": "",
            "load": self.load,
            "runs": [
                {
                    "run": self.run_id(number, position),
                    "position": position,
                    "arm": self.arm_at(position)[0],
                    "copy": self.arm_at(position)[1],
                }
                for position in self.positions
            ],
        }

    def run_id(self, block: int, position: int) -> str:
        """Id of a run: 16 hex digits."""
        return container_id(self.name, block, position)[:16]

    def plan_bytes(self) -> bytes:
        """plan.json."""
        return (json.dumps(self.plan(), indent=2, sort_keys=True) + "\n").encode()

    def containers(self, block: int, arm: str, copy: str, attempt: int) -> Body:
        """A deployment's containers in the header."""
        return {
            task: {
                "id": container_id(block, attempt, arm, copy, task),
                "image": "sha256:" + "0" * 64,
                "started_at": "2026-11-21T11:30:00Z",
                "pid": 100,
                "cpus": [1],
                "quota_us": None,
                "period_us": 100000,
                "memory_limit_bytes": 268435456,
                **({"host": host} if self.peer else {}),
            }
            for task, (host, _) in self.tasks.items()
        }

    def far_end(self) -> Body:
        """What a deployment's binding says besides, where the topology spans two hosts."""
        if not self.peer:
            return {}
        sidecars = {task: host for task, (host, _) in MESH.items() if task.startswith("sidecar")}
        return {
            "endpoint": None,
            "peer_node": "9a41",
            "peer_allocation": "c0ffee",
            "sidecars": {task: {"host": host, **SIDECAR} for task, host in sidecars.items()},
        }

    def header(self, block: int, attempt: int = 1) -> Body:
        """Header of a block file, without type and schema (the writer adds them)."""
        planned = self.planned_block(block)
        planned.pop("runs")
        deployments = {
            f"{arm}/{copy}": {
                "job": f"sl-b{block:04d}-{arm}-{copy}",
                "arm": arm,
                "copy": copy,
                "path": arm,
                "variables": {"path": arm},
                "node": "6f2c",
                "allocation": container_id(block, attempt, arm, copy)[:8],
                "endpoint": "http://198.18.0.12:24001/",
                "readiness_s": 2.1,
                "containers": self.containers(block, arm, copy, attempt),
                **({"images": self.images} if self.images is not None else {}),
                **self.far_end(),
            }
            for arm, copy in self.arms
        }
        hosts = {
            host: {
                "boot_id": self.boots[host],
                "arch": "x86_64",
                "kind": "virtual",
                "emulated": False,
                "untested": False,
                "cpus": CPUS[host],
                "environment": {"kernel": "6.18.0", "cpu_model": "Some CPU"},
            }
            for host in self.boots
        }
        return {
            "campaign": self.name,
            "experiment": "web",
            "attempt": attempt,
            "plan_sha256": hashlib.sha256(self.plan_bytes()).hexdigest(),
            **planned,
            "profile": self.profile,
            "conditions": [],
            "started_wall_ns": 1_800_000_000 * SECOND,
            "deployments": deployments,
            "hosts": hosts,
            "tools": {"wrk": {"version": "4.1.0-3+b2", "path": "/usr/bin/wrk", "sha256": "0" * 64}},
            "preflight": {host: {"foreign_cpu_share": 0.01} for host in self.boots},
            "warnings": [],
        }

    def snapshot(self, block: int, attempt: int, host: str, at_ns: int, busy: str = "") -> Body:
        """Counters of ``host`` ``at_ns`` after the block began; ``busy`` is the arm under load."""
        seconds = at_ns / SECOND
        cgroups = {}
        for arm, copy in self.arms:
            for task, (place, busy_share) in self.tasks.items():
                if place != host:
                    continue
                measured = f"{arm}/{copy}" == busy
                share = busy_share if measured else 0.001
                one = container_id(block, attempt, arm, copy, task)
                cgroups[one] = cgroup(share, at_ns)
                if measured:
                    cgroups[one]["processes"] = processes(share, at_ns)
        if host == "lab-1":
            for number in range(self.idle_cgroups):
                cgroups[container_id(host, number)] = cgroup(0.001, at_ns)
        ticks = round(seconds * 100)
        cpu = [ticks // 2, 0, ticks // 3, ticks // 20, 0, 0, ticks // 20, 0]
        return {
            "boot_id": self.boots[host],
            "monotonic_ns": at_ns,
            "wall_ns": 1_800_000_000 * SECOND + at_ns,
            "clock_ticks": 100,
            "cgroup_version": 1,
            "cpu": {str(number): cpu for number in CPUS[host]},
            "lab_cpu_ns": 0,
            "frequency_khz": {},
            "net": {"ListenOverflows": 0, "ListenDrops": 0, "RetransSegs": int(seconds)},
            "host": {
                "memory_bytes": 900_000_000,
                "memory_anonymous_bytes": 400_000_000,
                "memory_cache_bytes": 300_000_000,
                "memory_kernel_bytes": None,
                "read_bytes": None,
                "written_bytes": 4096 * int(seconds),
                "links_bytes": 1000 * int(seconds),
            },
            "cgroups": cgroups,
        }

    def run_body(self, block: int, position: int, attempt: int = 1) -> Body:
        """Body of one run, without its type (the writer adds it)."""
        arm, copy = self.arm_at(position)
        stdout, rows = wrk_output(
            (block * 7 + position * 3 + attempt) % 64,
            concurrency=self.load["concurrency"],
            mean_us=700 - 40 * (arm == "sharedvolume") + (block + position) % 8,
            values=self.values,
        )
        began = position * 4 * SECOND
        start = began + SECOND + SECOND // 10
        end = start + 21 * SECOND // 10
        hosts = {
            when: {
                host: self.snapshot(block, attempt, host, at, f"{arm}/{copy}")
                for host in self.boots
            }
            for when, at in (("before", start - 10**7), ("after", end + 10**7))
        }
        bound = self.containers(block, arm, copy, attempt)
        return {
            "run": self.run_id(block, position),
            "position": position,
            "arm": arm,
            "copy": copy,
            "warmup": {
                "argv": ["wrk", "-d", "1s"],
                "exit_code": 0,
                "started_monotonic_ns": began,
                "ended_monotonic_ns": began + SECOND,
            },
            "measure": {
                "argv": ["wrk", "--latency", "-t", "1", "-c", "16", "-d", "2s"],
                "exit_code": 0,
                "stdout": stdout,
                "stderr": "",
                "started_monotonic_ns": start,
                "ended_monotonic_ns": end,
                "started_wall_ns": 1_800_000_000 * SECOND + start,
                "ended_wall_ns": 1_800_000_000 * SECOND + end,
                "cpu_user_s": 0.5,
                "cpu_system_s": 0.9,
                "files": {"histogram": {"text": rows}},
            },
            "began_monotonic_ns": began,
            "finished_monotonic_ns": end + SECOND // 5,
            **hosts,
            "containers_after": {
                task: {"id": facts["id"], "started_at": facts["started_at"]}
                for task, facts in bound.items()
            },
        }

    def run_bodies(self, block: int, attempt: int = 1) -> list[Body]:
        """All runs of a block."""
        return [self.run_body(block, place, attempt) for place in self.positions]

    def folder(self, state: Path) -> Path:
        """The campaign's folder below a state folder."""
        return state / "results" / "campaigns" / self.name

    def write_plan(self, state: Path) -> Path:
        """Write plan.json; returns the (empty) blocks folder."""
        blocks = self.folder(state) / "blocks"
        blocks.mkdir(parents=True, exist_ok=True)
        (self.folder(state) / "plan.json").write_bytes(self.plan_bytes())
        if self.proofs:
            (self.folder(state) / "proofs.json").write_bytes(self.proofs_bytes())
        return blocks

    def proofs_bytes(self) -> bytes:
        """proofs.json."""
        made = {"schema": 1, "campaign": self.name, "made_wall_s": 1.8e9}
        return json.dumps({**made, "proofs": self.proofs}).encode()

    def write_block(
        self,
        state: Path,
        block: int,
        attempt: int = 1,
        *,
        change: Mapping[int, Change] | None = None,
        change_header: Change | None = None,
    ) -> Path:
        """Seal one block file; ``change`` alters the body of the run at a position."""
        header = self.header(block, attempt)
        if change_header:
            change_header(header)
        bodies = self.run_bodies(block, attempt)
        for position, alter in (change or {}).items():
            alter(bodies[position - 1])
        return seal(self.write_plan(state), block_name(block, attempt), header, bodies)

    def write(self, state: Path, blocks: Iterable[int] | None = None) -> list[Path]:
        """Write the plan and the blocks (all of them by default), one attempt each."""
        self.write_plan(state)
        wanted = range(1, self.blocks + 1) if blocks is None else blocks
        return [self.write_block(state, block) for block in wanted]


def seal(folder: Path, name: str, header: Body, bodies: Iterable[Body]) -> Path:
    """Write a sealed block file."""
    with BlockWriter(folder, name, header) as writer:
        for body in bodies:
            writer.run(body)
        return writer.seal({"ended_wall_ns": 1_800_000_060 * SECOND})
