"""A block file's header -> what every run of the block has in common, and its deployments.

Raises ``FieldError`` for a header that is none, and ``ForeignError`` for one that belongs to
another campaign or plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from collector.dataset.fields import (
    Body,
    FieldError,
    as_json,
    cpu_numbers,
    mapping,
    maybe_flag,
    maybe_mapping,
    maybe_number,
    maybe_text,
    maybe_whole,
    strings,
    text,
    whole,
)
from collector.dataset.placement import path_placement
from collector.dataset.planned import Planned, PlannedBlock

LOAD_TASK: Final = "load"
# ab runs one thread whatever it is asked for.
SINGLE_THREADED: Final = frozenset({"ab"})

Row = dict[str, Any]


class ForeignError(FieldError):
    """The file is a block file, but not one of this campaign."""


@dataclass(frozen=True, slots=True)
class Container:
    """One container of a deployment, as bound when the block began."""

    task: str
    host: str
    id: str
    allocation: str | None
    started_at: str | None
    limited: bool


@dataclass(frozen=True, slots=True)
class Deployment:
    """One arm's deployment in the block.

    ``inside``: it has no endpoint to call, the load tool runs in its own container ``load``, or,
    where there are no containers, is the program that the arm consists of.
    """

    job: str
    path: str | None
    placement: str | None
    inside: bool
    containers: tuple[Container, ...]

    @property
    def topology(self) -> list[Container]:
        """What the load is put on: every container but the one that makes the load."""
        return [one for one in self.containers if not (self.inside and one.task == LOAD_TASK)]

    @property
    def load(self) -> list[Container]:
        """The container that makes the load; empty where the load comes from outside."""
        return [one for one in self.containers if self.inside and one.task == LOAD_TASK]


@dataclass(frozen=True, slots=True)
class Header:
    """The header, read once a block: ``common`` is the part of a run's row that never varies.

    ``cpus``: the topology's hosts, one or two, each with its CPUs.
    """

    body: Body
    campaign: str
    block: int
    attempt: int
    host: str
    peer: str | None
    load_host: str
    tool: str
    cores: int | None
    cpus: Mapping[str, tuple[int, ...]]
    boots: Mapping[str, str | None]
    planned: PlannedBlock
    deployments: Mapping[str, Deployment]
    common: Row


def check_identity(body: Body, planned: Planned) -> tuple[int, int]:
    """(block, attempt) of a header that belongs to ``planned``.

    Raises ``ForeignError`` if it is of another campaign, plan, or names a block or host that the
    plan does not have; ``FieldError`` if a key is missing.
    """
    campaign, block, attempt = text(body, "campaign"), whole(body, "block"), whole(body, "attempt")
    if campaign != planned.campaign:
        raise ForeignError(f"belongs to campaign {campaign!r}, not {planned.campaign!r}")
    if text(body, "plan_sha256") != planned.sha256:
        raise ForeignError("was made from another plan than the plan.json beside it")
    if block not in planned.blocks:
        raise ForeignError(f"block {block} is not in the plan")
    if attempt < 1:
        raise FieldError(f"'attempt': expected 1 or more, found {attempt}")
    place = planned.blocks[block]
    for key, expected in (("host", place.host), ("load_host", place.load_host)):
        if text(body, key) != expected:
            raise ForeignError(f"{key} is {text(body, key)!r}; the plan says {expected!r}")
    if maybe_text(body, "peer") != place.peer:
        raise ForeignError(f"peer is {body.get('peer')!r}; the plan says {place.peer!r}")
    return block, attempt


def read_header_body(body: Body, planned: Planned) -> Header:
    """Check a header against the plan and read what the rows need."""
    block, attempt = check_identity(body, planned)
    host, peer, load_host = text(body, "host"), maybe_text(body, "peer"), text(body, "load_host")
    load, hosts = mapping(body, "load"), mapping(body, "hosts")
    load_facts = maybe_mapping(hosts, load_host) or {}
    tool = text(load, "tool")
    topology = {one: mapping(hosts, one) for one in (host, peer) if one is not None}
    boots = {name: maybe_text(mapping(hosts, name), "boot_id") for name in hosts}
    machines = {one: boots[one] for one in topology}
    bound = mapping(body, "deployments")
    deployments = {key: _deployment(mapping(bound, key), host, machines) for key in bound}
    return Header(
        body=body,
        campaign=planned.campaign,
        block=block,
        attempt=attempt,
        host=host,
        peer=peer,
        load_host=load_host,
        tool=tool,
        cores=_generator_cores(tool, load, cpu_numbers(load_facts, "cpus")),
        cpus={one: cpu_numbers(facts, "cpus") for one, facts in topology.items()},
        boots=boots,
        planned=planned.blocks[block],
        deployments=deployments,
        common=_common(body, load, topology),
    )


def _generator_cores(tool: str, load: Body, cpus: Sequence[int]) -> int | None:
    threads = 1 if tool in SINGLE_THREADED else maybe_whole(load, "threads")
    return min(threads, len(cpus)) if threads and cpus else None


def _common(body: Body, load: Body, topology: Mapping[str, Body]) -> Row:
    profile, facts = mapping(body, "profile"), topology[text(body, "host")]
    by_requests = maybe_whole(load, "requests") is not None
    return {
        "attempt": whole(body, "attempt"),
        "campaign": text(body, "campaign"),
        "experiment": text(body, "experiment"),
        "block": whole(body, "block"),
        "replicate": whole(body, "replicate"),
        "tranche": whole(body, "tranche"),
        "variant": maybe_text(body, "variant") or "",
        "host": text(body, "host"),
        "peer": maybe_text(body, "peer"),
        "load_host": text(body, "load_host"),
        "concurrency": whole(load, "concurrency"),
        "offered": maybe_text(load, "offered") or "",
        "offered_rps": maybe_whole(load, "rate_rps"),
        "profile": text(profile, "name"),
        "arch": maybe_text(facts, "arch"),
        "kind": maybe_text(facts, "kind"),
        "emulated": _any(maybe_flag(one, "emulated") for one in topology.values()),
        "untested": _any(maybe_flag(one, "untested") for one in topology.values()),
        "conditions": _conditions(body),
        "planned_s": None if by_requests else maybe_number(profile, "measure_s"),
        "foreign_cpu_share": _foreign_cpu(maybe_mapping(body, "preflight") or {}, topology),
    }


def _any(flags: Iterable[bool | None]) -> bool | None:
    """True if one is true; else None if one is not known."""
    found = set(flags)
    return True if True in found else None if None in found else False


def _foreign_cpu(preflight: Body, hosts: Iterable[str]) -> float | None:
    """The largest share that is known: one busy host is enough to disturb a path."""
    taken = [maybe_mapping(preflight, host) or {} for host in hosts]
    shares = [maybe_number(one, "foreign_cpu_share") for one in taken]
    return max((share for share in shares if share is not None), default=None)


def _conditions(body: Body) -> str:
    declared = body.get("conditions") or []
    if not isinstance(declared, list):
        raise FieldError("'conditions': expected a list")
    return "; ".join(item if isinstance(item, str) else as_json(item) for item in declared)


def _deployment(body: Body, host: str, boots: Mapping[str, str | None]) -> Deployment:
    """A deployment; ``boots``: the topology's hosts, each with its boot id."""
    bound = mapping(body, "containers")
    containers, sets = [], []
    for task in bound:
        facts = mapping(bound, task)
        limited = maybe_whole(facts, "quota_us") is not None
        started = maybe_text(facts, "started_at")
        place = maybe_text(facts, "host") or host
        if place not in boots:
            raise FieldError(f"container {task!r} is on {place!r}, no host of this topology")
        identity, allocation = text(facts, "id"), maybe_text(facts, "allocation")
        containers.append(Container(task, place, identity, allocation, started, limited))
        sets.append(frozenset(cpu_numbers(facts, "cpus")))
    if not containers:  # a program on the host itself, both of whose ends have its CPUs
        sets.append(frozenset(cpu_numbers(body, "cpus")))
    return Deployment(
        job=text(body, "job"),
        path=maybe_text(body, "path"),
        placement=path_placement([one.host for one in containers] or [host], boots, sets),
        inside=maybe_text(body, "endpoint") is None,
        containers=tuple(containers),
    )


def header_warnings(body: Body) -> list[str]:
    """What the engine warned of when the block began."""
    return strings(body, "warnings")
