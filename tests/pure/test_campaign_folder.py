"""A campaign's bookkeeping: which blocks are done, and which attempt comes next."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import pytest

from collector.campaign.folder import Campaign
from collector.plan.plan import Plan


@pytest.fixture
def campaign(tmp_path: Path) -> Campaign:
    (tmp_path / "blocks").mkdir()
    return Campaign(tmp_path, cast(Plan, None))


def seal(campaign: Campaign, block: int, attempt: int) -> None:
    (campaign.blocks / f"b{block:04d}-a{attempt}.jsonl").write_text("")


def test_an_interrupted_attempt_keeps_its_number(campaign: Campaign) -> None:
    assert campaign.next_attempt(1) == 1
    campaign.begin(1, 1)
    assert campaign.next_attempt(1) == 2
    assert campaign.next_attempt(2) == 1
    assert campaign.sealed() == set()


def test_a_sealed_block_is_done_until_it_is_rejected(campaign: Campaign) -> None:
    campaign.begin(1, 1)
    seal(campaign, 1, 1)
    assert campaign.sealed() == {1}
    assert set(campaign.unsettled()) == {(1, 1)}
    campaign.record(1, 1, "failed runs: x", True, {})
    assert campaign.sealed() == set()
    assert campaign.unsettled() == {}
    campaign.begin(1, 2)
    seal(campaign, 1, 2)
    campaign.record(1, 2, "whole", False, {"measure": 1.0})
    assert campaign.sealed() == {1}
    assert campaign.next_attempt(1) == 3


def test_a_torn_record_is_an_absent_one(campaign: Campaign) -> None:
    campaign.begin(1, 1)
    with (campaign.folder / "attempts.jsonl").open("a") as stream:
        stream.write('{"block": 1, "att')
    campaign.record(1, 2, "whole", False, {})
    assert [one["attempt"] for one in campaign.attempts()] == [1, 2]
    assert campaign.next_attempt(1) == 3


def test_a_file_without_a_record_still_uses_its_number(campaign: Campaign) -> None:
    seal(campaign, 3, 4)
    assert campaign.next_attempt(3) == 5
    assert json.dumps(sorted(campaign.sealed())) == "[3]"
