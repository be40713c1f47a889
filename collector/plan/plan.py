"""experiment + inventory + seed -> plan. Pure, but for ``file_embeds``, which reads files.

The order of a campaign: in each replicate every cell has one block, the cells in random order;
within a block the arms and the baseline's A/A copy are in random order. Both orders follow from the
seed alone (``shuffle``), not from the campaign's name, so a campaign can be repeated as it was.

The first tranche has the experiment's ``blocks`` replicates of every cell; tranches of 6 follow up
to ``blocks_cap`` (the last may be smaller). All of them are listed; the engine runs a further one
of the cells that are not precise enough by then.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from collector.parse import TOOLS
from collector.plan.estimate import Estimate, estimate
from collector.plan.experiment import (
    Experiment,
    ProfileName,
    Value,
    level_name,
    load_experiment,
    tranche_bounds,
)
from collector.plan.findings import BadInputError, Finding, is_label, shown
from collector.plan.inventory import Host, Inventory
from collector.plan.model import (
    SCHEMA,
    Block,
    Copy,
    Load,
    Plan,
    PlanError,
    PlannedArm,
    PlannedHost,
    Profile,
    Run,
    run_id,
)
from collector.plan.pairing import Pair, pair_hosts
from collector.plan.peaks import NO_PEAKS, Peaks, planned_loads
from collector.plan.rules_arms import job_path
from collector.plan.shuffle import shuffled

TRANCHE_BLOCKS: Final = 6
PROFILES: Final[Mapping[ProfileName, Profile]] = {
    "quick": Profile("quick", 1.0, 2.0),
    "standard": Profile("standard", 5.0, 10.0),
    "thorough": Profile("thorough", 5.0, 30.0),
}
Cell = tuple[Pair, str, Load]


def make_plan(
    experiment: Experiment,
    inventory: Inventory,
    *,
    seed: int,
    campaign: str,
    embeds: Mapping[str, str],
    profile: ProfileName | None = None,
    blocks: int | None = None,
    peaks: Peaks = NO_PEAKS,
) -> Plan:
    """Make the plan of a campaign. The same arguments give the same plan, byte for byte.

    The experiment must have passed ``rules.check``. ``embeds`` are the hashes that continuing is
    refused over (see ``changed``). ``peaks`` are what an open loop's shares are of. ``profile`` and
    ``blocks`` override the experiment's; with ``blocks`` there is one tranche. Raises
    ``ValueError`` for a campaign that is no RFC 1123 label or fewer than one block,
    ``BadInputError`` where no host can be measured, or a peak is not known.
    """
    if not is_label(campaign):
        raise ValueError(f"campaign {shown(campaign)}: expected an RFC 1123 label")
    if blocks is not None and blocks < 1:
        raise ValueError(f"blocks = {blocks}: expected at least 1")
    spec = experiment.spec
    pairs = pair_hosts(experiment, inventory)
    if not pairs:
        message = "no host to measure and load; expected some in groups 'clients' and 'load'"
        raise BadInputError([Finding("error", "inventory: groups", message)])
    variants = cross_variants(spec.cross)
    cells = [
        (_loaded_from_within(pair) if TOOLS[load.tool].capabilities.inside else pair, variant, load)
        for pair in pairs
        for variant in variants
        for load in planned_loads(experiment, pair, variant, peaks)
    ]
    used = {
        host.name: host
        for pair, _, _ in cells
        for host in (pair.host, pair.peer, pair.load_host)
        if host is not None
    }
    return Plan(
        schema=SCHEMA,
        campaign=campaign,
        experiment=experiment.name,
        seed=seed,
        question=spec.question,
        factor=spec.factor,
        baseline=spec.baseline,
        contrasts=experiment.contrasts(),
        profile=PROFILES[profile or spec.profile],
        embeds=dict(embeds),
        hosts={name: _planned_host(host) for name, host in used.items()},
        arms={arm: _planned_arm(experiment, arm) for arm in spec.arms},
        variants=variants,
        failures=spec.failures,
        calls=spec.calls,
        blocks=tuple(_blocks(experiment, cells, seed, campaign, blocks)),
    )


def _loaded_from_within(pair: Pair) -> Pair:
    return dataclasses.replace(pair, load_host=pair.host)


def cross_variants(cross: Mapping[str, Sequence[Value]]) -> dict[str, dict[str, Value]]:
    """Every combination of the crossed factors' levels, by name (``keepalive=true,tls=false``).

    One variant without a name where nothing is crossed.
    """
    variants: dict[str, dict[str, Value]] = {}
    for levels in itertools.product(*cross.values()):
        variant = dict(zip(cross, levels, strict=True))
        name = ",".join(f"{factor}={level_name(level)}" for factor, level in variant.items())
        variants[name] = variant
    return variants


def _planned_host(host: Host) -> PlannedHost:
    return PlannedHost(host.address, host.arch, host.kind, host.emulated, host.cpus)


def _planned_arm(experiment: Experiment, arm: str) -> PlannedArm:
    job, program = experiment.job_of(arm), experiment.program_of(arm)
    if job is None and not program:
        raise BadInputError([Finding("error", experiment.where("arms", arm), "no job file")])
    why = experiment.spec.arms[arm].also_differs
    return PlannedArm(job, experiment.variables_of(arm), why, program)


def tranche_of(replicate: int, first: int) -> int:
    """Tranche of a replicate, both from 1; ``first`` is the size of the first tranche."""
    return 1 if replicate <= first else 2 + (replicate - first - 1) // TRANCHE_BLOCKS


def _blocks(
    experiment: Experiment, cells: Sequence[Cell], seed: int, campaign: str, override: int | None
) -> Iterator[Block]:
    first, cap = tranche_bounds(experiment.spec, override)
    base = experiment.spec.baseline
    slots: list[tuple[str, Copy]] = [*((arm, "a") for arm in experiment.spec.arms), (base, "b")]
    number = itertools.count(1)
    # Native hosts first, emulated ones asleep: these wake once, and disturb no other's figures.
    native = [cell for cell in cells if not _emulated(cell[0])]
    guests = [cell for cell in cells if _emulated(cell[0])]
    for some, replicate in itertools.product((native, guests), range(1, cap + 1)):
        for pair, variant, load in shuffled(some, seed, "cells", replicate):
            block = Block(
                block=next(number),
                replicate=replicate,
                tranche=tranche_of(replicate, first),
                host=pair.host.name,
                peer=pair.peer.name if pair.peer else None,
                load_host=pair.load_host.name,
                variant=variant,
                load=load,
                runs=(),
            )
            cell = (block.host, variant, load.tool, load.concurrency)
            offered = (load.offered,) if load.offered else ()
            order = shuffled(slots, seed, "runs", replicate, *cell, *offered)
            yield _with_runs(block, campaign, order)


def _emulated(pair: Pair) -> bool:
    return pair.host.emulated or (pair.peer is not None and pair.peer.emulated)


def _with_runs(block: Block, campaign: str, order: Sequence[tuple[str, Copy]]) -> Block:
    runs = tuple(
        Run(run_id(campaign, block, position, arm, copy), position, arm, copy)
        for position, (arm, copy) in enumerate(order, start=1)
    )
    return dataclasses.replace(block, runs=runs)


def file_embeds(experiment_path: Path, root: Path) -> dict[str, str]:
    """SHA-256 of the experiment file and of its job files, under the names that a plan embeds.

    Job files are named from ``root``. Raises ``BadInputError`` where a file cannot be read.
    """
    experiment = load_experiment(experiment_path)
    files = {"experiment": experiment_path}
    for arm in experiment.spec.arms:
        if experiment.program_of(arm):
            continue
        job = experiment.job_of(arm)
        path = job_path(root, job) if job else None
        if job is None or path is None:
            raise BadInputError(
                [Finding("error", experiment.where("arms", arm), f"no job file {shown(job)}")]
            )
        files[f"job:{job}"] = path
    embeds = {}
    for name, path in files.items():
        try:
            embeds[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            message = f"cannot be read: {error.strerror}"
            raise BadInputError([Finding("error", str(path), message)]) from None
    return embeds


def changed(plan: Plan, embeds: Mapping[str, str]) -> list[str]:
    """Say what differs from what the plan embeds, one text an item; empty where nothing does.

    ``embeds`` are today's. A campaign is not continued over a change: its rows would be of two
    kinds. An item that the plan has and ``embeds`` lacks, or the other way, is a change too.
    """
    texts = []
    for name in sorted(plan.embeds.keys() | embeds.keys()):
        before, now = plan.embeds.get(name), embeds.get(name)
        if before != now:
            texts.append(f"{name}: was {_short(before)}, is {_short(now)}")
    return texts


def _short(digest: str | None) -> str:
    return "absent" if digest is None else digest.removeprefix("sha256:")[:12]


__all__ = [
    "PROFILES",
    "TRANCHE_BLOCKS",
    "Estimate",
    "Plan",
    "PlanError",
    "changed",
    "cross_variants",
    "estimate",
    "file_embeds",
    "make_plan",
    "tranche_of",
]
