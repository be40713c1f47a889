"""Loads of another kind: on a schedule, on a full backlog, on a server that only answers."""

from __future__ import annotations

import re
from typing import Any

from conftest import Lab
from test_measure import MINE, rows


def measured(lab: Lab, experiment: str, invalid: str = "0") -> list[dict[str, Any]]:
    """The runs of one block of the experiment on every host; ``invalid``: a pattern of how many."""
    lab.collector("measure", str(MINE / f"{experiment}.yml"), "--events", "plain")
    done = lab.collector("collect", "--state", str(lab.state)).stdout
    (campaign,) = lab.campaigns(experiment)
    (line,) = [one for one in done.splitlines() if one.startswith(campaign.name)]
    assert re.search(rf" {invalid} invalid \+ 0 quarantined \+ 0 missing", line), line
    return rows(lab, "runs", campaign.name)


def test_an_open_loop_keeps_its_schedule(lab: Lab) -> None:
    for run in measured(lab, "open"):
        assert run["offered"] == "50 % of peak"
        assert abs(run["throughput_rps"] / run["offered_rps"] - 1) < 0.1, run["warnings"]
        assert run["latency_corrected_p50_s"] >= run["latency_p50_s"] > 0
        assert run["little_ratio"] is None
    shown = lab.run("python", "-m", "analysis", "peak", "--state", str(lab.state)).stdout
    assert "tcp-loopback" in shown


def test_a_full_backlog_is_a_status_over_a_unix_socket_and_a_wait_over_tcp(lab: Lab) -> None:
    found = {(run["host"], run["arm"]): run for run in measured(lab, "full") if run["copy"] == "a"}
    for host in {host for host, _ in found}:
        unix, tcp = found[host, "sharedvolume"], found[host, "tcp-loopback"]
        assert unix["errors_status"] > 0.01 * unix["requests"]
        assert not tcp["errors_status"]
        assert tcp["listen_overflows"] > 0
        assert tcp["latency_max_s"] > 0.9, "no SYN was sent again"


def test_a_server_that_only_answers_is_faster_than_any_application(lab: Lab) -> None:
    """Its generator is the bound, so Little's law may not hold; the ceiling counts such a run."""
    null = [run["throughput_rps"] for run in measured(lab, "null", invalid=r"\d")]
    (campaign, *_) = lab.campaigns("web")
    application = [run["throughput_rps"] for run in rows(lab, "runs", campaign.name)]
    assert max(null) > max(application), "either at its best: the machine is not ours alone"
    lab.run("python", "-m", "analysis", "report", "--state", str(lab.state), "--experiment", "web")
    page = lab.state / "results" / "report" / "web" / "report.html"
    assert "Against a server that only answers" in page.read_text()


def test_an_instance_that_is_asked_for_under_load_helps(lab: Lab) -> None:
    found = {(run["host"], run["arm"]): run for run in measured(lab, "grown") if run["copy"] == "a"}
    for host in {host for host, _ in found}:
        one, two = found[host, "tcp-loopback"], found[host, "scaled"]
        assert (one["scaled_to"], two["scaled_to"]) == (None, 2)
        assert two["scale_served_s"] is not None, two["warnings"]
        assert 0 < two["scale_running_s"] < two["scale_served_s"] < two["measured_s"]
        assert one["throttled_count"] > 0, "an instance has a fifth of a core"
        assert one["context_switches"] > 0


def test_an_application_is_asked_over_a_unix_socket_with_nothing_between(lab: Lab) -> None:
    found = measured(lab, "direct")
    asked = {(run["arm"], run["concurrency"], run["inside"]) for run in found}
    assert asked == {("tcp-loopback", 4, True), ("unix", 4, True)}
    assert all(run["latency_p50_s"] > 0 for run in found)
