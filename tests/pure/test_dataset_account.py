"""planned = good + invalid + quarantined + missing + not needed, whatever happened."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from blockfiles import Body, Campaign, seal
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.dataset.account import Account, AccountError, account
from collector.dataset.planned import parse_plan
from collector.dataset.store import Places, collect

MADE = Campaign(blocks=4, tranches=(1, 1, 2, 3))


def counted(state: Path, made: Campaign = MADE) -> Account:
    places = Places(state)
    return account(places, collect(places), parse_plan(made.plan_bytes()))


def fails(body: Body) -> None:
    body["measure"]["exit_code"] = 1


def cut(body: Body) -> None:
    body["measure"]["stdout"] = ""


def damage(path: Path) -> None:
    path.chmod(0o640)
    path.write_bytes(path.read_bytes()[:-5])


def test_all_kinds(tmp_path: Path) -> None:
    MADE.write_block(tmp_path, 1, change={1: fails, 2: cut})
    MADE.write_block(tmp_path, 2)
    MADE.write_block(tmp_path, 2, attempt=2)
    found = counted(tmp_path)
    assert found.line() == (
        f"{MADE.name}: 12 planned = 4 good + 1 invalid + 1 quarantined + 6 missing + 0 not needed"
        "; 3 superseded apart"
    )
    assert found.reasons == {("invalid", "exit_code"): 1, ("quarantined", "truncated"): 1}
    assert not found.clean


def test_finished_makes_later_tranches_not_needed(tmp_path: Path) -> None:
    MADE.write(tmp_path, [1, 3])
    (MADE.folder(tmp_path) / "finished").touch()
    found = counted(tmp_path)
    # Block 2 is of a needed tranche and not there; block 4 is of one that never began.
    assert dict(found.counts) == {
        "good": 6, "invalid": 0, "quarantined": 0, "missing": 3, "not needed": 3,
    }  # fmt: skip
    assert found.clean


class TwoCells(Campaign):
    """Odd blocks are of one cell, even ones of another."""

    def planned_block(self, number: int) -> Body:
        return {**super().planned_block(number), "variant": f"tls={number % 2 == 0}"}


def test_each_cell_needs_tranches_of_its_own(tmp_path: Path) -> None:
    made = TwoCells(blocks=6, tranches=(1, 1, 2, 2, 3, 3))
    made.write(tmp_path, [1, 2, 4])  # the odd cell was precise after its first block
    (made.folder(tmp_path) / "finished").touch()
    found = counted(tmp_path, made)
    assert dict(found.counts) == {
        "good": 9, "invalid": 0, "quarantined": 0, "missing": 0, "not needed": 9,
    }  # fmt: skip


def test_last_attempt_counts_even_if_damaged(tmp_path: Path) -> None:
    MADE.write_block(tmp_path, 1)
    damage(MADE.write_block(tmp_path, 1, attempt=2))
    found = counted(tmp_path)
    assert (found.counts["quarantined"], found.counts["good"], found.superseded) == (3, 0, 3)
    assert found.reasons == {("quarantined", "file"): 3}


def test_damaged_header_counts_by_name_only_if_nothing_else_does(tmp_path: Path) -> None:
    MADE.write_block(tmp_path, 1)
    blocks = MADE.folder(tmp_path) / "blocks"
    for name in ("b0001-a9.jsonl", "b0002-a1.jsonl"):
        (blocks / name).write_text("garbage")
    found = counted(tmp_path)
    assert (found.counts["good"], found.counts["quarantined"]) == (3, 3)
    assert found.files_quarantined == 2


def test_conflict_leaves_the_slots_as_they_were(tmp_path: Path) -> None:
    MADE.write_block(tmp_path, 1)
    other = MADE.write_block(tmp_path / "other", 1, change={1: fails})
    shutil.copy(other, MADE.folder(tmp_path) / "blocks" / "copy.jsonl")
    found = counted(tmp_path)
    assert found.counts["good"] == 3
    assert (found.files_quarantined, found.clean) == (1, False)


def test_short_block_is_missing_runs(tmp_path: Path) -> None:
    seal(MADE.write_plan(tmp_path), "b0001-a1", MADE.header(1), MADE.run_bodies(1)[:2])
    found = counted(tmp_path)
    assert (found.counts["good"], found.counts["missing"]) == (2, 10)


def test_sum_that_does_not_hold(tmp_path: Path) -> None:
    found = counted(tmp_path) if MADE.write(tmp_path) else None
    assert found is not None
    with pytest.raises(AccountError, match="the sum does not hold, 12 slots were counted"):
        replace(found, planned=13)


def test_rows_and_plan_that_disagree(tmp_path: Path) -> None:
    MADE.write(tmp_path)
    places = Places(tmp_path)
    index = collect(places)
    fewer = parse_plan(replace(MADE, blocks=3).plan_bytes())
    with pytest.raises(AccountError, match="is not in the plan"):
        account(places, index, fewer)
    twice = replace(index, parts=index.parts + index.parts)
    with pytest.raises(AccountError, match="is counted twice"):
        account(places, twice, parse_plan(MADE.plan_bytes()))


KINDS = ("whole", "fails", "cut", "damaged", "garbage")


@given(
    attempts=st.lists(
        st.tuples(st.integers(1, 4), st.integers(1, 3), st.sampled_from(KINDS)), max_size=6
    ),
    finished=st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_sum_always_holds(attempts: list[tuple[int, int, str]], finished: bool) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        state = Path(temporary)
        made = {(block, attempt): kind for block, attempt, kind in attempts}
        MADE.write_plan(state)
        for (block, attempt), kind in made.items():
            change = {"fails": {1: fails}, "cut": {2: cut}}.get(kind, {})
            path = MADE.write_block(state, block, attempt, change=change)
            if kind == "damaged":
                damage(path)
            elif kind == "garbage":
                path.chmod(0o640)
                path.write_text("garbage")
        if finished:
            (MADE.folder(state) / "finished").touch()
        found = counted(state)
        assert sum(found.counts.values()) == 12
        whole = [pair for pair, kind in made.items() if kind not in ("damaged", "garbage")]
        assert found.counts["good"] <= 3 * len({block for block, _ in whole})
        assert not (found.counts["not needed"] and not finished)
        assert found.clean == (not {"damaged", "garbage"} & set(made.values())
                               and not found.counts["quarantined"])  # fmt: skip
