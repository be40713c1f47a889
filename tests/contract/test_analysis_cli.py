"""``python -m analysis``: what it prints, writes and exits with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

sys.path.insert(0, str(Path(__file__).parents[1] / "pure"))

import blockfiles
from synthetic_dataset import Campaign, add_campaign

from analysis.__main__ import app
from collector.dataset.commands import register

ROOT = Path(__file__).parents[2]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], prog_name="python -m analysis")


def make(state: Path, **changes: object) -> None:
    add_campaign(state, Campaign(**{"histograms": False, "blocks": 6, **changes}))  # type: ignore[arg-type]


def test_alone_it_explains_itself() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "analysis"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert "report" in done.stdout
    assert "Usage: python -m analysis" in done.stdout


def test_report_writes_its_files_and_ends_with_the_path(tmp_path: Path) -> None:
    make(tmp_path)
    done = run("report", "--state", tmp_path, "--experiment", "web")
    assert done.exit_code == 0, done.output
    folder = tmp_path / "results" / "report" / "web"
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "report.html", "answer.txt", "verdicts.csv", "aa.csv", "arms.csv", "blocks.csv", "cpu.csv",
        "latency.csv",
        "consistency.csv", "counted.csv", "replication.csv", "files.csv",
        "account.csv", "environment.csv", "used.csv",
    }  # fmt: skip
    lines = done.output.rstrip().splitlines()
    assert lines[-1] == f"Report: {folder / 'report.html'}"
    assert lines[-4].startswith("Placement same_core on lab-2 (virtual, x86_64), wrk")
    assert lines[-3].startswith("sharedvolume vs tcp-loopback: +")
    assert (folder / "answer.txt").read_text().splitlines() == lines[-4:-1]


@pytest.mark.parametrize(("profile", "code"), [("quick", 0), ("standard", 1)])
def test_a_failed_gate_is_a_warning_in_a_first_look_only(
    tmp_path: Path, profile: str, code: int
) -> None:
    make(tmp_path, twin=1.2, profile=profile)
    done = run("report", "--state", tmp_path, "--experiment", "web")
    assert done.exit_code == code
    assert "Warning: A/A" in done.output
    assert (tmp_path / "results" / "report" / "web" / "report.html").exists()


@pytest.mark.parametrize(("passed", "code"), [(True, 0), (False, 1)])
def test_a_proof_that_failed_is_exit_1_in_a_first_look_too(
    tmp_path: Path, passed: bool, code: int
) -> None:
    make(tmp_path, proofs=[{"proof": "intention", "claim": "Denied fails.", "passed": passed}])
    done = run("report", "--state", tmp_path, "--experiment", "web")
    assert done.exit_code == code
    folder = tmp_path / "results" / "report" / "web"
    first = (folder / "answer.txt").read_text().splitlines()[0]
    assert first.startswith("Placement" if passed else "Proof failed: 1 of 1 did not hold: int")
    assert (folder / "proofs.csv").read_text().startswith("name,claim,passed,evidence\nintention,")


def test_a_mesh_that_the_collector_made_is_understood(tmp_path: Path) -> None:
    proof = {"name": "no-route", "claim": "No route.", "passed": True, "evidence": ["lab-2: lo"]}
    blockfiles.Campaign(blocks=6, peer="lab-3", proofs=(proof,)).write(tmp_path)
    collector = typer.Typer()
    register(collector)
    assert CliRunner().invoke(collector, ["collect", "--state", str(tmp_path)]).exit_code == 0
    done = run("report", "--state", tmp_path, "--experiment", "web")
    assert done.exit_code == 0, done.output
    assert "Placement same_core on lab-2 and lab-3 (virtual, x86_64), wrk" in done.output
    assert "Proofs: 1 of 1 held." in done.output
    folder = tmp_path / "results" / "report" / "web"
    assert "sidecar-server" in (folder / "mesh_cpu.csv").read_text()
    assert "1.36.4" in (folder / "sidecars.csv").read_text()


def test_two_architectures_have_tables_and_a_line_and_a_refusal_is_no_failure(
    tmp_path: Path,
) -> None:
    common = {"variant": "", "tool": "wrk", "concurrency": 16}
    hosts = [{**common, "host": "lab-2"}, {**common, "host": "arm-1", "arch": "aarch64"}]
    make(tmp_path, cells=[hosts[0], {**hosts[1], "placement": "split"}])
    done = run("report", "--state", tmp_path, "--experiment", "web")
    assert done.exit_code == 0, done.output
    refused = "not compared, placement: same_core (lab-2) and split (arm-1); by host requests/s "
    line = f"aarch64 against x86_64, sharedvolume vs tcp-loopback: {refused}"
    folder = tmp_path / "results" / "report" / "web"
    assert line in done.output
    assert line in (folder / "answer.txt").read_text()
    names = {path.name for path in folder.glob("across*")} | {"images.csv"}
    assert names == {
        "across.csv", "across_hosts.csv", "across_summaries.csv", "across_emulated.csv",
        "images.csv",
    }  # fmt: skip
    assert (folder / "images.csv").exists()


def test_a_dataset_that_the_collector_made_is_understood(tmp_path: Path) -> None:
    blockfiles.Campaign(blocks=6).write(tmp_path)
    collector = typer.Typer()
    register(collector)
    assert CliRunner().invoke(collector, ["collect", "--state", str(tmp_path)]).exit_code == 0
    done = run("report", "--state", tmp_path, "--experiment", "web")
    assert done.exit_code == 0, done.output
    assert "18 planned = 18 good" in done.output
    assert "Placement same_core on lab-2 (virtual, x86_64), wrk, 16 connections" in done.output
    assert "different." in done.output


def test_no_dataset_is_exit_3_with_the_command_that_makes_it(tmp_path: Path) -> None:
    done = run("report", "--state", tmp_path, "--experiment", "web")
    assert done.exit_code == 3
    assert "python -m collector collect --state" in done.output
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--experiment", "wbe"], "did you mean 'web'"),
        (["--experiment", "../../x"], "is not in the dataset"),
        (["--experiment", "web", "--campaign", "no"], "has no campaign 'no'"),
    ],
)
def test_bad_input_is_exit_2_in_one_line(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    make(tmp_path)
    done = run("report", "--state", tmp_path, *arguments)
    assert done.exit_code == 2
    assert message in done.output


def test_usage_is_exit_2() -> None:
    assert run("report").exit_code == 2
    assert run("nothing").exit_code == 2
