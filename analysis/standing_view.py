"""Where claims stand, as tables for a terminal or a log."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from analysis.change import percent, span
from analysis.claims import Claim
from analysis.standing import Standing

STYLE: Final = {"confirmed": "green", "contradicted": "red", "undetectable": "yellow"}


def show(found: Iterable[Standing], console: Console) -> None:
    """Print the claims that were measured, then those that were not, then those that cannot be."""
    listed = list(found)
    if measured := [one for one in listed if one.ours is not None]:
        console.print(_measured(measured))
    for word in ("not measured", "not runnable here"):
        if rest := [one for one in listed if one.stands == word]:
            console.print(_rest(word, rest))


def _grid(title: str, *columns: str) -> Table:
    grid = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        grid.add_column(name, overflow="fold", no_wrap=name == "claim")
    return grid


def _published(claim: Claim) -> str:
    if claim.ratio is None:
        return "more" if claim.says_more else "less"
    return percent(claim.ratio) + (" (contradicts itself)" if claim.consistent is False else "")


def _measured(found: Iterable[Standing]) -> Table:
    grid = _grid("Measured here", "claim", "published", "ours", "95 % interval", "our cell", "is")
    for one in found:
        if one.ours is None:
            continue
        of_size = f", {one.size}" if one.stands == "confirmed" and one.size else ""
        grid.add_row(
            Text(one.claim.name), _published(one.claim), percent(one.ours.ratio),
            span(one.ours.low, one.ours.high), Text(one.ours.cell.label),
            Text(one.stands + of_size, style=STYLE[one.stands]),
        )  # fmt: skip
    return grid


def _rest(word: str, found: Iterable[Standing]) -> Table:
    grid = _grid(word[0].upper() + word[1:], "claim", "published", "it says that", "why not")
    for one in found:
        known = one.claim.ratio is not None or one.claim.more is not None
        published = _published(one.claim) if known else ""
        grid.add_row(Text(one.claim.name), published, Text(one.claim.says), Text(one.why))
    return grid
