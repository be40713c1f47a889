"""What goes wrong on a live lab, and what must hold then. Runs after the measurements."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import LAB, ROOT, Lab, wait_for
from test_measure import MINE

BLOCKS = "/var/lib/socklab/.socklab/blocks"  # where a load host keeps what it measured
EXPERIMENT = "tests/lab/experiments/small.yml"
MEASURED = re.compile(r"wrk c=4: [\d,]+ requests/s")


def generators(lab: Lab, pattern: str = "(wrk|ab) ") -> list[int]:
    """Pids, on the load host, of load generators whose command line begins so."""
    found = lab.on("lab-1", "pgrep", "-f", f"^{pattern}", check=False).stdout.split()
    return [int(pid) for pid in found]


def ours(lab: Lab) -> list[str]:
    """Jobs that an engine has left or runs."""
    return [job for job in lab.nomad_jobs() if job.startswith("sl-")]


def attempts(campaign: Path) -> list[dict]:  # type: ignore[type-arg]
    """Every attempt that came to an end."""
    lines = filter(None, (campaign / "attempts.jsonl").read_text().splitlines())
    return [one for one in map(json.loads, lines) if "redo" in one]


def read_until(process: subprocess.Popen[str], pattern: str, limit_s: float = 120) -> str:
    """Read the process's output up to a line that matches; fail with all of it otherwise."""
    assert process.stdout is not None
    said, deadline = "", time.monotonic() + limit_s
    for line in process.stdout:
        said += line
        if re.search(pattern, line):
            return said
        if time.monotonic() > deadline:
            break
    raise AssertionError(f"never said {pattern!r}: {said}")


def kill_group(process: subprocess.Popen[str], number: int) -> None:
    os.killpg(process.pid, number)
    process.wait(30)


@contextmanager
def measuring(lab: Lab, blocks: int = 1, how: str = "--new") -> Iterator[subprocess.Popen[str]]:
    """A campaign under way, by default a new one, started as its own session."""
    argv = (sys.executable, "-m", "collector", "measure", EXPERIMENT, "--blocks", str(blocks))
    process = lab.popen(*argv, "--events", "plain", how)
    try:
        yield process
    finally:
        if process.poll() is None:
            kill_group(process, signal.SIGKILL)


def go_on(lab: Lab, blocks: int = 1) -> Path:
    """Finish the newest campaign; check the sum, and that nothing is left on the hosts."""
    done = lab.collector("measure", EXPERIMENT, "--blocks", str(blocks), "--events", "plain")
    assert "going on with campaign" in done.stdout
    campaign = lab.campaigns("small")[-1]
    said = lab.collector("collect", "--state", str(lab.state)).stdout
    (line,) = [one for one in said.splitlines() if one.startswith(campaign.name)]
    assert re.search(rf"{3 * blocks} planned = .* 0 quarantined \+ 0 missing", line), line
    assert ours(lab) == []
    assert generators(lab) == []
    return campaign


def test_a_killed_controller_leaves_no_generator_and_is_gone_on_with(lab: Lab) -> None:
    with measuring(lab, blocks=2) as process:
        read_until(process, r"block 2 of 2: .*requests/s")
        sealed = sorted(lab.campaigns("small")[-1].glob("blocks/*.jsonl"))
        kill_group(process, signal.SIGKILL)
    wait_for(lambda: generators(lab) == [], 30, "the generator ended with its controller")
    campaign = go_on(lab, blocks=2)
    assert [path.name for path in sealed] == ["b0001-a1.jsonl"]
    assert sealed[0].exists(), "a completed block was measured twice"
    assert not list(campaign.glob("blocks/b0001-a2*"))


def test_a_second_command_is_refused_and_interruptions_are_gone_on_with(lab: Lab) -> None:
    argv = ("ansible-playbook", "lab.yml", "--tags", "measure", "-e", f"experiment={EXPERIMENT}")
    process = lab.popen(*argv, "-e", "blocks=2", "-e", "new=true")
    try:
        said = read_until(process, r"block 1 of 2: .*requests/s")
        assert re.search(MEASURED, said), "figures appear while the playbook runs"
        refused = lab.run("make", f"lab={LAB}", "subnet=198.18.64.0/24", "lab", check=False)
        assert refused.returncode != 0
        assert f"in use by process {process.pid}" in refused.stdout
        os.killpg(process.pid, signal.SIGINT)
        process.wait(30)
    finally:
        if process.poll() is None:
            kill_group(process, signal.SIGKILL)
    assert process.returncode != 0
    wait_for(lambda: generators(lab) == [], 30, "the generator ended")
    wait_for(lambda: ours(lab) == [], 60, "jobs stopped")
    with measuring(lab, blocks=2, how="--no-new") as again:
        read_until(again, "deploying")
        kill_group(again, signal.SIGTERM)
        assert again.returncode == 130
    go_on(lab, blocks=2)


