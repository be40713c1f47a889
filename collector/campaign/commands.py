"""The engine's command: measure."""

from __future__ import annotations

import os
import re
import secrets
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Final, Literal, NoReturn

import typer
from filelock import FileLock, Timeout

from collector.blockfile import BlockFileError
from collector.campaign.engine import Engine
from collector.campaign.errors import INTERRUPTED, CampaignError, NotReadyError
from collector.campaign.folder import (
    Campaign,
    can_go_on,
    create,
    new_campaign_id,
    newest_unfinished,
)
from collector.campaign.preflight import read_preflight
from collector.campaign.program import pack_runner
from collector.campaign.progress import Events
from collector.campaign.stopping import precise_cells
from collector.lock import LockHeldError, acquire
from collector.plan.asking import NotAnsweredError
from collector.plan.commands import find_experiment, read_inputs
from collector.plan.experiment import Experiment, ProfileName
from collector.plan.findings import BadInputError
from collector.plan.inventory import Inventory
from collector.plan.jobfile import declared_variables
from collector.plan.peaks import known_peaks
from collector.plan.plan import Plan, file_embeds, make_plan
from collector.plan.rules import check, refuse_errors

IMAGE: Final = re.compile(r'^image_(\w+) = "(\S+@sha256:[0-9a-f]{64})"$')
IMAGE_OF: Final = "image_"  # and its name: the variable of a job
BUILT: Final = re.compile(r"^# built for: (.+)$")
# What the workloads stage writes for `nomad job run`, and the engine reads (roles/workload_images).
VAR_FILES: Final = ("images", "chain", "direct", "ipc", "mesh", "peers", "serialisation")
BAD_INPUT: Final = 2
CLEAN_UP_S: Final = 120.0


def register(app: typer.Typer) -> None:
    """Add the room's command."""
    app.command("measure")(measure)


def read_images(state: Path) -> tuple[dict[str, str], set[str]]:
    """Return the images by name, by digest, as the workloads stage pushed them; and for what."""
    try:
        lines = [
            line for name in VAR_FILES for line in (state / f"{name}.hcl").read_text().splitlines()
        ]
    except OSError as error:
        raise NotReadyError(
            f"{error.filename} is missing: no images yet. Make them: "
            "ansible-playbook lab.yml --tags workloads"
        ) from None
    built = {arch for line in lines if (found := BUILT.match(line)) for arch in found[1].split()}
    return {found[1]: found[2] for line in lines if (found := IMAGE.match(line))}, built


def images_used(experiment: Experiment, root: Path) -> set[str]:
    """Return the images of an experiment's jobs, and those that its programs are out of."""
    used = set()
    for arm in experiment.spec.arms:
        job = experiment.job_of(arm)
        used |= set(experiment.program_of(arm)[:1])
        declared = declared_variables((root / job).read_text()) if job else ()
        used |= {name.removeprefix(IMAGE_OF) for name in declared if name.startswith(IMAGE_OF)}
    return used


def refuse_unbuilt(plan: Plan, built: set[str]) -> None:
    """Refuse to begin where no image runs on the architecture of one of the hosts."""
    for block in plan.blocks:
        for name in filter(None, (block.host, block.peer)):
            if plan.hosts[name].arch not in built:
                raise NotReadyError(
                    f"{name} is {plan.hosts[name].arch}, and the images are for "
                    f"{' and '.join(sorted(built))}. Make them for both: "
                    "ansible-playbook lab.yml --tags workloads, with that host in the inventory"
                )


def choose_campaign(
    path: Path, experiment: Experiment, hosts: Inventory, seed: int | None,
    profile: ProfileName | None, blocks: int | None, new: bool, events: Events,
) -> tuple[Campaign, tuple[bytes, str], dict[str, str]]:  # fmt: skip
    """Go on with the newest unfinished campaign of the experiment, or begin one."""
    root = Path.cwd()
    for finding in refuse_errors(check(experiment, hosts, root, blocks)):
        events.tell("wait", str(finding))
    (images, built), program = read_images(hosts.lab_state), pack_runner()
    embeds = file_embeds(path, root) | {"runner": program[1]}
    used = images_used(experiment, root)
    embeds |= {f"image:{name}": images[name].partition("@")[2] for name in images.keys() & used}

    try:
        peaks = known_peaks(hosts.lab_state, experiment)
    except NotAnsweredError as error:
        raise CampaignError(str(error)) from None

    def plan(campaign: str, chosen_seed: int) -> Plan:
        return make_plan(
            experiment, hosts, seed=chosen_seed, campaign=campaign, embeds=embeds,
            profile=profile, blocks=blocks, peaks=peaks,
        )  # fmt: skip

    chosen = secrets.randbits(32) if seed is None else seed
    wanted = plan(new_campaign_id(experiment.name), chosen)
    refuse_unbuilt(wanted, built)
    results = hosts.lab_state / "results"
    found = None if new else newest_unfinished(results, experiment.name)
    if found is not None and can_go_on(found, embeds, plan(found.plan.campaign, found.plan.seed)):
        done = len(found.sealed())
        events.tell(
            "campaign",
            f"going on with campaign {found.plan.campaign}: "
            f"{done} of {len(found.plan.blocks)} blocks are done",
        )
        return found, program, images
    if found is not None:
        left = f"campaign {found.plan.campaign} is left: none of its blocks was begun, and what it"
        events.tell("campaign", f"{left} runs has changed since")
    begun = create(results, wanted)
    events.tell(
        "campaign",
        f"new campaign {begun.plan.campaign}, seed {chosen}: {_blocks_text(begun.plan)}",
    )
    return begun, program, images


