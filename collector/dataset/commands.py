"""The dataset's commands: collect, show, export, import.

Exit codes: 0 done; 1 something is quarantined or does not verify; 2 bad input; 3 nothing collected
yet, or another collect is at work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from collector.dataset.account import Account, account
from collector.dataset.archive import export_campaign, import_archive
from collector.dataset.csv_files import write_csv
from collector.dataset.errors import DatasetBusyError, DatasetError, DatasetMissingError
from collector.dataset.index import Index
from collector.dataset.load import load_table, require_index
from collector.dataset.proofs import failed
from collector.dataset.show import describe, extract, find_run
from collector.dataset.store import Places, campaign_folders, campaign_plan, collect
from collector.dataset.verify import verify

NO: Final = 1
BAD_INPUT: Final = 2
NOT_READY: Final = 3
PROGRESS_AFTER_S: Final = 2.0

State = Annotated[Path, typer.Option("--state", help="The lab's state folder.", file_okay=False)]


def register(app: typer.Typer) -> None:
    """Add this room's commands to the command line."""
    app.command("collect")(collect_command)
    app.command("show")(show_command)
    app.command("export")(export_command)
    app.command("import")(import_command)


def collect_command(
    state: State,
    rebuild: Annotated[bool, typer.Option(help="Read every block file again.")] = False,
    check: Annotated[
        bool, typer.Option("--verify", help="Read everything again and compare.")
    ] = False,
    csv: Annotated[
        Path | None, typer.Option(help="Write each table as CSV into this folder.")
    ] = None,
) -> None:
    """Turn sealed block files into the dataset, and say whether the sum holds."""
    places = Places(state)
    with _errors():
        with _progress("collecting") as progress:
            index = collect(places, rebuild=rebuild, progress=progress)
        # First: a part that was changed may not be readable, and the report reads it.
        if check and not _verified(places, index):
            raise typer.Exit(NO)
        clean = _report(places, index)
        if csv is not None:
            for path in write_csv(places.dataset, index, csv):
                typer.echo(f"wrote {path}")
    raise typer.Exit(0 if clean else NO)


def _verified(places: Places, index: Index) -> bool:
    with _progress("verifying") as progress:
        problems = verify(places, index, progress)
    for problem in problems:
        typer.echo(problem, err=True)
    typer.echo(f"verified: {len(problems)} problems in {len(index.parts)} parts")
    return not problems


def _report(places: Places, index: Index) -> bool:
    folders = campaign_folders(places)
    if not folders:
        typer.echo(f"{places.campaigns}: no campaigns yet")
    accounts = [account(places, index, campaign_plan(folder)) for folder in folders]
    for one in accounts:
        typer.echo(one.line())
        if one.reasons:
            Console().print(_reasons(one))
        _tell_proofs(places, index, one.campaign)
    for entry in index.files:
        if entry.state == "quarantined":
            typer.echo(f"quarantined file: {entry.campaign}: {entry.reason}", err=True)
    return all(one.clean for one in accounts)


def _tell_proofs(places: Places, index: Index, campaign: str) -> None:
    rows = load_table(places.dataset, index, "proofs", campaign=campaign).to_pylist()
    lines = list(failed(rows))
    if rows:
        typer.echo(f"{campaign}: {len(rows) - len(lines)} of {len(rows)} proofs held")
    for line in lines:
        typer.echo(f"proof did not hold: {campaign}: {line}", err=True)


def _reasons(one: Account) -> Table:
    table = Table("state", "reason", "slots", title_justify="left")
    table.columns[-1].justify = "right"
    for (state, reason), count in sorted(one.reasons.items()):
        table.add_row(state, escape(reason), str(count))
    return table


def show_command(
    run: Annotated[str, typer.Argument(help="Run id, or the beginning of only one.")],
    state: State,
    folder: Annotated[
        Path | None, typer.Option("--extract", help="Write the run's files into this folder.")
    ] = None,
) -> None:
    """Show one run: what was called, how it ended, its figures and its output."""
    places = Places(state)
    with _errors():
        shown = find_run(places, require_index(places.dataset), run)
        typer.echo(describe(shown), nl=False)
        if folder is not None:
            for path in extract(shown, folder):
                typer.echo(f"wrote {path}")


def export_command(
    campaign: Annotated[str, typer.Argument(help="Campaign id.")],
    file: Annotated[Path, typer.Argument(help="Archive to write, .tar.gz.", dir_okay=False)],
    state: State,
) -> None:
    """Pack a campaign's plan and block files into one archive."""
    with _errors():
        left_out = export_campaign(Places(state), campaign, file)
    for line in left_out:
        typer.echo(f"left out: {line}", err=True)
    typer.echo(f"wrote {file}")
    raise typer.Exit(NO if left_out else 0)


def import_command(
    file: Annotated[Path, typer.Argument(help="An archive that export wrote.", dir_okay=False)],
    state: State,
) -> None:
    """Unpack an exported campaign; 'collect' then reads it."""
    with _errors():
        done = import_archive(Places(state), file)
    typer.echo(f"{done.campaign}: {done.written} files written, {done.present} were there already")


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except DatasetError as error:
        typer.echo(f"error: {error}", err=True)
        not_ready = isinstance(error, DatasetMissingError | DatasetBusyError)
        raise typer.Exit(NOT_READY if not_ready else BAD_INPUT) from None
    except OSError as error:
        typer.echo(f"error: {error.filename or ''}: {error.strerror}", err=True)
        raise typer.Exit(BAD_INPUT) from None


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on the terminal, shown only when the work lasts longer than a glance."""
    began = time.monotonic()
    bar = Progress(
        TextColumn(what),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = bar.add_task(what, total=None)

    def show(done: int, total: int) -> None:
        if time.monotonic() - began > PROGRESS_AFTER_S and not bar.live.is_started:
            bar.start()
        bar.update(task, completed=done, total=total)

    try:
        yield show
    finally:
        if bar.live.is_started:
            bar.stop()