def test_a_killed_generator_costs_an_attempt_not_a_row(lab: Lab) -> None:
    with measuring(lab) as process:
        read_until(process, r"block 1 of 1: deploying")
        pid = wait_for(lambda: generators(lab, "wrk .*-d 2s"), 60, "a measured part runs")[0]
        lab.on("lab-1", "kill", "-KILL", str(pid))
        read_until(process, r"block 1, attempt 1: failed runs")
        read_until(process, r"is done", 180)
    campaign = lab.campaigns("small")[-1]
    first = [one for one in attempts(campaign) if one["block"] == 1]
    assert [one["redo"] for one in first] == [True, False]
    said = lab.collector("collect", "--state", str(lab.state)).stdout
    (line,) = [one for one in said.splitlines() if one.startswith(campaign.name)]
    assert re.search(r"3 planned = .* 0 missing", line), line
    assert list(campaign.glob("blocks/b0001-a1.jsonl")), "the failed attempt stays on record"


def test_a_load_host_cut_off_in_fetch_is_measured_once(lab: Lab) -> None:
    """Its sealed block waits there; the same command brings that, and measures nothing again."""
    sftp = "/usr/lib/openssh/sftp-server"
    # No new connection and no file; what was open before stays, so that the block is measured.
    cut = f"chmod 0 {sftp}; pkill -u socklab sftp-server; systemctl stop ssh.socket ssh.service"
    try:
        with measuring(lab) as process:
            read_until(process, MEASURED.pattern)
            lab.on("lab-1", "sh", "-c", cut)
            said = process.communicate(timeout=120)[0]
        assert process.returncode == 3, said
        assert "lab-1: the way broke while fetching" in said
        assert "lab-1 (198.18.64.11) cannot be reached" in said
    finally:
        lab.on("lab-1", "sh", "-c", f"chmod 755 {sftp}; systemctl start ssh.service")
    campaign = go_on(lab)
    assert [(one["attempt"], one["outcome"]) for one in attempts(campaign)] == [(1, "whole")]
    left = lab.on("lab-1", "find", BLOCKS, "-name", "b*")
    assert campaign.name not in left.stdout


def test_a_full_disk_is_told_with_its_host_and_loses_nothing(lab: Lab) -> None:
    full = "size=16k,mode=0700,uid=socklab"
    lab.on("lab-1", "mount", "-t", "tmpfs", "-o", full, "tmpfs", BLOCKS)
    try:
        with measuring(lab) as process:
            said = process.communicate(timeout=180)[0]
        assert process.returncode == 1, said
        assert "failed once: lab-1: OSError: [Errno 28] No space left on device" in said
        assert "run the same command again: it goes on with this block" in said
    finally:
        lab.on("lab-1", "umount", BLOCKS)
    assert attempts(go_on(lab))[-1]["outcome"] == "whole"


def test_a_changed_host_key_is_refused(lab: Lab, tmp_path: Path) -> None:
    known = lab.state / "ssh" / "known_hosts"
    kept = known.read_text()
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True
    )
    other = " ".join((tmp_path / "other.pub").read_text().split()[:2])
    address = "198.18.64.12"
    lines = [line for line in kept.splitlines() if not line.startswith(address)]
    try:
        known.write_text("\n".join([*lines, f"{address} {other}", ""]))
        refused = lab.collector("measure", "web", "--blocks", "1", "--new", check=False)
        assert refused.returncode == 3
        assert "another ssh host key" in refused.stdout
        assert "lab-2" in refused.stdout
        known.write_text("\n".join([*lines, ""]))
        unknown = lab.collector("measure", "web", "--blocks", "1", "--new", check=False)
        assert unknown.returncode == 3
        assert "lab-2" in unknown.stdout
    finally:
        known.write_text(kept)


def test_a_job_that_never_answers_ends_with_its_last_lines(lab: Lab) -> None:
    refused = lab.collector(
        "measure", "tests/lab/experiments/broken.yml", "--events", "plain", check=False
    )
    assert refused.returncode == 1
    assert "socklab-says-boom" in refused.stdout
    assert "failed 3 times" in refused.stdout
    assert ours(lab) == []


