"""``cloud check`` and ``cloud plan``: may the lab's hosts be started, and what would they cost?

``plan`` checks too: nothing is started by a role that is not as shipped.

Exit codes: 0 yes; 1 no, with the reasons; 2 bad inventory; 3 no credentials, or the wrong ones.
"""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from collector.cloud.access import check_access
from collector.cloud.errors import CloudError
from collector.cloud.estimate import estimate
from collector.cloud.session import Caller, open_session
from collector.cloud.settings import Settings, read_settings
from collector.cloud.survey import Survey, survey
from collector.plan.findings import BadInputError

USAGE: Final = 2
WIDTH: Final = 160  # of a table that Ansible shows


class Question(StrEnum):
    """What is asked."""

    CHECK = "check"
    PLAN = "plan"


def register(app: typer.Typer) -> None:
    """Add the room's command."""
    app.command("cloud")(cloud)


def cloud(
    what: Annotated[
        Question,
        typer.Argument(help="check: is the role as shipped; plan: and the hosts, their cost."),
    ],
    *,
    inventory: Annotated[
        Path, typer.Option("--inventory", "-i", help="Folder of a cloud inventory.")
    ] = Path("inventories/cloud"),
    caller: Annotated[
        str, typer.Option(help="Where ssh comes from, if the inventory leaves it open.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="The plan as the role reads it.")] = False,
) -> None:
    """Ask EC2 whether role, policy and external id hold (check), or what starting would mean."""
    try:
        settings = read_settings(inventory, caller)
        if sys.stderr.isatty():
            typer.echo(f"asking AWS in {settings.region} ...", err=True)
        session = open_session(settings)
        check_access(session, settings)
        if what is Question.CHECK:
            typer.echo(
                f"account {settings.account}, role {settings.role}, lab {settings.lab_id}: "
                "policy, trust and external id are as shipped"
            )
        else:
            _plan(session, settings, as_json=as_json)
    except BadInputError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(USAGE) from None
    except CloudError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(error.code) from None


def _plan(session: Caller, settings: Settings, *, as_json: bool) -> None:
    found = survey(session, settings)
    console = Console(markup=False, emoji=False, highlight=False, width=WIDTH if as_json else None)
    with console.capture() as capture:
        _show(console, settings, found)
    if not as_json:
        typer.echo(capture.get(), nl=False)
        return
    images = {
        arch: {"id": image.id, "root_device": image.root_device}
        for arch, image in found.images.items()
    }
    plan = {
        "text": "\n".join(line.rstrip() for line in capture.get().splitlines()),
        "start": found.missing(settings),
        "images": images,
        "caller": str(settings.caller) if settings.caller else None,
    }
    typer.echo(json.dumps(plan))


def _show(console: Console, settings: Settings, found: Survey) -> None:
    prices = estimate(settings)
    columns = ("host", "address", "architecture", "type", "vCPUs", "image", "state", "USD/h")
    table = Table(*columns, box=None)
    for one in settings.hosts:
        name = one.host.name
        price = prices.hourly[name]
        table.add_row(
            name,
            one.host.address,
            one.host.arch,
            one.type,
            str(found.vcpus[name]),
            found.images[one.host.arch].name,
            found.states.get(name, "to be started"),
            "unknown" if price is None else f"{price:.4f}",
        )
    console.print(f"lab {settings.lab_id}, account {settings.account}, {settings.zone}")
    console.print(table)
    console.print(f"ssh is let in from {settings.caller or 'nowhere yet: it will be asked'}")
    quota, used = (
        "unknown" if value is None else f"{value:.0f}" for value in (found.quota, found.used)
    )
    console.print(f"vCPUs in use {used}, quota {quota}")
    console.print(prices.line(settings.hours), soft_wrap=True)
    console.print("Nothing stops the hosts by itself: make teardown does.")
