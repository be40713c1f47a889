"""Who used what of a host: parts add up to what they are parts of, and nothing is made of null."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from synthetic_dataset import Campaign, add_campaign

from analysis.attribution import Share, find_shares
from analysis.dataset import good_runs, open_dataset
from analysis.report import render
from analysis.summary import analyse
from analysis.tables import tables

MB = 1_000_000
WORK = 100
ARM = "tcp-loopback"
NGINX = {"nginx": {"number": 2, "cpu_s": 0.5, "memory_anonymous_bytes": 6 * MB}}
# A run of the arm: proxy and application share a network; the load makes its requests elsewhere.
RUN = {"requests": WORK, "host_cpu_s": 2.0, "unattributed_cpu_s": 0.3, "load_cpu_s": 0.2}
TASKS: dict[str, dict[str, Any]] = {
    "proxy": {
        "cpu_s": 0.6, "memory_bytes": 10 * MB, "memory_anonymous_bytes": 7 * MB, "network": 7,
        "received_bytes": 3000, "sent_bytes": 2000, "read_bytes": 0, "written_bytes": 500,
        "processes": json.dumps(NGINX),
    },
    "app-0": {
        "cpu_s": 0.8, "memory_bytes": 40 * MB, "memory_anonymous_bytes": 30 * MB, "network": 7,
        "received_bytes": 3000, "sent_bytes": 2000, "read_bytes": 100, "written_bytes": 0,
    },
    "waiting": {
        "cpu_s": 0.3, "memory_bytes": 50 * MB, "memory_anonymous_bytes": 35 * MB, "network": 8,
        "received_bytes": 10, "sent_bytes": 0, "read_bytes": 0, "written_bytes": 0,
    },
}  # fmt: skip
HOST: dict[str, Any] = {
    "host": "lab-2", "memory_bytes": 300 * MB, "memory_anonymous_bytes": 80 * MB,
    "read_bytes": 100, "written_bytes": 900, "links_bytes": 5110, "complete": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("attribution")
    add_campaign(folder, Campaign(arms={ARM: 1.0}, blocks=6, histograms=False))
    return folder


def shares(
    state: Path, *, peer: str = "", host: dict[str, Any] | None = None, hosts: int = 1,
    bare: bool = False, **changes: dict[str, Any],
) -> dict[tuple[str, str], Share]:  # fmt: skip
    """By level and name, of runs of which each is the same."""
    dataset = open_dataset(state)
    runs = good_runs(dataset.runs()).assign(**RUN, peer=peer)
    containers = dataset.table("containers").astype("object")
    idle = ~containers["measured"].eq(True)
    containers.loc[idle, "container"] = "waiting"
    containers["host"], containers["allocation"] = "lab-2", containers["run"]
    for task, figures in TASKS.items():
        for name, value in {**figures, **changes.get(task.partition("-")[0], {})}.items():
            containers.loc[containers["container"].eq(task), name] = value
    if bare:
        containers = containers[idle]
    own = {**HOST, **(host or {})}
    seen = pd.DataFrame(
        [
            {"run": run, "attempt": 1, **own, "host": f"lab-{2 + number}"}
            for run in runs["run"]
            for number in range(hosts)
        ]
    )
    return {(one.level, one.name): one for one in find_shares(runs, containers, seen)}


def figures(share: Share) -> tuple[float | None, ...]:
    """CPU a request in us, memory in MB, bytes a request."""
    memory = [value if value is None else value / MB for value in (share.own, share.memory)]
    cpu = None if share.cpu_s is None else share.cpu_s * 1e6
    return tuple(
        value if value is None else round(value, 6)
        for value in (cpu, *memory, share.blocks, share.network)
    )


def test_a_host_is_its_arm_those_that_wait_and_the_rest(state: Path) -> None:
    found = {level: figures(one) for (level, _), one in shares(state).items()}
    assert found["hosts"] == (20_000, 80, 300, 10, 51.1)
    assert found["arm"] == found["allocation"] == (14_000, 37, 50, 6, 50)
    assert found["waiting arms"] == (3000, 35, 50, 0, 0.1)
    assert found["rest"] == (3000, 8, 200, 4, 1)
    assert {one.n for one in shares(state).values()} == {12}


def test_a_container_is_its_processes_and_what_none_of_them_used(state: Path) -> None:
    found = shares(state)
    assert [*found] == [
        ("hosts", "lab-2"), ("arm", ARM), ("allocation", "lab-2"), ("container", "app-0"),
        ("container", "proxy"), ("process", "nginx"), ("process", ""), ("waiting arms", ""),
        ("rest", ""),
    ]  # fmt: skip
    assert figures(found["container", "proxy"]) == (6000, 7, 10, 5, 50)
    assert figures(found["process", "nginx"]) == (5000, 6, None, None, None)
    assert figures(found["process", ""]) == (1000, 1, None, None, None)


def test_what_is_not_known_of_one_part_is_not_known_of_the_whole(state: Path) -> None:
    unread = {"read_bytes": None, "written_bytes": None, "memory_bytes": None}
    found = shares(state, app=unread)
    assert figures(found["arm", ARM]) == (14_000, 37, None, None, 50)
    assert figures(found["rest", ""])[2:4] == (None, None)
    assert figures(found["hosts", "lab-2"])[2:4] == (300, 10)


def test_what_is_on_the_hosts_own_network_passes_no_link(state: Path) -> None:
    alone = {"network": None, "received_bytes": None, "sent_bytes": None}
    found = shares(state, proxy=alone, app=alone)
    assert figures(found["arm", ARM])[-1] is None
    assert figures(found["rest", ""])[-1] == 51


def test_a_program_in_no_container_has_its_cpu(state: Path) -> None:
    found = {level: figures(one) for (level, _), one in shares(state, bare=True).items()}
    assert found == {
        "hosts": (20_000, 80, 300, 10, 51.1), "arm": (2000, None, None, None, None),
        "waiting arms": (3000, 35, 50, 0, 0.1), "rest": (1000, 45, 250, 10, 51),
    }  # fmt: skip


def test_of_a_host_that_was_not_seen_whole_nothing_is_said(state: Path) -> None:
    assert shares(state, host={"complete": False}) == {}
    assert shares(state, peer="lab-3") == {}, "one of two hosts"
    both = shares(state, peer="lab-3", hosts=2)
    assert figures(both["hosts", "lab-2 and lab-3"])[1:3] == (160, 600)


def test_it_stands_in_the_report_and_its_tables(tmp_path: Path) -> None:
    hosts = {"memory_bytes": 300 * MB, "memory_anonymous_bytes": 80 * MB, "links_bytes": 9}
    add_campaign(tmp_path, Campaign(blocks=6, histograms=False, used_by_host=hosts))
    found = analyse(open_dataset(tmp_path), "web")
    shown = tables(found)
    assert set(shown["shares"]["level"]) >= {"hosts", "arm", "allocation", "container", "rest"}
    page = render(found, shown)
    assert "From process to host: who used what" in page
    assert "allocation on lab-2" in page
    assert "shares.csv" in page


def test_campaigns_of_before_have_no_such_table(state: Path) -> None:
    found = analyse(open_dataset(state), "web")
    assert found.shares == ()
    assert "who used what" not in render(found, tables(found))