def _blocks_text(plan: Plan) -> str:
    first = sum(block.tranche == 1 for block in plan.blocks)
    cap = len(plan.blocks)
    return f"{cap} blocks" if first == cap else f"{first} to {cap} blocks, until precise"


@contextmanager
def engine_lock(state: Path, events: Events) -> Iterator[None]:
    """Hold the lab for this engine, its clean-up included.

    The lab's lock ends with ansible-playbook, which an engine outlives while it stops its jobs.
    """
    lock = FileLock(state / "engine.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        events.tell("wait", "an earlier engine is still stopping its jobs; waiting for it")
        try:
            lock.acquire(timeout=CLEAN_UP_S)
        except Timeout:
            raise NotReadyError(
                f"an earlier engine still works on {state} after {CLEAN_UP_S:.0f} s"
            ) from None
    try:
        yield
    finally:
        lock.release()


def _end(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _watch_parent() -> None:
    """End when standard input ends: an Ansible worker runs nothing on Ctrl-C, it is just gone."""

    def watch() -> None:
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def measure(
    experiment: Annotated[str, typer.Argument(help="A name in experiments/, or a path.")],
    *,
    inventory: Annotated[
        Path, typer.Option("--inventory", "-i", help="As for ansible-playbook.")
    ] = Path("inventories/local"),
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of a new campaign.")] = None,
    profile: Annotated[
        ProfileName | None, typer.Option(help="Overrides the experiment's profile.")
    ] = None,
    blocks: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Overrides the experiment's blocks.")
    ] = None,
    emulated: Annotated[
        bool, typer.Option("--emulated", help="Measure emulated hosts too.")
    ] = False,
    new: Annotated[bool, typer.Option(help="Begin anew beside an unfinished campaign.")] = False,
    events: Annotated[
        Literal["terminal", "plain", "json"] | None,
        typer.Option(help="How to show progress; by default terminal or plain."),
    ] = None,
) -> None:
    """Run an experiment on the lab, going on where an earlier call stopped."""
    how = events or ("terminal" if sys.stdout.isatty() else "plain")
    signal.signal(signal.SIGTERM, _end)
    if how == "json":
        _watch_parent()
    with Events(how) as told:
        code = _measure(experiment, inventory, seed, profile, blocks, emulated, new, told)
    raise typer.Exit(code)


def _measure(
    experiment: str, inventory: Path, seed: int | None, profile: ProfileName | None,
    blocks: int | None, emulated: bool, new: bool, told: Events,
) -> int:  # fmt: skip
    try:
        path = find_experiment(experiment, Path.cwd())
        read, hosts = read_inputs(path, inventory)
        read = read.with_emulated() if emulated else read
        acquire(hosts.lab_state)
        seen = read_preflight(hosts.lab_state)
        for name, why in seen.missing().items():
            told.tell("wait", f"{name} is left out: it {why}")
        hosts = seen.present(hosts)
        with engine_lock(hosts.lab_state, told):
            campaign, program, images = choose_campaign(
                path, read, hosts, seed, profile, blocks, new, told
            )
            precise = partial(precise_cells, hosts.lab_state, campaign, told)
            with Engine(campaign, hosts, Path.cwd(), program, images, told, precise) as engine:
                engine.run()
        told.tell("done", f"campaign {campaign.plan.campaign} is done")
    except BadInputError as error:
        told.tell("error", str(error))
        return BAD_INPUT
    except LockHeldError as error:
        told.tell("error", str(error))
        return NotReadyError.code
    except CampaignError as error:
        told.tell("error", str(error))
        return error.code
    except (BlockFileError, OSError) as error:
        told.tell("error", f"{type(error).__name__}: {error}")
        return CampaignError.code
    except KeyboardInterrupt:
        told.tell("error", "interrupted: the same command goes on with the block it stopped in")
        return INTERRUPTED
    return 0
