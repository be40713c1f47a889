"""``python -m analysis``: from the dataset to verdicts, tables and the report."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from analysis import compare_view, precision_view, standing, standing_view
from analysis.change import listed
from analysis.claims import find_claim, read_claims
from analysis.compare import Comparisons, compare
from analysis.dataset import open_dataset
from analysis.errors import AnalysisError
from analysis.metric import PRIMARY
from analysis.newer import Changes, changes
from analysis.noise import known_noise
from analysis.peak import peaks
from analysis.precision import precision
from analysis.report import render
from analysis.result import Analysis
from analysis.summary import analyse
from analysis.tables import replace_text, tables, write_csv
from analysis.terminal import show
from analysis.wording import answer

LOG_COLUMNS: Final = 110  # a pipe has no width, and 80 columns break the table's lines


class Format(StrEnum):
    """How a comparison is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


class FailOn(StrEnum):
    """What ends a comparison of two campaigns with exit code 1."""

    REGRESSION = "regression"


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def explain(ctx: typer.Context) -> None:
    """Say what a measured campaign shows: verdicts, tables, charts, one offline HTML report.

    It reads the dataset that `python -m collector collect` made and opens no connection.
    """
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


@app.command()
def report(
    state: Annotated[Path, typer.Option(help="The lab's state directory, .lab/<lab id>.")],
    experiment: Annotated[str, typer.Option(help="Name of the experiment.")],
    campaign: Annotated[
        str | None, typer.Option(help="Campaign id; default: the experiment's newest.")
    ] = None,
    emulated: Annotated[
        bool, typer.Option("--emulated", help="Show the ratios of emulated hosts, each by itself.")
    ] = False,
) -> None:
    """Judge a campaign; write its report and tables; print the answer.

    Writes report.html, answer.txt and one CSV a table into <state>/results/report/<experiment>/.
    Exit code 1 where the A/A gate fails (in the quick profile a warning) or a proof did not hold,
    2 for bad input, 3 without a dataset.
    """
    with _refusals():
        found = analyse(open_dataset(state), experiment, campaign, emulated=emulated)
    path = write_report(found, state / "results" / "report" / experiment)
    console = _console()
    show(found, console)
    console.print(f"Report: {path}", soft_wrap=True, highlight=False, markup=False)
    # A first look may be noisy; what it measured must be the path that it names all the same.
    if found.failed_proofs or (found.gate_failed and not found.quick):
        raise typer.Exit(1)


@app.command("compare")
def compare_arms(
    source: Annotated[
        str,
        typer.Argument(
            help="A lab's state directory, or a CSV with host, block, arm, the metric; "
            "DIRECTORY@CAMPAIGN is not the newest campaign but that one."
        ),
    ],
    newer: Annotated[
        str | None, typer.Argument(help="What became of each arm's ratio there, since SOURCE.")
    ] = None,
    *,
    baseline: Annotated[str, typer.Option(help="The arm with which the others are compared.")],
    metric: Annotated[str, typer.Option(help="The column that is compared.")] = PRIMARY,
    by: Annotated[
        list[str] | None,
        typer.Option(help="A column whose values are kept apart; may be given several times."),
    ] = None,
    fail_on: Annotated[
        FailOn | None, typer.Option(help="With NEWER: exit code 1 if an arm lost, or is gone.")
    ] = None,
    output: Annotated[Format, typer.Option("--format", help="What is printed.")] = Format.TABLE,
    emulated: Annotated[
        bool, typer.Option("--emulated", help="Take emulated hosts in, each by itself.")
    ] = False,
) -> None:
    """Judge every arm against one baseline, in any dataset or in a plain CSV.

    With NEWER, judge what became of each arm's ratio to the baseline between the two. Exit code 1
    with --fail-on, 2 for bad input, 3 without a dataset; else 0, whatever the verdicts are.
    """
    if fail_on and newer is None:
        raise typer.BadParameter("--fail-on is about a change: name NEWER too")
    asked = (baseline, metric, by or [])
    found: Comparisons | Changes
    with _refusals():
        found = (
            compare(source, *asked, emulated=emulated)
            if newer is None
            else changes(source, newer, *asked, emulated=emulated)
        )
    if output is Format.TABLE:
        compare_view.show(found, _console())
    else:
        typer.echo(
            compare_view.as_json(found) if output is Format.JSON else compare_view.as_csv(found),
            nl=output is Format.JSON,
        )
    if fail_on and isinstance(found, Changes):
        changed = found.changes
        lost = [one.arm for one in changed if one.regressed(compare_view.metric_in(found, one))]
        lost += found.gone
        if lost:
            typer.echo(f"regression: {listed(lost)}", err=True)
            raise typer.Exit(1)


