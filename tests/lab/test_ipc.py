"""Two containers of one host that share only what their mechanism needs."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Lab
from test_hops import measured
from test_measure import MINE, rows

VSOCK = Path("/sys/module/vsock_loopback")


def test_mechanisms_are_measured_between_two_containers(lab: Lab) -> None:
    lab.collector("measure", str(MINE / "mechanisms.yml"), "--events", "plain", check=False)
    lab.collector("collect", "--state", str(lab.state))
    (campaign,) = lab.campaigns("mechanisms")
    runs = {(run["arm"], run["copy"]): run for run in rows(lab, "runs", campaign.name)}
    cells = rows(lab, "cells", campaign.name)
    missing = runs.pop(("vsock", "a"))
    if not VSOCK.exists():
        assert missing["state"] == "invalid"
        assert missing["reasons"].startswith("unavailable access vsock_loopback: ENOENT")
    for run in runs.values():
        assert (run["state"], run["reasons"], run["inside"]) == ("good", None, True)
        own = {
            (one["mode"], one["message_bytes"]): one for one in cells if one["run"] == run["run"]
        }
        assert list(own) == [
            ("latency", 64), ("throughput", 4096), ("throughput", 32768), ("connect", None)
        ]  # fmt: skip
        assert own["latency", 64]["latency_p50_s"] > 0
        assert own["throughput", 4096]["transfer_bytes_per_s"] > 0
    bare = next(run for (arm, _), run in runs.items() if arm == "bare")
    assert bare["load_cpu_s"] > 0
    (bound,) = [
        one
        for one in rows(lab, "bindings", campaign.name)
        if one["deployment"] == bare["deployment"]
    ]
    assert (bound["allocation"], bound["containers"]) == (None, "{}")
    states = {
        (arm, one["mode"], one["message_bytes"]): one["state"]
        for (arm, _), run in runs.items()
        for one in cells
        if one["run"] == run["run"]
    }
    assert states["posix-queue", "throughput", 32768] == "too_large"
    assert states["memory-futex", "connect", None] == "not_applicable"
    assert states["unix-stream", "connect", None] == "measured"
    shown = lab.run(
        "python", "-m", "analysis", "report", "--state", str(lab.state), "--experiment",
        "mechanisms",
    ).stdout  # fmt: skip
    assert "unix-stream vs tcp" in shown
    page = lab.state / "results" / "report" / "mechanisms" / "report.html"
    assert "What could not be measured" in page.read_text()


@pytest.mark.long
def test_programs_of_others_tell_the_same(lab: Lab) -> None:
    campaign, runs = measured(lab, "ipc-peers")
    assert len(runs) == 12
    cells = rows(lab, "cells", campaign)
    modes = {run["arm"]: {one["mode"] for one in cells if one["run"] == run["run"]} for run in runs}
    assert modes["redis-unix"] == {"set", "get"}
    assert modes["sockperf-udp"] == modes["perf-pipe"] == {"latency"}
    assert modes["iperf3-tcp"] == {"throughput"}
    assert modes["stress-ng-mq"] == {"mq"}
    assert all(one["rate_per_s"] > 0 for one in cells)
