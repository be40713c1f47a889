"""What the plan says of a campaign's slots: the few keys that collecting needs.

Read from plan.json as it lies beside the blocks. Raises ``DatasetError`` naming the file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from collector.dataset.errors import DatasetError
from collector.dataset.fields import FieldError, mapping, maybe_text, maybe_whole, text, whole
from collector.schema import VERSION

PLAN_NAME: Final = "plan.json"
PLAN_LIMIT: Final = 512 * 1024 * 1024


class Slot(NamedTuple):
    """A planned run's place in its block."""

    position: int
    arm: str
    copy: str


@dataclass(frozen=True, slots=True)
class PlannedBlock:
    """A planned block: where it is to run, and its slots by run id.

    ``cell`` is what its runs hold constant: blocks of one cell are further looks at the same thing.
    """

    tranche: int
    cell: tuple[str, str | None, str, str, str, int, str]
    host: str
    peer: str | None
    load_host: str
    slots: Mapping[str, Slot]


@dataclass(frozen=True, slots=True)
class Planned:
    """A campaign's plan: ``sha256`` is that of the file, which every block's header names."""

    campaign: str
    experiment: str
    sha256: str
    blocks: Mapping[int, PlannedBlock]

    @property
    def slots(self) -> int:
        """Number of planned runs, all tranches."""
        return sum(len(block.slots) for block in self.blocks.values())


def read_plan(path: Path) -> Planned:
    """Read ``plan.json``; raises ``DatasetError`` if it is missing, unreadable or no plan."""
    try:
        if path.stat().st_size > PLAN_LIMIT:
            raise DatasetError(f"{path}: larger than {PLAN_LIMIT} bytes: this is no plan")
        data = path.read_bytes()
    except OSError as error:
        raise DatasetError(
            f"{path}: {error.strerror}; every campaign's folder holds its plan"
        ) from None
    try:
        return parse_plan(data)
    except (FieldError, ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: no plan: {error}") from None


def parse_plan(data: bytes) -> Planned:
    """A plan's bytes -> ``Planned``; raises ``ValueError`` (``FieldError`` is one)."""
    plan = json.loads(data)
    if not isinstance(plan, dict):
        raise FieldError("expected an object")
    if plan.get("schema") != VERSION:
        raise FieldError(f"schema {plan.get('schema')!r}: this release reads schema {VERSION} only")
    blocks: dict[int, PlannedBlock] = {}
    seen: set[str] = set()
    for block in plan.get("blocks") or []:
        number = whole(block, "block")
        if number in blocks:
            raise FieldError(f"block {number} is planned twice")
        blocks[number] = _planned_block(block, seen)
    return Planned(
        campaign=text(plan, "campaign"),
        experiment=text(plan, "experiment"),
        sha256=hashlib.sha256(data).hexdigest(),
        blocks=blocks,
    )


def _planned_block(block: dict[str, object], seen: set[str]) -> PlannedBlock:
    load = mapping(block, "load")
    host, peer, load_host = text(block, "host"), maybe_text(block, "peer"), text(block, "load_host")
    runs = block.get("runs")
    if not isinstance(runs, list):
        raise FieldError("'runs': expected a list")
    slots: dict[str, Slot] = {}
    for run in runs:
        name = text(run, "run")
        if name in seen:
            raise FieldError(f"run {name} is planned twice")
        seen.add(name)
        slots[name] = Slot(whole(run, "position"), text(run, "arm"), text(run, "copy"))
    return PlannedBlock(
        tranche=maybe_whole(block, "tranche") or 1,
        cell=(
            host,
            peer,
            load_host,
            maybe_text(block, "variant") or "",
            text(load, "tool"),
            whole(load, "concurrency"),
            maybe_text(load, "offered") or "",
        ),
        host=host,
        peer=peer,
        load_host=load_host,
        slots=slots,
    )
