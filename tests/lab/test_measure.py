"""From an experiment to a report, on real containers."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from conftest import ROOT, Lab
from pyarrow import parquet

from collector.blockfile import read_lines

MINE = Path("tests/lab/experiments")


def rows(lab: Lab, table: str, campaign: str) -> list[dict]:  # type: ignore[type-arg]
    dataset = lab.state / "results" / "dataset"
    index = json.loads((dataset / "index.json").read_text())
    found = []
    for part in index["parts"]:
        if part["table"] == table and part["campaign"] == campaign:
            found += parquet.read_table(dataset / part["file"]).to_pylist()
    return found


def header(campaign: Path, block: int = 1) -> dict:  # type: ignore[type-arg]
    (path,) = campaign.glob(f"blocks/b{block:04d}-a*.jsonl")
    return next(body for _, body in read_lines(path))


def test_one_command_gave_an_answer_and_a_report(lab: Lab) -> None:
    assert "Placement " in lab.up_output
    assert "sharedvolume vs tcp-loopback" in lab.up_output
    assert "16 connections" in lab.up_output
    report = lab.state / "results" / "report" / "web" / "report.html"
    assert str(report) in lab.up_output or "report.html" in lab.up_output
    assert "first look" in report.read_text()
    assert "block 2 of 2" in lab.up_output


def test_every_slot_is_accounted_for(lab: Lab) -> None:
    done = lab.collector("collect", "--state", str(lab.state))
    assert "8 planned = " in done.stdout
    assert " 0 missing" in done.stdout
    assert "0 quarantined" in done.stdout


def test_rows_say_what_was_measured(lab: Lab) -> None:
    (campaign, *_) = lab.campaigns("web")
    runs = rows(lab, "runs", campaign.name)
    assert len(runs) == 8
    for run in runs:
        assert run["requests"] > 100
        assert run["throughput_rps"] > 100
        assert run["latency_p50_s"] > 0, "the raw histogram is missing"
        assert run["containers_cpu_s"] > 0
        assert run["host_cpu_s"] > 0
        assert run["errors_status"] == 0
        assert run["emulated"] is False
        assert run["placement"] in ("same_core", "split", "shared")
        assert run["overhead_s"] >= 0
    for copy in ("a", "b"):
        assert (
            len([run for run in runs if run["arm"] == "tcp-loopback" and run["copy"] == copy]) == 2
        )
    assert len({run["deployment"] for run in runs}) == 8, "every block gets fresh deployments"
    histograms = rows(lab, "histograms", campaign.name)
    assert sum(one["count"] for one in histograms) > 0


def parts_of_hosts(lab: Lab, campaign: str, host: str) -> list[dict]:  # type: ignore[type-arg]
    """Check a host's figures against its containers', and theirs against their processes'."""
    hosts = [one for one in rows(lab, "hosts", campaign) if one["host"] == host]
    for whole in hosts:
        parts = [one for one in rows(lab, "containers", campaign) if one["run"] == whole["run"]]
        assert whole["complete"]
        assert 0 < sum(one["memory_bytes"] for one in parts) < whole["memory_bytes"]
        mine = [one for one in parts if one["measured"]]
        for one in mine:
            processes = json.loads(one["processes"]).values()
            # A tick of the kernel's clock for each of them, and what the snapshots lie apart.
            spent = sum(process["cpu_s"] for process in processes)
            assert abs(spent - one["cpu_s"]) < 0.05 + 0.05 * one["cpu_s"]
        networks = {one["network"]: one for one in parts if one["network"]}
        sent = sum(one["received_bytes"] + one["sent_bytes"] for one in networks.values())
        assert abs(whole["links_bytes"] - sent) < 10_000 + 0.01 * sent
    return hosts


def test_a_hosts_figures_are_those_of_its_containers_and_a_rest(lab: Lab) -> None:
    (campaign, *_) = lab.campaigns("web")
    assert len(parts_of_hosts(lab, campaign.name, "lab-2")) == 8
    named = [
        json.loads(one["processes"])
        for one in rows(lab, "containers", campaign.name)
        if one["measured"] and one["container"] == "proxy"
    ]
    assert {*named[0]} == {"nginx"}
    assert named[0]["nginx"]["number"] == 2, "the master and its worker"
    report = lab.state / "results" / "report" / "web" / "report.html"
    assert "From process to host: who used what" in report.read_text()


