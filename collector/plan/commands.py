"""``plan``: shows what an experiment would do, and touches no host."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from collector.plan.asking import NotAnsweredError
from collector.plan.experiment import Experiment, ProfileName, load_experiment
from collector.plan.findings import BadInputError, Finding
from collector.plan.history import Noise, known_noise
from collector.plan.inventory import Inventory, load_inventory
from collector.plan.peaks import known_peaks
from collector.plan.plan import file_embeds, make_plan
from collector.plan.preview import print_plan
from collector.plan.rules import check, refuse_errors

USAGE: Final = 2
FOLDER: Final = "experiments"


def find_experiment(name: str, root: Path) -> Path:
    """Path of an experiment given as a name in ``experiments/`` or as a path.

    Raises ``BadInputError`` naming the experiments that there are.
    """
    looks_like_path = "/" in name or name.endswith((".yml", ".yaml"))
    path = Path(name) if looks_like_path else Path(FOLDER) / f"{name}.yml"
    if (root / path).is_file():
        return path
    known = sorted(entry.stem for entry in (root / FOLDER).glob("*.yml"))
    message = f"no such experiment; known: {', '.join(known) or 'none'}"
    raise BadInputError([Finding("error", str(path), message)])


def read_inputs(experiment: Path, inventory: Path) -> tuple[Experiment, Inventory]:
    """Read both files. Raises ``BadInputError`` with the problems of both."""
    findings: list[Finding] = []
    read = hosts = None
    try:
        read = load_experiment(experiment)
    except BadInputError as error:
        findings += error.findings
    try:
        hosts = load_inventory(inventory)
    except BadInputError as error:
        findings += error.findings
    if read is None or hosts is None:
        raise BadInputError(findings)
    return read, hosts


def register(app: typer.Typer) -> None:
    """Add the room's command."""
    app.command("plan")(show_plan)


def show_plan(
    experiment: Annotated[str, typer.Argument(help="A name in experiments/, or a path.")],
    *,
    inventory: Annotated[
        Path, typer.Option("--inventory", "-i", help="As for ansible-playbook.")
    ] = Path("inventories/local"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random orders.")] = 1,
    profile: Annotated[
        ProfileName | None, typer.Option(help="Overrides the experiment's profile.")
    ] = None,
    blocks: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Overrides the experiment's blocks.")
    ] = None,
    emulated: Annotated[
        bool, typer.Option("--emulated", help="Measure emulated hosts too.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan itself.")] = False,
) -> None:
    """Show what an experiment would run, how long, and what it could detect; touches no host."""
    root = Path.cwd()
    try:
        path = find_experiment(experiment, root)
        read, hosts = read_inputs(path, inventory)
        read = read.with_emulated() if emulated else read
        findings = refuse_errors(check(read, hosts, root, blocks))
        peaks = known_peaks(hosts.lab_state, read)
        plan = make_plan(
            read,
            hosts,
            seed=seed,
            campaign=f"{read.name}-preview",
            embeds=file_embeds(path, root),
            profile=profile,
            blocks=blocks,
            peaks=peaks,
        )
    except (BadInputError, NotAnsweredError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(USAGE) from None
    if as_json:
        for finding in findings:
            typer.echo(str(finding), err=True)
        typer.echo(plan.to_json(), nl=False)
        return
    try:
        noise = known_noise(hosts.lab_state, plan)
    except NotAnsweredError as error:
        typer.echo(f"warning: {error}", err=True)
        noise = Noise()
    print_plan(plan, findings, noise, Console(markup=False, emoji=False, highlight=False))