@pytest.mark.parametrize(
    ("experiment", "said"),
    [("starved", "OOM Killed"), ("crowded", "exhausted {'memory': 1}")],
)
def test_memory_that_is_too_little_or_not_there_is_named(
    lab: Lab, experiment: str, said: str
) -> None:
    path = f"tests/lab/experiments/{experiment}.yml"
    refused = lab.collector("measure", path, "--events", "plain", check=False)
    assert refused.returncode == 1
    assert said in refused.stdout
    assert "failed once: " in refused.stdout, "another attempt would end the same way"
    assert ours(lab) == []


def test_a_value_that_a_job_refuses_ends_a_campaign_before_its_first_block(
    lab: Lab, tmp_path: Path
) -> None:
    path = tmp_path / "lengths.yml"
    text = (MINE / "chain.yml").read_text()
    path.write_text(text.replace("services: [1, 2, 4]", "services: [1, 2, 3]"))
    refused = lab.collector("measure", str(path), "--events", "plain", check=False)
    assert refused.returncode == 2
    assert ", services=3: " in refused.stdout
    assert "The number of services must be 1, 2, 4 or 8." in refused.stdout
    assert "block 1 of" not in refused.stdout


def test_a_changed_experiment_is_not_gone_on_with(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "changing.yml"
    text = (MINE / "published.yml").read_text()
    path.write_text(text.replace("blocks: 1", "blocks: 2"))
    argv = (sys.executable, "-m", "collector", "measure", str(path), "--events", "plain")
    process = lab.popen(*argv)
    read_until(process, "deploying")
    kill_group(process, signal.SIGTERM)
    path.write_text(text.replace("blocks: 1", "blocks: 2") + "\n# new\n")
    refused = lab.collector("measure", str(path), "--events", "plain", check=False)
    assert refused.returncode == 2
    assert "experiment: was" in refused.stdout


def test_a_port_in_use_is_named(lab: Lab) -> None:
    lab.on("lab-1", "systemctl", "stop", "docker-registry")
    squatter = subprocess.Popen(
        ["podman", "exec", f"{LAB}-lab-1", "python3", "-m", "http.server", "5000"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for(lambda: "python3" in lab.on("lab-1", "ss", "-Hltnp").stdout, 10, "it listens")
        refused = lab.playbook("--tags", "cluster", check=False)
        assert refused.returncode != 0
        assert "port 5000 is needed by docker-registry and in use" in refused.stdout
    finally:
        pids = lab.on("lab-1", "pgrep", "-f", "http.server 5000", check=False).stdout.split()
        for pid in pids:
            lab.on("lab-1", "kill", pid, check=False)
        squatter.wait(10)
        lab.on("lab-1", "systemctl", "start", "docker-registry")


def test_a_disk_that_is_nearly_full_is_refused_first(lab: Lab) -> None:
    refused = lab.playbook("--tags", "hosts", "-e", "virtual_hosts_free_gib=1000000", check=False)
    assert refused.returncode != 0
    assert "Disk nearly full" in refused.stdout
    assert "1000000" in refused.stdout


def test_another_checkout_is_told_whose_lab_it_is(lab: Lab, tmp_path: Path) -> None:
    environment = lab.environment
    lab.environment = {**environment, "SOCKLAB_STATE": str(tmp_path / "elsewhere")}
    try:
        refused = lab.playbook("--tags", "hosts", check=False)
    finally:
        lab.environment = environment
    assert refused.returncode != 0
    assert "belongs to another checkout" in refused.stdout


def test_a_controller_without_privilege_is_refused(lab: Lab) -> None:
    with tempfile.TemporaryDirectory(prefix="socklab-nobody-") as home:
        environment = {
            **lab.environment,
            "HOME": home,
            "SOCKLAB_STATE": f"{home}/state",
            "ANSIBLE_HOME": home,
            "ANSIBLE_REMOTE_TMP": f"{home}/tmp",
        }
        nobody = ("unshare", "--user")  # without a mapping: nobody, wherever Python is installed
        done = subprocess.run(
            [*nobody, "ansible-playbook", "lab.yml", "--tags", "hosts"],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
    assert done.returncode != 0
    assert "Run as root" in done.stdout + done.stderr, done.stdout + done.stderr
