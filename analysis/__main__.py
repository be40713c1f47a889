"""``python -m analysis``: from the dataset to verdicts, tables and the report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from analysis.dataset import open_dataset
from analysis.errors import AnalysisError
from analysis.report import render
from analysis.summary import Analysis, analyse
from analysis.tables import replace_text, tables, write_csv
from analysis.terminal import show
from analysis.wording import answer

LOG_COLUMNS: Final = 110  # a pipe has no width, and 80 columns break the table's lines

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
    try:
        found = analyse(open_dataset(state), experiment, campaign, emulated=emulated)
    except AnalysisError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(error.exit_code) from error
    path = write_report(found, state / "results" / "report" / experiment)
    console = Console()
    if not console.is_terminal:
        console = Console(width=LOG_COLUMNS)
    show(found, console)
    console.print(f"Report: {path}", soft_wrap=True, highlight=False, markup=False)
    # A first look may be noisy; what it measured must be the path that it names all the same.
    if found.failed_proofs or (found.gate_failed and not found.quick):
        raise typer.Exit(1)


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
    app(prog_name="python -m analysis")


if __name__ == "__main__":
    main()
