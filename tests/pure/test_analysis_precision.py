"""Precision: which cells need a further tranche, and what is said of it."""

from __future__ import annotations

import json
from pathlib import Path

from synthetic_dataset import Campaign, add_campaign
from typer.testing import CliRunner

from analysis.__main__ import app
from analysis.dataset import open_dataset
from analysis.precision import CellPrecision, precision
from analysis.summary import analyse

CELL = {"host": "lab-2", "variant": "", "tool": "wrk", "concurrency": 16}
OTHER = {"host": "lab-3", "variant": "", "tool": "wrk", "concurrency": 16}


def cells(state: Path, tranches: int | None = None) -> dict[str, CellPrecision]:
    found = precision(open_dataset(state), "web", None, tranches)
    return {one.cell.host: one for one in found.cells}


def test_a_quiet_cell_is_precise(tmp_path: Path) -> None:
    add_campaign(tmp_path, Campaign(blocks=8, noise=0.005, histograms=False))
    (cell,) = cells(tmp_path).values()
    assert cell.precise
    assert {one.metric for one in cell.widths} == {"throughput_rps", "latency_p50_s"}
    assert {one.arm for one in cell.widths} == {"sharedvolume", "combined"}
    assert all(one.n == 8 and 0 < (one.half_width or 0) < 0.02 for one in cell.widths)


def test_a_noisy_cell_is_not_and_no_difference_ends_it(tmp_path: Path) -> None:
    """sharedvolume is 12 % faster, plainly; that is no reason to stop."""
    add_campaign(tmp_path, Campaign(blocks=8, noise=0.05, histograms=False))
    (cell,) = cells(tmp_path).values()
    assert not cell.precise
    assert not all(one.reached for one in cell.widths)


def test_five_blocks_have_no_interval(tmp_path: Path) -> None:
    add_campaign(tmp_path, Campaign(blocks=5, noise=0.0001, histograms=False))
    (cell,) = cells(tmp_path).values()
    assert not cell.precise
    assert {one.half_width for one in cell.widths} == {None}


def test_one_arm_that_is_wide_keeps_its_cell_going(tmp_path: Path) -> None:
    latency = {"sharedvolume": (0.001, 0.002)}  # the same in every block: the others' vary
    both = Campaign(blocks=8, noise=0.01, cells=(CELL, OTHER), latency=latency, histograms=False)
    add_campaign(tmp_path, both)
    for cell in cells(tmp_path).values():
        wide = {(one.arm, one.metric) for one in cell.widths if not one.reached}
        assert wide == {("sharedvolume", "latency_p50_s")}
        assert not cell.precise


def test_only_the_tranches_that_were_asked_for_count(tmp_path: Path) -> None:
    add_campaign(tmp_path, Campaign(blocks=8, first=6, noise=0.002, histograms=False))
    for tranches, n in ((1, 6), (2, 8), (None, 8)):
        (cell,) = cells(tmp_path, tranches).values()
        assert {one.n for one in cell.widths} == {n}
    assert precision(open_dataset(tmp_path), "web").tranches == 2


def test_a_report_says_how_each_cell_ended(tmp_path: Path) -> None:
    add_campaign(tmp_path, Campaign(blocks=8, noise=0.002, histograms=False))
    assert analyse(open_dataset(tmp_path), "web").stopping == (), "one tranche: nothing to say"
    later = {"started": 1.8e9, "histograms": False}
    add_campaign(tmp_path, Campaign("web-quiet", blocks=8, first=6, noise=0.002, **later))
    (line,) = analyse(open_dataset(tmp_path), "web", "web-quiet").stopping
    assert line == (
        "lab-2, wrk, 16 connections, keepalive=true: precise after 8 of at most 8 blocks"
    )
    add_campaign(tmp_path, Campaign("web-loud", blocks=8, first=6, noise=0.05, **later))
    (line,) = analyse(open_dataset(tmp_path), "web", "web-loud").stopping
    assert "not precise at n = 8, of at most 8 blocks: " in line
    assert "sharedvolume / tcp-loopback on throughput" in line


def test_the_command_says_it_by_its_exit_code(tmp_path: Path) -> None:
    asked = ["precision", "--state", str(tmp_path), "--experiment", "web"]
    assert CliRunner().invoke(app, asked).exit_code == 3
    add_campaign(tmp_path, Campaign(blocks=8, noise=0.05, histograms=False))
    wide = CliRunner().invoke(app, asked)
    assert wide.exit_code == 1, wide.output
    assert "too wide" in wide.stdout
    assert "p50 latency" in wide.stdout
    found = json.loads(CliRunner().invoke(app, [*asked, "--json"]).stdout)
    assert found["cells"][0]["cell"]["host"] == "lab-2"
    assert found["cells"][0]["precise"] is False
    add_campaign(tmp_path, Campaign("web-later", blocks=8, noise=0.002, started=1.8e9))
    assert CliRunner().invoke(app, asked).exit_code == 0
    add_campaign(tmp_path, Campaign("web-dead", started=1.9e9, run_values={"state": "invalid"}))
    assert CliRunner().invoke(app, asked).exit_code == 1, "nothing was measured"
