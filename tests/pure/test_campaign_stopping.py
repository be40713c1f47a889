"""Stopping: which tranche of which cell is due, and what the analysis is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from synthetic_dataset import Campaign as Made
from synthetic_dataset import add_campaign
from test_plan_plan import CROSSED, SMALL, plan_of

from collector.campaign import stopping
from collector.campaign.errors import CampaignError
from collector.campaign.folder import Campaign
from collector.campaign.progress import Events
from collector.campaign.stopping import due, precise_cells
from collector.plan.asking import ask
from collector.plan.model import Block, Cell, Plan

TRANCHES = SMALL.replace("blocks: 8", "blocks: 2\nblocks_cap: 14").replace("[16]", "[1, 16]")
GUESTS = CROSSED.replace("blocks: 8", "blocks: 2\nblocks_cap: 14")


class Lab:
    """Blocks that are measured as soon as they are due, and what was asked meanwhile."""

    def __init__(self, precise: Mapping[int, frozenset[Cell]]) -> None:
        self.precise = precise
        self.done: set[int] = set()
        self.asked: list[int] = []
        self.groups: list[tuple[Block, ...]] = []

    def ask(self, tranches: int) -> frozenset[Cell]:
        self.asked.append(tranches)
        return self.precise.get(tranches, frozenset())

    def run(self, plan: Plan) -> Lab:
        for blocks in due(plan, lambda: set(self.done), self.ask):
            self.groups.append(blocks)
            self.done |= {block.block for block in blocks}
        return self


def cells(plan: Plan) -> list[Cell]:
    return sorted({block.cell for block in plan.blocks})


def test_one_tranche_is_never_asked_about() -> None:
    plan = plan_of(SMALL)
    lab = Lab({}).run(plan)
    assert lab.asked == []
    assert lab.groups == [plan.blocks]


def test_what_is_never_precise_goes_to_the_cap() -> None:
    plan = plan_of(TRANCHES)
    lab = Lab({}).run(plan)
    assert lab.asked == [1, 2]
    assert [{block.tranche for block in group} for group in lab.groups] == [{1}, {2}, {3}]
    assert lab.done == {block.block for block in plan.blocks}


def test_a_precise_cell_gets_no_further_tranche_and_the_others_do() -> None:
    plan = plan_of(TRANCHES)
    first, *others = cells(plan)
    lab = Lab({1: frozenset({first}), 2: frozenset({first})}).run(plan)
    assert {block.tranche for group in lab.groups for block in group if block.cell == first} == {1}
    assert {block.cell for block in lab.groups[-1]} == set(others)


def test_when_all_are_precise_nothing_is_left() -> None:
    plan = plan_of(TRANCHES)
    lab = Lab({1: frozenset(cells(plan)), 2: frozenset(cells(plan))}).run(plan)
    assert [{block.tranche for block in group} for group in lab.groups] == [{1}]


def test_after_an_interruption_the_begun_tranche_goes_on_with_the_same_question() -> None:
    """The question is of the tranches before, so that the answer is what it was."""
    plan = plan_of(TRANCHES)
    lab = Lab({})
    lab.done = {block.block for block in plan.blocks if block.replicate <= 5}
    lab.run(plan)
    assert lab.asked == [1, 2]
    assert lab.groups[0] == tuple(
        block for block in plan.blocks if block.tranche == 2 and block.replicate > 5
    )


def test_emulated_hosts_come_by_themselves() -> None:
    plan = plan_of(GUESTS)
    lab = Lab({}).run(plan)
    emulated = [{plan.hosts[block.host].emulated for block in group} for group in lab.groups]
    assert emulated == [{False}] * 3 + [{True}] * 3
    assert lab.asked == [1, 2, 1, 2]


@pytest.fixture
def question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], frozenset[Cell]]:
    """Ask the real analysis about a dataset; collecting is its own matter."""
    made = Made("small-20261121t113000-1f3a", "small", first=6, noise=0.002, histograms=False)
    add_campaign(tmp_path, made)
    monkeypatch.setattr(stopping, "ask", lambda *argv: ask(*argv) if argv[0] == "analysis" else "")
    campaign = Campaign(tmp_path, plan_of())
    return lambda: precise_cells(tmp_path, campaign, Events("plain"), 1)


def test_the_analysis_answers_in_the_plans_own_cells(
    question: Callable[[], frozenset[Cell]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert question() == {Cell("lab-2", None, "lab-1", "keepalive=true", "wrk", 16)}
    said = " ".join(capsys.readouterr().out.split())
    assert "lab-2, wrk, 16, keepalive=true: precise; the widest is" in said
    assert "at n = 6, limit 2 %" in said


def test_a_question_without_an_answer_ends_the_campaign(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path, plan_of())
    with pytest.raises(CampaignError, match=r"python -m (collector collect|analysis precision)"):
        precise_cells(tmp_path, campaign, Events("plain"), 1)
