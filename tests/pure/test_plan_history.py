"""What a plan can detect, by this lab's own A/A pairs."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic_dataset import Campaign, add_campaign
from test_plan_plan import SMALL, plan_of
from typer.testing import CliRunner

from analysis.__main__ import app
from analysis.dataset import open_dataset
from analysis.noise import known_noise as by_load
from collector.plan.asking import NotAnsweredError, ask
from collector.plan.history import ASSUMED_SD, known_noise


def add(state: Path, name: str, noise: float, **values: object) -> None:
    started = 1_795_000_000.0 + 1e5 * int(name[-2:])
    made = {"blocks": 20, "seed": int(name[-2:]), "started": started, "histograms": False}
    add_campaign(state, Campaign(name, noise=noise, **{**made, **values}))  # type: ignore[arg-type]


def test_without_a_dataset_it_is_assumed(tmp_path: Path) -> None:
    found = known_noise(tmp_path, plan_of())
    assert (found.sd, found.pairs) == (ASSUMED_SD, None)
    assert "assumed" in found.source


def test_the_labs_own_pairs_are_taken(tmp_path: Path) -> None:
    add(tmp_path, "web-01", 0.01)
    found = known_noise(tmp_path, plan_of())
    assert found.pairs == 20
    assert found.sd == pytest.approx(0.01 * 2**0.5, rel=0.4)
    assert found.source == "from 20 A/A pairs of this lab"


def test_another_profile_or_load_says_nothing(tmp_path: Path) -> None:
    add(tmp_path, "web-01", 0.01, profile="standard")
    assert known_noise(tmp_path, plan_of()).pairs is None
    add(tmp_path, "web-02", 0.01)
    assert known_noise(tmp_path, plan_of(SMALL.replace("[16]", "[64]"))).pairs is None


def test_of_a_tool_that_measures_in_parts_the_noisiest_part_counts(tmp_path: Path) -> None:
    load = {"tool": "ipc", "concurrency": 1, "offered": ""}
    add(tmp_path, "web-01", 0.01, cells=({"host": "lab-2", "variant": "", **load},))
    wrk = "{tool: wrk, concurrency: [16], threads: 1}"
    found = known_noise(tmp_path, plan_of(SMALL.replace(wrk, "{tool: ipc, concurrency: [1]}")))
    assert found.pairs == 20
    assert found.sd == max(one.sd or 0.0 for one in by_load(open_dataset(tmp_path)))


def test_the_last_ten_campaigns_count(tmp_path: Path) -> None:
    for number in range(1, 12):
        add(tmp_path, f"web-{number:02}", 0.3 if number == 1 else 0.01)
    (known,) = by_load(open_dataset(tmp_path))
    assert (known.campaigns, known.pairs) == (10, 200)
    assert known.sd is not None
    assert known.sd < 0.03


def test_emulated_hosts_are_left_out(tmp_path: Path) -> None:
    add(tmp_path, "web-01", 0.01, run_values={"emulated": True})
    assert by_load(open_dataset(tmp_path)) == []


def test_the_command_prints_a_table(tmp_path: Path) -> None:
    add(tmp_path, "web-01", 0.01)
    done = CliRunner().invoke(app, ["noise", "--state", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "wrk, 16 connections" in done.stdout
    assert CliRunner().invoke(app, ["noise", "--state", str(tmp_path / "none")]).exit_code == 3


def test_a_question_that_is_not_answered_names_its_command(tmp_path: Path) -> None:
    with pytest.raises(
        NotAnsweredError, match=r"python -m analysis noise --state .*no dataset yet"
    ):
        ask("analysis", "noise", "--state", str(tmp_path), "--json")
    with pytest.raises(NotAnsweredError, match="No module named"):
        ask("analysis.none")  # exit code 1, and nothing printed: a crash, no answer
