"""The room's command: publish.

Exit codes: 0 done; 1 ``--check`` found deviations, or something was left out; 2 bad input, or a
bucket that is missing or another's; 3 no report, dataset or credentials yet, or S3 out of reach;
130 interrupted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from collector.dataset.errors import DatasetError, DatasetMissingError
from collector.dataset.store import Places
from collector.publish.bucket import Bucket, open_bucket, plain_errors
from collector.publish.compare import Deviation, Stored, compare
from collector.publish.errors import NotReadyError, PublishError
from collector.publish.site import Site, read_site

NO: Final = 1
INTERRUPTED: Final = 130
CONSOLE: Final = Console(markup=False, emoji=False, highlight=False)
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_PREFIX: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*/)*", re.ASCII)
_PREFIX_LIMIT: Final = 500  # S3's keys have at most 1,024 bytes


def register(app: typer.Typer) -> None:
    """Add this room's command."""
    app.command("publish")(publish)


def publish(
    experiment: Annotated[
        str,
        typer.Argument(
            metavar="EXPERIMENT|CAMPAIGN",
            help="An experiment: the campaign that its report is about. Or a campaign's id.",
        ),
    ],
    *,
    state: Annotated[
        Path, typer.Option("--state", help="The lab's state folder.", file_okay=False)
    ],
    bucket: Annotated[str, typer.Option("--bucket", help="The S3 bucket.")],
    prefix: Annotated[
        str, typer.Option("--prefix", help="Above the campaign's own prefix; none by default.")
    ] = "",
    account: Annotated[
        str | None,
        typer.Option(
            "--account", help="Account that the bucket belongs to; default: the credentials' own."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be sent, and send nothing.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="List what is not as it should be; exit 1 if anything.")
    ] = False,
) -> None:
    """Put a campaign's report and dataset into an S3 bucket; what is there is not sent again."""
    with _errors(bucket):
        above = _checked(bucket, prefix, account)
        _say(f"reading {state / 'results'}")
        with _bar("reading") as (progress, _):
            site = read_site(Places(state), experiment, progress)
        for line in site.left_out:
            typer.echo(f"left out: {line}", err=True)
        store = open_bucket(bucket, f"{above}{site.campaign}/", account)
        _say(f"comparing with s3://{bucket}/{store.prefix}")
        with _bar("comparing") as (progress, _):
            stored = store.look(site.items, progress)
        deviations = compare(site.items, stored)
        if check:
            for one in deviations:
                _say(f"{one.name}: {one.why}")
        else:
            _mend_all(store, deviations, stored, dry_run=dry_run)
        _sum_up(store, site, deviations, dry_run or check)
    raise typer.Exit(NO if site.left_out or (check and deviations) else 0)


def _checked(bucket: str, prefix: str, account: str | None) -> str:
    """The prefix with a slash at its end, or empty."""
    above = f"{prefix.strip('/')}/".lstrip("/")
    if not _BUCKET.fullmatch(bucket):
        raise PublishError(f"--bucket {bucket!r:.120}: expected 3 to 63 of a-z, 0-9, '.', '-'")
    if not _PREFIX.fullmatch(above) or len(above) > _PREFIX_LIMIT:
        raise PublishError(
            f"--prefix {prefix!r:.120}: expected names of letters, digits, '.', '_' and '-', "
            f"with '/' between, {_PREFIX_LIMIT} characters at most"
        )
    if account is not None and not re.fullmatch(r"[0-9]{12}", account):
        raise PublishError(f"--account {account!r:.120}: expected the 12 digits of an account")
    return above


def _mend_all(
    store: Bucket, deviations: list[Deviation], stored: dict[str, Stored], *, dry_run: bool
) -> None:
    """Send and mend, in order, one line each; with ``dry_run`` the lines alone."""
    would = "would " if dry_run else ""
    total = sum(one.item.size for one in deviations if one.item and one.cure == "send")
    with _bar("sending", total) as (_, sent):
        for one in deviations:
            if one.item is None:
                _say(f"left as it is: {one.name} {one.why}")
            elif one.cure == "send":
                _say(f"{would}send {one.name} ({decimal(one.item.size)}): {one.why}")
                if not dry_run:
                    store.send(one.item, sent)
            else:
                _say(f"{would}mend {one.name} by a copy inside S3: {one.why}")
                if not dry_run:
                    store.mend(one.item, stored[one.item.name].etag)


def _sum_up(store: Bucket, site: Site, deviations: list[Deviation], only_said: bool) -> None:
    send = [one.item for one in deviations if one.cure == "send" and one.item]
    mend = sum(one.cure == "mend" for one in deviations)
    foreign = sum(one.cure == "foreign" for one in deviations)
    to = "to be " if only_said else ""
    _say(
        f"s3://{store.name}/{store.prefix}: {len(site.items)} objects, {len(send)} {to}sent "
        f"({decimal(sum(item.size for item in send))}), {mend} {to}mended, "
        f"{len(site.items) - len(send) - mend} as they should be; {foreign} that do not belong"
    )


def _say(line: str) -> None:
    CONSOLE.print(line, soft_wrap=True)


@contextmanager
def _errors(bucket: str) -> Iterator[None]:
    try:
        with plain_errors(bucket):
            yield
    except PublishError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(error.code) from None
    except DatasetError as error:
        typer.echo(f"error: {error}", err=True)
        missing = isinstance(error, DatasetMissingError)
        raise typer.Exit(NotReadyError.code if missing else PublishError.code) from None
    except OSError as error:
        typer.echo(f"error: {error.filename or ''}: {error.strerror}; run it again", err=True)
        raise typer.Exit(PublishError.code) from None
    except KeyboardInterrupt:
        typer.echo("interrupted: the same command sends only what is missing", err=True)
        raise typer.Exit(INTERRUPTED) from None


@contextmanager
def _bar(
    what: str, total: int | None = None
) -> Iterator[tuple[Callable[[int, int], None], Callable[[int], None]]]:
    """A bar on a terminal; elsewhere the lines that are printed anyway must do.

    Gives two ways to move it: to (done, total), or by an amount, from any thread.
    """
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeRemainingColumn())
    shown = CONSOLE.is_terminal
    with Progress(*columns, console=CONSOLE, transient=True, disable=not shown) as bar:
        task = bar.add_task(what, total=total)
        yield (
            lambda done, total: bar.update(task, completed=done, total=total),
            lambda size: bar.advance(task, size),
        )
