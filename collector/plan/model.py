"""The plan as data, and as the JSON of docs/contracts.md.

``Plan.to_json`` gives the same bytes for the same plan; ``Plan.from_json`` takes nothing else than
what it wrote: another schema number, an unknown key, a name that is defined nowhere, or a run whose
id is not the hash of its slot is a ``PlanError``.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config

from collector.plan.experiment import ProfileName, Value
from collector.plan.findings import shown

SCHEMA: Final = 1
_STRICT: Final = ConfigDict(extra="forbid", strict=True)
Copy = Literal["a", "b"]
Count = Annotated[int, Field(ge=1)]


class PlanError(Exception):
    """Bytes that are no plan of this version; the text says why."""


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class Profile:
    """Seconds of a run: discarded warm-up, then the measured part."""

    name: ProfileName
    warmup_s: float
    measure_s: float


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class PlannedHost:
    """A host as it was when the plan was made."""

    address: str
    arch: str
    kind: str
    emulated: bool
    cpus: tuple[int, ...]


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class PlannedArm:
    """An arm; ``variables`` has the experiment's common ones beneath its own.

    ``program``: where there is no job, the words of what runs on the host itself, the first one its
    name; ``{name}`` stands for a variable, ``{dir}`` for an empty folder of the run's own.
    """

    job: str | None
    variables: dict[str, Value]
    also_differs: str | None
    program: tuple[str, ...] = ()


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class Load:
    """What the load tool is asked for. ``requests`` None: the profile's seconds.

    An open loop asks for ``rate_rps`` over all connections, and ``offered`` is that as it was
    declared: ``70 % of peak``, ``5000/s``. A closed loop, as every load of plans from before there
    were others, has None and "".
    """

    tool: str
    concurrency: Count
    threads: Count
    requests: Count | None
    keepalive: bool
    rate_rps: Count | None = None
    offered: str = ""


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class Run:
    """One slot of a block. ``run`` is the first 16 hex digits of its slot's SHA-256."""

    run: str
    position: Count
    arm: str
    copy: Copy


class Cell(NamedTuple):
    """What a comparison holds constant; ``peer`` is None where the topology has one host."""

    host: str
    peer: str | None
    load_host: str
    variant: str
    tool: str
    concurrency: int
    offered: str = ""


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class Block:
    """Every arm once and the baseline's copy, at one cell, in the order of running.

    ``peer`` is the host of the far end, None where the topology has one host; so it is in plans
    that were made before there were peers.
    """

    block: Count
    replicate: Count
    tranche: Count
    host: str
    peer: str | None = field(default=None, kw_only=True)
    load_host: str
    variant: str
    load: Load
    runs: tuple[Run, ...]

    @property
    def ends(self) -> list[str]:
        """Hosts of the topology."""
        return [self.host, self.peer] if self.peer else [self.host]

    @property
    def hosts(self) -> list[str]:
        """Hosts whose counters belong to the block."""
        return sorted({*self.ends, self.load_host})

    @property
    def cell(self) -> Cell:
        """What the block holds constant."""
        load = self.load
        where = (self.host, self.peer, self.load_host, self.variant)
        return Cell(*where, load.tool, load.concurrency, load.offered)


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class Plan:
    """A whole campaign, block by block in the order of running.

    ``failures``: a run with failed requests is a good one; ``calls``: system calls are counted in
    the first replicate. Neither is so in plans from before.
    """

    schema: int
    campaign: str
    experiment: str
    seed: int
    question: str
    factor: str
    baseline: str
    contrasts: tuple[tuple[str, str], ...]
    profile: Profile
    embeds: dict[str, str]
    hosts: dict[str, PlannedHost]
    arms: dict[str, PlannedArm]
    variants: dict[str, dict[str, Value]]
    blocks: tuple[Block, ...]
    failures: bool = False
    calls: bool = False

    def on_guests(self, block: Block) -> bool:
        """Whether an end of the block's topology is an emulated host."""
        ends = filter(None, (block.host, block.peer))
        return any(self.hosts[name].emulated for name in ends)

    def to_json(self) -> bytes:
        """The plan's bytes: sorted keys, two-space indent, newline at the end."""
        data = _adapter().dump_python(self, mode="json")
        return (json.dumps(data, sort_keys=True, indent=2, allow_nan=False) + "\n").encode("ascii")

    @classmethod
    def from_json(cls, data: bytes) -> Plan:
        """Read what ``to_json`` wrote. Raises ``PlanError`` with the first thing wrong."""
        try:
            plan = _adapter().validate_json(data)
        except ValidationError as error:
            raise PlanError(_reason(error)) from None
        if plan.schema != SCHEMA:
            raise PlanError(f"plan of schema {plan.schema}; this version reads {SCHEMA}")
        _check_names(plan)
        _check_runs(plan)
        return plan


@cache
def _adapter() -> TypeAdapter[Plan]:
    return TypeAdapter(Plan)


def _reason(error: ValidationError) -> str:
    first: Any = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"]) or "plan"
    return f"{place}: {first['msg']}, got {shown(first['input'])}"


def run_id(campaign: str, block: Block, position: int, arm: str, copy: str) -> str:
    """Id of a slot: 16 hex digits of SHA-256 over the slot as a JSON list without blanks."""
    slot = [
        campaign,
        block.host,
        block.block,
        position,
        block.variant,
        arm,
        copy,
        block.load.tool,
        block.load.concurrency,
    ]
    text = json.dumps(slot, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:16]


def _check_names(plan: Plan) -> None:
    if plan.baseline not in plan.arms:
        raise PlanError(f"baseline {shown(plan.baseline)} is no arm of the plan")
    for pair in plan.contrasts:
        for arm in pair:
            if arm not in plan.arms:
                raise PlanError(f"contrast {shown(pair)} names no arm of the plan")
    for number, block in enumerate(plan.blocks, start=1):
        if block.block != number:
            raise PlanError(f"block {block.block} stands where block {number} belongs")
        for host in (block.host, block.load_host, block.peer or block.host):
            if host not in plan.hosts:
                raise PlanError(f"block {number}: host {shown(host)} is no host of the plan")
        if block.variant not in plan.variants:
            raise PlanError(f"block {number}: no variant {shown(block.variant)} in the plan")


def _check_runs(plan: Plan) -> None:
    wanted = sorted([(arm, "a") for arm in plan.arms] + [(plan.baseline, "b")])
    for block in plan.blocks:
        if sorted((run.arm, run.copy) for run in block.runs) != wanted:
            raise PlanError(f"block {block.block}: not every arm once and the baseline's copy")
        for position, run in enumerate(block.runs, start=1):
            expected = run_id(plan.campaign, block, position, run.arm, run.copy)
            if run.position != position or run.run != expected:
                raise PlanError(
                    f"block {block.block}: run {run.run} is not its slot's; expected {expected}"
                )
