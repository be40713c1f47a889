"""Where a system job runs and why not, from answers that Nomad 1.11.3 gave.

``system_job.json``: two hosts, the job fits on lab-2 alone; keys that nobody reads are left out.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from collector.campaign.placement import Placement, pinned, placements
from collector.daily import _placement_lines

RECORDED = Path(__file__).parents[1] / "fixtures" / "campaign" / "system_job.json"


@pytest.fixture
def said() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RECORDED.read_text())
    return found


def place(said: dict[str, Any]) -> dict[str, str | None]:
    found = placements(said["job"], said["nodes"], said["allocations"], said["plans"].__getitem__)
    assert {one.job for one in found} <= {"roomy"}
    assert [one.host for one in found] == sorted(one.host for one in found)
    return {one.host: one.why_not for one in found}


def node(said: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [one for one in said["nodes"] if one["Name"] == name]
    assert isinstance(found, dict)
    return found


def plan(said: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = said["plans"][node(said, "lab-3")["ID"]]
    return answer


NO_ROOM = "no room for roomy: memory exhausted (it asks for 600 MB)"


def test_a_host_without_room_is_named_with_dimension_and_ask(said: dict[str, Any]) -> None:
    assert place(said) == {"lab-2": None, "lab-3": NO_ROOM}


def test_a_host_that_runs_it_is_not_asked_about(said: dict[str, Any]) -> None:
    asked = []

    def dry_run(node_id: str) -> Any:
        asked.append(node_id)
        return said["plans"][node_id]

    placements(said["job"], said["nodes"], said["allocations"], dry_run)
    assert asked == [node(said, "lab-3")["ID"]]


@pytest.mark.parametrize("status", ["down", "disconnected", "initializing"])
def test_a_host_that_is_not_ready_says_so(said: dict[str, Any], status: str) -> None:
    node(said, "lab-2")["Status"] = status
    assert place(said)["lab-2"] == f"the host is {status}"


def test_a_drained_host_says_so(said: dict[str, Any]) -> None:
    node(said, "lab-3")["SchedulingEligibility"] = "ineligible"
    assert place(said)["lab-3"] == "the host is drained, or not eligible"


def test_a_host_of_another_datacenter_has_no_part(said: dict[str, Any]) -> None:
    node(said, "lab-3")["Datacenter"] = "dc2"
    assert place(said) == {"lab-2": None}
    said["job"]["Datacenters"] = ["dc*"]
    assert place(said).keys() == {"lab-2", "lab-3"}


def test_a_failed_allocation_names_its_task(said: dict[str, Any]) -> None:
    (allocation,) = said["allocations"]
    allocation["ClientStatus"] = "failed"
    allocation["TaskStates"]["app-0"]["Failed"] = True
    assert place(said)["lab-2"] == "roomy is failed: task app-0 failed"


def test_the_newest_allocation_of_a_host_counts(said: dict[str, Any]) -> None:
    newer = copy.deepcopy(said["allocations"][0])
    newer |= {"CreateIndex": newer["CreateIndex"] + 1, "ClientStatus": "pending"}
    said["allocations"].insert(0, newer)
    assert place(said)["lab-2"] == "roomy is pending"


def test_a_dimension_without_a_figure_is_named_alone(said: dict[str, Any]) -> None:
    (metrics,) = plan(said)["FailedTGAllocs"].values()
    metrics["DimensionExhausted"] = {"network: reserved port collision http=80": 1}
    assert place(said)["lab-3"] == (
        "no room for roomy: network: reserved port collision http=80 exhausted"
    )
    metrics["DimensionExhausted"] = None
    assert place(said)["lab-3"] == "no room for roomy: Nomad does not say of what"


def test_cpu_is_given_in_the_labs_unit(said: dict[str, Any]) -> None:
    (metrics,) = plan(said)["FailedTGAllocs"].values()
    metrics["DimensionExhausted"] = {"cpu": 1}
    for number, task in enumerate(metrics["ResourcesExhausted"].values(), start=1):
        task["CPU"] = number * 50000
    assert place(said)["lab-3"] == (
        "no room for roomy: cpu exhausted (it asks for 150000 of CPU, where 100000 is one core)"
    )


def test_room_and_constraint_are_told_apart(said: dict[str, Any]) -> None:
    answer = plan(said)
    answer["FailedTGAllocs"] = None
    assert place(said)["lab-3"] == "a constraint of roomy leaves this host out"
    answer["Annotations"]["DesiredTGUpdates"]["web"]["Place"] = 1
    assert place(said)["lab-3"] == "roomy is not placed yet"


def test_a_pinned_job_keeps_its_own_constraints() -> None:
    own = {"LTarget": "${attr.kernel.name}", "RTarget": "linux", "Operand": "="}
    job = {"ID": "roomy", "Constraints": [own]}
    only = {"LTarget": "${node.unique.id}", "RTarget": "n1", "Operand": "="}
    assert pinned(job, "n1")["Constraints"] == [own, only]
    assert pinned({**job, "Constraints": None}, "n1")["Constraints"] == [only]
    assert job["Constraints"] == [own]


def test_status_prints_a_line_a_job_and_one_for_each_host_without_it() -> None:
    found = [
        Placement("agent", "lab-2", None),
        Placement("agent", "lab-3", None),
        Placement("roomy", "lab-2", NO_ROOM),
        Placement("roomy", "lab-3", "the host is down"),
    ]
    assert _placement_lines(found) == [
        "system job agent runs on 2 of 2 hosts: lab-2, lab-3",
        "system job roomy runs on 0 of 2 hosts",
        f"  lab-2: {NO_ROOM}",
        "  lab-3: the host is down",
    ]
