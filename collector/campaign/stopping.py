"""Which cells of a campaign are precise enough: asked before every tranche but the first.

The answer is the analysis's, which is a program of its own and reads nothing but the dataset: what
stops a campaign can be asked again by anybody, with the same command and the same answer.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from collector.campaign.errors import CampaignError
from collector.campaign.folder import Campaign
from collector.campaign.progress import Events
from collector.plan.asking import NotAnsweredError, ask
from collector.plan.model import Block, Cell, Plan

Precise = Callable[[int], frozenset[Cell]]


def due(
    plan: Plan, sealed: Callable[[], set[int]], precise: Precise
) -> Iterator[tuple[Block, ...]]:
    """What is left of the plan, a tranche at a time; a cell that is precise gets no further one.

    Emulated hosts come by themselves, as in the plan: the others are measured while they stand.
    """
    whole = itertools.groupby(plan.blocks, lambda one: (plan.on_guests(one), one.tranche))
    for (_, tranche), planned in whole:
        done = sealed()
        left = [block for block in planned if block.block not in done]
        if left and tranche > 1:
            enough = precise(tranche - 1)
            left = [block for block in left if block.cell not in enough]
        if left:
            yield tuple(left)


def precise_cells(
    state: Path, campaign: Campaign, events: Events, tranches: int
) -> frozenset[Cell]:
    """Collect, then return the cells that the first ``tranches`` tranches settled.

    Raises ``CampaignError`` where one of the two commands fails.
    """
    plan, lab = campaign.plan, str(state.resolve())
    events.tell("wait", "a tranche is done: is it precise enough?")
    try:
        ask("collector", "collect", "--state", lab)
        said = ask(
            "analysis", "precision", "--state", lab, "--experiment", plan.experiment,
            "--campaign", plan.campaign, "--tranches", str(tranches), "--json",
        )  # fmt: skip
        cells = json.loads(said)["cells"]
        found = frozenset(_cell(one["cell"]) for one in cells if one["precise"])
        for one in cells:
            events.tell("wait", _line(one))
    except NotAnsweredError as error:
        raise CampaignError(str(error)) from None
    except (KeyError, TypeError, ValueError) as error:
        raise CampaignError(f"analysis precision printed what is not its JSON: {error!r}") from None
    return found


def _cell(told: Mapping[str, Any]) -> Cell:
    return Cell(
        told["host"], told["peer"] or None, told["load_host"], told["variant"], told["tool"],
        told["concurrency"], told["offered"],
    )  # fmt: skip


def _line(one: Mapping[str, Any]) -> str:
    cell = one["cell"]
    name = ", ".join(
        str(cell[key])
        for key in ("host", "tool", "concurrency", "offered", "variant")
        if cell[key] != ""
    )
    widest = _widest(one["widths"])
    return f"{name}: {'precise' if one['precise'] else 'not yet'}; the widest is {widest}"


def _widest(widths: Iterable[Mapping[str, Any]]) -> str:
    one = max(widths, key=lambda width: (width["half_width"] is None, width["half_width"] or 0))
    wide = "no interval" if one["half_width"] is None else f"{100 * one['half_width']:.1f} %"
    return (
        f"{one['arm']} / {one['baseline']}, {one['metric']}: {wide} at n = {one['n']}, "
        f"limit {100 * one['limit']:.0f} %"
    )
