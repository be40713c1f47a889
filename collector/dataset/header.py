"""A block file's header -> what every run of the block has in common, and its deployments.

Raises ``FieldError`` for a header that is none, and ``ForeignError`` for one that belongs to
another campaign or plan.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from collector.dataset.fields import (
    Body,
    FieldError,
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
from collector.dataset.planned import Planned, PlannedBlock

SAME_CORE: Final = "same_core"
SPLIT: Final = "split"
SHARED: Final = "shared"
# ab runs one thread whatever it is asked for.
SINGLE_THREADED: Final = frozenset({"ab"})

Row = dict[str, Any]


class ForeignError(FieldError):
    """The file is a block file, but not one of this campaign."""


@dataclass(frozen=True, slots=True)
class Container:
    """One container of a deployment, as bound when the block began."""

    task: str
    id: str
    started_at: str | None
    limited: bool


@dataclass(frozen=True, slots=True)
class Deployment:
    """One arm's deployment in the block."""

    job: str
    path: str | None
    placement: str | None
    containers: tuple[Container, ...]


@dataclass(frozen=True, slots=True)
class Header:
    """The header, read once a block: ``common`` is the part of a run's row that never varies."""

    body: Body
    campaign: str
    block: int
    attempt: int
    host: str
    load_host: str
    tool: str
    cores: int | None
    cpus: tuple[int, ...]
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
    return block, attempt


def read_header_body(body: Body, planned: Planned) -> Header:
    """Check a header against the plan and read what the rows need."""
    block, attempt = check_identity(body, planned)
    host, load_host = text(body, "host"), text(body, "load_host")
    load, hosts = mapping(body, "load"), mapping(body, "hosts")
    facts, load_facts = mapping(hosts, host), maybe_mapping(hosts, load_host) or {}
    tool = text(load, "tool")
    deployments = {
        key: _deployment(mapping(mapping(body, "deployments"), key))
        for key in mapping(body, "deployments")
    }
    return Header(
        body=body,
        campaign=planned.campaign,
        block=block,
        attempt=attempt,
        host=host,
        load_host=load_host,
        tool=tool,
        cores=_generator_cores(tool, load, cpu_numbers(load_facts, "cpus")),
        cpus=cpu_numbers(facts, "cpus"),
        boots={name: maybe_text(mapping(hosts, name), "boot_id") for name in hosts},
        planned=planned.blocks[block],
        deployments=deployments,
        common=_common(body, load, facts),
    )


def _generator_cores(tool: str, load: Body, cpus: Sequence[int]) -> int | None:
    threads = 1 if tool in SINGLE_THREADED else maybe_whole(load, "threads")
    return min(threads, len(cpus)) if threads and cpus else None


def _common(body: Body, load: Body, facts: Body) -> Row:
    profile = mapping(body, "profile")
    preflight = maybe_mapping(maybe_mapping(body, "preflight") or {}, text(body, "host")) or {}
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
        "load_host": text(body, "load_host"),
        "concurrency": whole(load, "concurrency"),
        "profile": text(profile, "name"),
        "arch": maybe_text(facts, "arch"),
        "kind": maybe_text(facts, "kind"),
        "emulated": maybe_flag(facts, "emulated"),
        "conditions": _conditions(body),
        "planned_s": None if by_requests else maybe_number(profile, "measure_s"),
        "foreign_cpu_share": maybe_number(preflight, "foreign_cpu_share"),
    }


def _conditions(body: Body) -> str:
    declared = body.get("conditions") or []
    if not isinstance(declared, list):
        raise FieldError("'conditions': expected a list")
    return "; ".join(item if isinstance(item, str) else as_json(item) for item in declared)


def _deployment(body: Body) -> Deployment:
    bound = mapping(body, "containers")
    containers, sets = [], []
    for task in bound:
        facts = mapping(bound, task)
        limited = maybe_whole(facts, "quota_us") is not None
        started = maybe_text(facts, "started_at")
        containers.append(Container(task, text(facts, "id"), started, limited))
        sets.append(frozenset(cpu_numbers(facts, "cpus")))
    return Deployment(
        job=text(body, "job"),
        path=maybe_text(body, "path"),
        placement=placement(sets),
        containers=tuple(containers),
    )


def placement(sets: Sequence[frozenset[int]]) -> str | None:
    """Placement of a deployment from its containers' CPU sets; None where a set is not known.

    >>> placement([frozenset({1}), frozenset({1})]), placement([frozenset({1}), frozenset({2, 3})])
    ('same_core', 'split')
    >>> placement([frozenset({1, 2}), frozenset({2})]), placement([frozenset({1, 2})])
    ('shared', 'shared')
    """
    if not sets or not all(sets):
        return None
    every = frozenset[int]().union(*sets)
    if len(every) == 1:
        return SAME_CORE
    # One container with several CPUs holds both ends of the leg: they share its set.
    disjoint = len(every) == sum(len(one) for one in sets)
    return SPLIT if disjoint and len(sets) > 1 else SHARED


def binding_rows(header: Header) -> list[Row]:
    """Rows of the table ``bindings``: one a deployment."""
    body = header.body
    hosts = mapping(body, "hosts")
    load_facts = maybe_mapping(hosts, header.load_host) or {}
    tools = maybe_mapping(body, "tools") or {}
    environment = as_json(_environment(mapping(hosts, header.host)))
    load_environment = as_json({**_environment(load_facts), "tools": tools})
    rows = []
    for key in header.deployments:
        facts = mapping(mapping(body, "deployments"), key)
        rows.append(
            {
                "campaign": header.campaign,
                "block": header.block,
                "attempt": header.attempt,
                "deployment": text(facts, "job"),
                "arm": text(facts, "arm"),
                "copy": text(facts, "copy"),
                "host": header.host,
                "node": maybe_text(facts, "node"),
                "allocation": maybe_text(facts, "allocation"),
                "endpoint": maybe_text(facts, "endpoint"),
                "containers": as_json(mapping(facts, "containers")),
                "variables": as_json(maybe_mapping(facts, "variables") or {}),
                "environment": environment,
                "load_environment": load_environment,
                "readiness_s": maybe_number(facts, "readiness_s"),
            }
        )
    return rows


def _environment(facts: Body) -> Row:
    # The environment's own keys stay on top; what the lab knows of the host lies beside them.
    known = {key: value for key, value in facts.items() if key != "environment"}
    return {**known, **(maybe_mapping(facts, "environment") or {})}


def as_json(value: object) -> str:
    """JSON with sorted keys, so that equal facts are equal strings."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def header_warnings(body: Body) -> list[str]:
    """What the engine warned of when the block began."""
    return strings(body, "warnings")
