"""Networks between containers: every one carries both protocols, over real devices."""

from __future__ import annotations

import json
import sys

import pytest
from conftest import Lab
from test_hops import measured
from test_trouble import attempts, read_until


@pytest.fixture(scope="module")
def networks(lab: Lab) -> None:
    """What the hosts have for it, from the second converge of test_cluster where that has run."""
    if lab.on("lab-3", "ip", "link", "show", "socklab-vxlan", check=False).returncode:
        lab.playbook("--tags", "workloads", "-e", "experiment=networks")


@pytest.mark.usefixtures("networks")
def test_every_network_of_one_host_carries_both_protocols(lab: Lab) -> None:
    _, runs = measured(lab, "networks")
    assert len(runs) == 12


@pytest.mark.long
@pytest.mark.usefixtures("networks")
def test_every_network_of_one_host_carries_a_web_application(lab: Lab) -> None:
    _, runs = measured(lab, "web-networks")
    assert len(runs) == 12
    assert {run["requests_failed"] for run in runs} == {0}


@pytest.mark.usefixtures("networks")
def test_between_hosts_too_and_the_overlay_is_vxlan(lab: Lab) -> None:
    device = lab.on("lab-2", "ip", "-json", "-details", "link", "show", "socklab-vxlan")
    (shown,) = json.loads(device.stdout)
    assert shown["linkinfo"]["info_kind"] == "vxlan"
    assert shown["master"] == "socklab1"
    before = lab.on("lab-2", "cat", "/sys/class/net/socklab-vxlan/statistics/tx_packets").stdout
    campaign, runs = measured(lab, "networks-hosts")
    assert len(runs) == 5
    after = lab.on("lab-2", "cat", "/sys/class/net/socklab-vxlan/statistics/tx_packets").stdout
    assert int(after) - int(before) > 1000, "what the arm overlay sent went through it"
    (block, *_) = sorted((lab.state / "results/campaigns" / campaign / "blocks").glob("*.jsonl"))
    header, first, *_ = [json.loads(line)["body"] for line in block.read_text().splitlines()]
    facts = header["hosts"]["lab-2"]["environment"]
    assert facts["netfilter"]["nat"] > 0
    assert int(facts["mtu"]["socklab-vxlan"]) == int(facts["mtu"]["eth0"]) - 50
    assert first["before"]["lab-2"]["conntrack"] >= 0


@pytest.mark.long
@pytest.mark.usefixtures("networks")
def test_an_overlay_that_loses_a_host_costs_an_attempt_and_no_more(lab: Lab) -> None:
    # By this seed the overlay is the last of the block's runs: what comes after the others'.
    argv = ("-m", "collector", "measure", "tests/lab/experiments/overlay.yml", "--seed", "2")
    process = lab.popen(sys.executable, *argv, "--events", "plain")
    read_until(process, r"block 1 of 1: host/b ipc")
    lab.on("lab-3", "systemctl", "stop", "socklab-overlay")
    try:
        read_until(process, r"block 1, attempt 1: failed runs")
    finally:
        lab.on("lab-3", "systemctl", "start", "socklab-overlay")
    read_until(process, "is done", 180)
    (campaign,) = lab.campaigns("overlay")
    assert [one["redo"] for one in attempts(campaign)] == [True, False]
    lab.collector("collect", "--state", str(lab.state))
