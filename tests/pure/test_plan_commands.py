"""``plan`` on the command line, in a folder of its own; no host exists."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from collector.plan.commands import register
from collector.plan.model import Plan

FIXTURES = Path(__file__).parents[1] / "fixtures/plan"
LISTING = json.loads((FIXTURES / "inventory.json").read_text())


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one experiment, and an inventory of hosts that are not up."""
    (tmp_path / "experiments").mkdir()
    (tmp_path / "inventories").mkdir()
    shutil.copy(FIXTURES / "small.yml", tmp_path / "experiments")
    shutil.copytree(FIXTURES / "jobs", tmp_path / "jobs")
    hosts = {
        "servers": {"hosts": {"lab-1": LISTING["_meta"]["hostvars"]["lab-1"]}},
        "load": {"hosts": {"lab-1": None}},
        "clients": {"hosts": {"lab-2": LISTING["_meta"]["hostvars"]["lab-2"]}},
    }
    (tmp_path / "inventories/local").write_text(json.dumps(hosts))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANSIBLE_INVENTORY_ENABLED", "yaml")
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


def run(*arguments: str) -> Result:
    app = typer.Typer()
    app.callback()(lambda: None)  # more than one command, as in the whole program
    register(app)
    return CliRunner().invoke(app, ["plan", *arguments])


def test_a_plan_is_shown(root: Path) -> None:
    done = run("small")
    assert done.exit_code == 0, done.stderr
    for text in (
        "small: Is a Unix socket faster than loopback TCP?",
        "topology, loaded from lab-1",
        "baseline, runs twice (A/A)",
        "wrk, 16 connections, 1 thread, connections kept",
        "Contrasts: uds / tcp",
        "1 host, 1 cell, 8 blocks, 24 runs, about 3 minutes",
        "Detectable effect: 7.9 % a cell",
        "assumed; this lab has no A/A pairs",
    ):
        assert text in done.stdout
    assert done.stderr == ""


def test_the_plan_itself_is_the_only_thing_on_standard_output(root: Path) -> None:
    done = run("experiments/small.yml", "--json", "--seed", "5", "--blocks", "2")
    assert done.exit_code == 0
    plan = Plan.from_json(done.stdout.encode())
    assert (plan.seed, plan.campaign, len(plan.blocks)) == (5, "small-preview", 2)
    assert list(plan.embeds) == ["experiment", "job:jobs/web.nomad.hcl"]
    assert "with 2 this plan can only say inconclusive" in done.stderr
    assert run("small", "--json", "--seed", "5", "--blocks", "2").stdout == done.stdout


def test_the_profile_is_overridden(root: Path) -> None:
    assert "thorough, 5 s warm-up and 30 s measured" in run("small", "--profile", "thorough").stdout
    assert run("small", "--profile", "fast").exit_code == 2


def test_all_errors_of_both_files_go_to_standard_error(root: Path) -> None:
    path = root / "experiments/small.yml"
    path.write_text(path.read_text().replace("blocks: 8", "blocks: 0").replace("wrk", "wkr"))
    (root / "inventories/local").write_text('{"clients": {"hosts": {"a;b": null}}}')
    done = run("small")
    assert done.exit_code == 2
    assert done.stdout == ""
    said = done.stderr.splitlines()
    assert said[0] == "experiments/small.yml:14:1: blocks: expected at least 1, got 0"
    assert said[1].startswith("inventories/local: host 'a;b': not a host name")


def test_every_broken_rule_goes_to_standard_error(root: Path) -> None:
    path = root / "experiments/small.yml"
    path.write_text(path.read_text().replace("baseline: tcp", "baseline: x").replace("wrk", "wkr"))
    done = run("small")
    assert done.exit_code == 2
    assert [line.split(":")[1] for line in done.stderr.splitlines()] == ["3", "12"]


def test_an_unknown_experiment_names_the_known_ones(root: Path) -> None:
    done = run("smal")
    assert done.exit_code == 2
    assert done.stderr == "experiments/smal.yml: no such experiment; known: small\n"


def test_labels_are_not_read_as_markup(root: Path) -> None:
    path = root / "experiments/small.yml"
    path.write_text(path.read_text().replace("Is a", "'[red]:smile: [/x] Is a") + "\n")
    path.write_text(path.read_text().replace("TCP?", "TCP?'"))
    assert "small: [red]:smile: [/x] Is a Unix socket" in run("small").stdout
