"""The load generator's own ceiling beside what the arms took of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic_dataset import Campaign, add_campaign

from analysis.dataset import open_dataset
from analysis.report import render
from analysis.result import Analysis
from analysis.summary import analyse
from analysis.tables import tables

CELL = {"host": "lab-2", "variant": "", "tool": "wrk", "concurrency": 16}
MANY = {**CELL, "concurrency": 64}


def measured(state: Path, ceiling: float, cell: dict[str, object] = CELL) -> Analysis:
    """A campaign of about 12,000 requests/s; the null server gives ``ceiling`` times that."""
    null = Campaign(
        "ceiling-1", "ceiling", {"proxy-alone": ceiling, "again": ceiling}, cells=(cell,),
        arm_values={"again": {"path": "proxy-alone"}}, histograms=False, started=1.7e9,
    )  # fmt: skip
    add_campaign(state, null)
    add_campaign(state, Campaign(cells=(CELL,), histograms=False, noise=0.001))
    return analyse(open_dataset(state), "web")


def test_the_fastest_arms_share_of_the_ceiling_is_told(tmp_path: Path) -> None:
    found = measured(tmp_path, 4.0)
    (ceiling,) = found.ceilings
    assert ceiling.arm == "sharedvolume"
    assert ceiling.share == pytest.approx(1.12 / 4, rel=0.1)
    assert (ceiling.campaign, ceiling.runs, ceiling.bound) == ("ceiling-1", 24, False)
    assert not any("the generator can ask" in warning for warning in found.warnings)
    assert "ceiling-1" in render(found, tables(found))


def test_a_run_that_the_generator_bound_counts_and_another_invalid_one_does_not(
    tmp_path: Path,
) -> None:
    for number, why in enumerate(("client_bound 99 %; little 0.88", "errors 5 of 9 requests")):
        null = Campaign(
            f"ceiling-{number}", "ceiling", {"proxy-alone": 4.0, "again": 4.0}, cells=(CELL,),
            run_values={"path": "proxy-alone", "state": "invalid", "reasons": why},
            histograms=False, started=1.7e9 + number,
        )  # fmt: skip
        add_campaign(tmp_path, null)
    add_campaign(tmp_path, Campaign(cells=(CELL,), histograms=False))
    (ceiling,) = analyse(open_dataset(tmp_path), "web").ceilings
    assert (ceiling.campaign, ceiling.runs) == ("ceiling-0", 24)


def test_an_arm_at_the_ceiling_is_warned_of(tmp_path: Path) -> None:
    found = measured(tmp_path, 1.15)
    (warning,) = [text for text in found.warnings if "the generator can ask" in text]
    assert warning.startswith("lab-2, wrk, 16 connections: sharedvolume took ")


def test_another_load_has_another_ceiling(tmp_path: Path) -> None:
    found = measured(tmp_path, 4.0, MANY)
    assert found.ceilings == ()
    assert "make lab experiment=ceiling" in render(found, tables(found))


def test_the_null_server_has_no_ceiling_above_itself(tmp_path: Path) -> None:
    measured(tmp_path, 4.0)
    assert analyse(open_dataset(tmp_path), "ceiling").ceilings == ()