@app.command("replicate")
def replicate_claims(
    claim: Annotated[
        str | None, typer.Argument(help="A name in claims/, or a claim file of one's own.")
    ] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Every claim in claims/.")] = False,
    state: Annotated[Path, typer.Option(help="The lab's state directory, .lab/<lab id>.")],
    output: Annotated[Format, typer.Option("--format", help="What is printed.")] = Format.TABLE,
) -> None:
    """Say where published claims stand by what this lab has measured.

    Confirmed, contradicted, undetectable, not measured yet, or not runnable here and why; beside
    the published figure. Exit code 0 whatever comes out, 2 for bad input, 3 without a dataset.
    """
    if (claim is None) != every:
        raise typer.BadParameter("expected either a claim or --all")
    with _refusals():
        claims = read_claims() if claim is None else [find_claim(claim)]
        found = standing.standings(open_dataset(state), claims)
    if output is Format.TABLE:
        standing_view.show(found, _console())
    else:
        typer.echo(
            standing.as_json(found) if output is Format.JSON else standing.as_csv(found),
            nl=output is Format.JSON,
        )


@app.command("precision")
def how_precise(
    state: Annotated[Path, typer.Option(help="The lab's state directory, .lab/<lab id>.")],
    experiment: Annotated[str, typer.Option(help="Name of the experiment.")],
    campaign: Annotated[
        str | None, typer.Option(help="Campaign id; default: the experiment's newest.")
    ] = None,
    tranches: Annotated[
        int | None, typer.Option(min=1, help="Look at the first so many tranches; default: all.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, no table.")] = False,
) -> None:
    """Say how precise a campaign is by now, and so whether a further tranche is worth running.

    Exit code 1 where a contrast is wider than its limit, 2 for bad input, 3 without a dataset.
    """
    with _refusals():
        found = precision(open_dataset(state), experiment, campaign, tranches)
    if as_json:
        typer.echo(json.dumps(asdict(found)))
    else:
        precision_view.show(found, _console())
    if not (found.cells and all(cell.precise for cell in found.cells)):
        raise typer.Exit(1)


@app.command("noise")
def how_noisy(
    state: Annotated[Path, typer.Option(help="The lab's state directory, .lab/<lab id>.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, no table.")] = False,
) -> None:
    """Say how far the throughput of identical deployments lies apart here, by profile and load.

    `python -m collector plan` asks the same. Exit code 2 for bad input, 3 without a dataset.
    """
    with _refusals():
        known = known_noise(open_dataset(state))
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in known]))
    else:
        precision_view.show_noise(known, _console())


@app.command("peak")
def how_much(
    state: Annotated[Path, typer.Option(help="The lab's state directory, .lab/<lab id>.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, no table.")] = False,
) -> None:
    """Say how much each arm served at most in closed loops, by experiment and host.

    An open loop's share is of the slowest arm's. Exit code 2 for bad input, 3 without a dataset.
    """
    with _refusals():
        known = peaks(open_dataset(state))
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in known]))
    else:
        precision_view.show_peaks(known, _console())


@contextmanager
def _refusals() -> Iterator[None]:
    """End the command with what the analysis refuses, said in a line, and its exit code."""
    try:
        yield
    except AnalysisError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(error.exit_code) from error


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=LOG_COLUMNS)


def write_report(found: Analysis, folder: Path) -> Path:
    """Write tables, ``report.html``, ``answer.txt`` into ``folder``; returns the report's path."""
    folder.mkdir(parents=True, exist_ok=True)
    shown = tables(found)
    write_csv(folder, shown)
    path = folder / "report.html"
    replace_text(path, render(found, shown))
    replace_text(folder / "answer.txt", "\n".join([*answer(found), ""]))
    return path


def main() -> None:
    """Run the command line under the name that a user types."""
    gc.freeze()  # statsmodels collects garbage at each adjustment (analysis.estimate.holm)
    app(prog_name="python -m analysis")


if __name__ == "__main__":
    main()
