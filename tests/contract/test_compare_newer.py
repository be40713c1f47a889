"""``python -m analysis compare SOURCE NEWER``: what became of each arm, and CI's exit code."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

sys.path.insert(0, str(Path(__file__).parents[1] / "pure"))

from synthetic_dataset import Campaign, add_campaign

from analysis.__main__ import app

BASELINE = "tcp-loopback"
DAY_S = 86_400.0
THEN = {BASELINE: 1.0, "sharedvolume": 1.12, "combined": 1.0}


def run(*arguments: object) -> Result:
    asked = ["compare", *map(str, arguments), "--baseline", BASELINE]
    return CliRunner().invoke(app, asked, prog_name="analysis")


def add(state: Path, name: str, arms: Mapping[str, float], **values: object) -> Path:
    at = Campaign().started + DAY_S * int(name[-1])
    made = {"blocks": 10, "noise": 0.005, "seed": int(name[-1]), "histograms": False, **values}
    add_campaign(state, Campaign(name, arms=arms, started=at, **made))  # type: ignore[arg-type]
    return state


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return add(tmp_path, "web-1", THEN)


def words(done: Result) -> dict[str, str]:
    return {one["arm"]: one["word"] for one in json.loads(done.stdout)["changes"]}


def test_an_arm_that_lost_is_different_and_ends_ci(state: Path) -> None:
    add(state, "web-2", {**THEN, "sharedvolume": 1.0})
    both = (f"{state}@web-1", state)
    found = run(*both, "--format", "json")
    assert found.exit_code == 0, found.output
    assert words(found) == {"sharedvolume": "different", "combined": "equivalent"}
    (lost,) = [c for c in json.loads(found.stdout)["changes"] if c["arm"] == "sharedvolume"]
    assert lost["low"] < 1 / 1.12 < lost["high"]
    assert lost["old"] == pytest.approx(1.12, rel=0.01)
    assert lost["new"] == pytest.approx(1.0, rel=0.01)
    assert lost["tests"] == 2, "Holm over the cell's arms"
    table = run(*both, "--fail-on", "regression")
    assert table.exit_code == 1
    assert "different (worse)" in table.stdout
    assert "regression: sharedvolume" in table.output


def test_an_arm_that_won_ends_nothing(state: Path) -> None:
    add(state, "web-2", {**THEN, "sharedvolume": 1.3})
    done = run(f"{state}@web-1", state, "--fail-on", "regression")
    assert done.exit_code == 0, done.output
    assert "different (better)" in done.stdout


def test_of_latency_more_is_worse(state: Path) -> None:
    add(state, "web-2", {**THEN, "sharedvolume": 1.0})
    asked = (f"{state}@web-1", state, "--metric", "latency_p50_s", "--fail-on", "regression")
    done = run(*asked)
    assert done.exit_code == 1, done.output
    assert "different (worse)" in done.stdout


def test_a_machine_that_is_slower_as_a_whole_is_no_regression(tmp_path: Path) -> None:
    """The baseline was measured beside each arm, then and now: only ratios are compared."""
    rng = np.random.default_rng(2)
    for name, level in (("old.csv", 1000.0), ("new.csv", 400.0)):
        lines = ["host,block,arm,throughput_rps"]
        for block in range(8):
            here = level * rng.normal(1, 0.05)
            lines += [f"h,{block},{BASELINE},{here * rng.normal(1, 0.003)}"]
            lines += [f"h,{block},uds,{here * 1.2 * rng.normal(1, 0.003)}"]
        (tmp_path / name).write_text("\n".join(lines))
    asked = (tmp_path / "old.csv", tmp_path / "new.csv", "--fail-on", "regression")
    done = run(*asked, "--format", "json")
    assert done.exit_code == 0, done.output
    assert words(done) == {"uds": "equivalent"}


def test_a_metric_that_nobody_knows_is_neither_better_nor_worse(tmp_path: Path) -> None:
    for name, ratio in (("old.csv", 1.0), ("new.csv", 1.3)):
        lines = ["host,block,arm,goodput"]
        for block in range(8):
            lines += [f"h,{block},{BASELINE},100", f"h,{block},uds,{100 * ratio + block / 100}"]
        (tmp_path / name).write_text("\n".join(lines))
    both = (tmp_path / "old.csv", tmp_path / "new.csv")
    done = run(*both, "--metric", "goodput", "--fail-on", "regression")
    assert done.exit_code == 0, done.output
    assert "different" in done.stdout
    assert "(" not in done.stdout.split("different")[1].split()[0]


def test_a_twentieth_of_a_percent_is_within_the_margin_of_both(state: Path) -> None:
    add(state, "web-2", {**THEN, "sharedvolume": 1.12 * 1.005})
    done = run(f"{state}@web-1", state, "--format", "json")
    assert words(done)["sharedvolume"] == "equivalent"
    assert all(one["margin"] >= 0.02 for one in json.loads(done.stdout)["changes"])


def test_few_units_are_no_verdict(tmp_path: Path) -> None:
    add(tmp_path, "web-1", THEN, blocks=3)
    add(tmp_path, "web-2", {**THEN, "sharedvolume": 1.0}, blocks=3)
    done = run(f"{tmp_path}@web-1", tmp_path, "--fail-on", "regression", "--format", "json")
    assert done.exit_code == 0, done.output
    (lost,) = [c for c in json.loads(done.stdout)["changes"] if c["arm"] == "sharedvolume"]
    assert (lost["word"], lost["low"], lost["n_old"], lost["n_new"]) == ("inconclusive", None, 3, 3)


def test_what_only_one_has_is_named(state: Path) -> None:
    arms = {BASELINE: 1.0, "combined": 1.0, "tls": 0.8}
    add(state, "web-2", arms)
    done = run(f"{state}@web-1", state)
    assert done.exit_code == 0, done.output
    said = " ".join(done.stdout.split())
    cell = "lab-2, wrk, 16 connections, keepalive=true"
    assert f"measured only then: {cell}, sharedvolume" in said
    assert f"measured only now: {cell}, tls" in said
    gate = run(f"{state}@web-1", state, "--fail-on", "regression")
    assert gate.exit_code == 1, "what is gone is no success"
    assert f"regression: {cell}, sharedvolume" in gate.output


@pytest.mark.parametrize("dead", [{"state": "invalid"}, {"throughput_rps": None}])
def test_an_arm_that_gives_no_figures_any_more_is_a_regression(
    state: Path, dead: dict[str, object]
) -> None:
    add(state, "web-2", THEN, arm_values={"sharedvolume": dead})
    done = run(f"{state}@web-1", state, "--fail-on", "regression")
    assert done.exit_code == 1, done.output
    assert "sharedvolume" in done.stderr


def test_a_campaign_against_itself_is_refused(state: Path) -> None:
    done = run(f"{state}@web-1", state)
    assert done.exit_code == 2
    assert "are the same figures (web-1): name two" in done.output


def test_nothing_in_common_is_an_error(state: Path) -> None:
    add(state, "web-2", THEN, cells=({**Campaign().cells[0], "host": "lab-9"},))
    done = run(f"{state}@web-1", state)
    assert done.exit_code == 2
    assert "share no arm but tcp-loopback" in done.output


def test_other_conditions_are_refused(state: Path) -> None:
    add(state, "web-2", THEN, profile="standard")
    done = run(f"{state}@web-1", state)
    assert done.exit_code == 2
    assert "profile: quick then, standard now" in done.output


def test_csv_has_one_line_an_arm(state: Path) -> None:
    add(state, "web-2", THEN)
    done = run(f"{state}@web-1", state, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["arm"] for row in rows] == ["combined", "sharedvolume"]
    (ends,) = {tuple(row[k] for k in ("source", "campaign", "newer_campaign")) for row in rows}
    assert ends == (str(state), "web-1", "web-2")


def test_a_gate_without_a_second_campaign_is_refused(state: Path) -> None:
    done = run(state, "--fail-on", "regression")
    assert done.exit_code == 2
    assert "name NEWER too" in done.output