def test_combined_has_twice_the_means_read_back(lab: Lab) -> None:
    (campaign, *_) = lab.campaigns("web")
    deployments = header(campaign)["deployments"]
    combined = deployments["combined/a"]["containers"]["combined"]
    proxy = deployments["sharedvolume/a"]["containers"]["proxy"]
    assert combined["quota_us"], "the hard limit of combined did not reach the cgroup"
    assert proxy["quota_us"] is None
    assert combined["memory_limit_bytes"] == 2 * proxy["memory_limit_bytes"]
    assert set(deployments["sharedvolume/a"]["containers"]) == {"proxy", "app-0"}
    for task, image in deployments["sharedvolume/a"]["images"].items():
        assert image["name"] == {"proxy": "proxy", "app-0": "app"}[task]
        assert image["digest"].startswith("sha256:")
        assert image["arch"] == os.uname().machine
        assert image["bytes"] > 10_000_000
        assert image["layers"] == 2, "its own over the base"
    assert len(deployments["sharedvolume/a"]["images"]) == 2


@pytest.mark.parametrize("name", ["paths", "factors"])
def test_every_path_and_factor_answers(lab: Lab, name: str) -> None:
    lab.collector("measure", str(MINE / f"{name}.yml"), "--events", "plain")
    every_slot_answers(lab, name)


def every_slot_answers(lab: Lab, name: str) -> Path:
    """Check that every planned run of an experiment's only campaign is there and right."""
    done = lab.collector("collect", "--state", str(lab.state))
    (campaign,) = lab.campaigns(name)
    (line,) = [one for one in done.stdout.splitlines() if one.startswith(campaign.name)]
    assert " 0 missing" in line
    assert " 0 quarantined" in line
    runs = rows(lab, "runs", campaign.name)
    assert all(run["requests"] > 0 for run in runs)
    assert all(run["errors_status"] == 0 for run in runs)
    deployments = header(campaign)["deployments"]
    assert {one["path"] for one in deployments.values()} == {run["path"] for run in runs}
    return campaign


def test_factors_reach_the_containers(lab: Lab) -> None:
    (campaign,) = lab.campaigns("factors")
    bindings = [header(campaign, block)["deployments"]["sharedvolume/a"] for block in (1, 2)]
    assert {one["endpoint"].split(":")[0] for one in bindings} == {"http", "https"}
    for one in bindings:
        assert set(one["containers"]) == {"proxy", "app-0", "app-1"}
        assert one["body_bytes"] >= 4096


def test_the_published_protocol_is_kept_and_what_people_write_stays_text(
    lab: Lab, tmp_path: Path
) -> None:
    marker = tmp_path / "ran"
    text = (ROOT / MINE / "published.yml").read_text()
    path = tmp_path / "braces.yml"
    path.write_text(
        text.replace("question: ", f"question: \"{{{{ lookup('pipe', 'touch {marker}') }}}}\" #", 1)
    )
    lab.playbook("--tags", "measure,collect,analyse", "-e", f"experiment={path}")
    assert not marker.exists()
    campaign = every_slot_answers(lab, "braces")
    (path,) = campaign.glob("blocks/b0001-a1.jsonl")
    runs = [body for _, body in read_lines(path) if body["type"] == "run"]
    for run in runs:
        argv = run["measure"]["argv"]
        assert argv[0] == "ab"
        assert "-l" in argv
        assert argv[argv.index("-n") + 1] == "1000"
        assert argv[argv.index("-c") + 1] == "1"
        assert "-k" not in argv


def test_show_gives_a_runs_files_back(lab: Lab, tmp_path: Path) -> None:
    (campaign, *_) = lab.campaigns("web")
    run = rows(lab, "runs", campaign.name)[0]["run"]
    state = ("--state", str(lab.state))
    assert "Requests/sec" in lab.collector("show", run, *state).stdout
    lab.collector("show", run, *state, "--extract", str(tmp_path / "out"))
    assert any(
        "Requests/sec" in one.read_text() for one in (tmp_path / "out").rglob("*") if one.is_file()
    )


def test_a_campaign_travels(lab: Lab, tmp_path: Path) -> None:
    (campaign, *_) = lab.campaigns("web")
    archive = tmp_path / "campaign.tar.gz"
    lab.collector("export", campaign.name, str(archive), "--state", str(lab.state))
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "results").mkdir(parents=True)
    lab.collector("import", str(archive), "--state", str(elsewhere))
    done = lab.collector("collect", "--state", str(elsewhere))
    assert "8 planned = " in done.stdout
    assert " 0 missing" in done.stdout


def test_a_job_runs_by_hand(lab: Lab) -> None:
    environment = lab.environment
    lab.environment = lab.client_environment()
    try:
        run = ("nomad", "job", "run", "-var", "id=by-hand", f"-var-file={lab.state}/images.hcl")
        lab.run(*run, "-var-file=jobs/web/sharedvolume.hcl", "jobs/web.nomad.hcl")
        wrong = lab.run(*run, "-var", "path=tcp", "jobs/web.nomad.hcl", check=False)
        assert wrong.returncode != 0
        assert "tcp-loopback" in wrong.stdout
        lab.run("nomad", "job", "stop", "-purge", "by-hand")
    finally:
        lab.environment = environment
