"""Topologies that span two hosts: whose counters are whose, and each CPU counted once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from blockfiles import MESH, SIDECAR, Body, Campaign, Change, container_id

from collector.blockfile import BlockFileError
from collector.dataset.placement import path_placement
from collector.dataset.planned import parse_plan
from collector.dataset.read import BlockRows, read_block
from collector.dataset.tables import block_tables

MADE = Campaign(blocks=1, peer="lab-3")
APART = replace(MADE, peer_boot="boot-3")
BETWEEN_S = 2.12  # between the snapshots
BUSY = 1 / 2 + 1 / 3 + 1 / 20  # of each CPU, as blockfiles.py has it
APP = container_id(1, 1, "tcp-loopback", "a", "app")


def read(
    tmp_path: Path, change: Change | None = None, header: Change | None = None, made: Any = MADE
) -> BlockRows:
    changes = {1: change} if change else {}
    path = made.write_block(tmp_path, 1, change=changes, change_header=header)
    return read_block(path, parse_plan(made.plan_bytes()))


def first(*arguments: Any, **named: Any) -> Any:
    return read(*arguments, **named).runs[0]


def refused(tmp_path: Path, header: Change) -> str:
    with pytest.raises(BlockFileError) as caught:
        read(tmp_path, header=header)
    return caught.value.reason


def test_virtual_hosts_of_one_machine_share_its_cpus(tmp_path: Path) -> None:
    row = first(tmp_path)
    assert (row["state"], row["reasons"], row["warnings"]) == ("good", None, None)
    assert (row["host"], row["peer"], row["load_host"]) == ("lab-2", "lab-3", "lab-2")
    assert row["placement"] == "same_core"
    assert row["containers_cpu_s"] == pytest.approx((0.2 + 0.15 + 0.25) * BETWEEN_S)
    assert row["host_cpu_s"] == pytest.approx(BUSY * BETWEEN_S, abs=0.03)
    idle = 2 * len(MESH) * 0.001 * BETWEEN_S
    every = row["containers_cpu_s"] + row["load_cpu_s"] + idle
    assert row["unattributed_cpu_s"] == pytest.approx(row["host_cpu_s"] - every)


def test_cpus_of_two_machines_add_up(tmp_path: Path) -> None:
    one, two = first(tmp_path / "one"), first(tmp_path / "two", made=APART)
    assert two["placement"] == "hosts"
    assert two["host_cpu_s"] == pytest.approx(2 * one["host_cpu_s"])
    assert two["containers_cpu_s"] == pytest.approx(one["containers_cpu_s"])
    assert two["unattributed_cpu_s"] == pytest.approx(one["unattributed_cpu_s"] + one["host_cpu_s"])
    assert (two["retransmits"], two["listen_overflows"]) == (4, 0)


def test_an_inside_tool_is_the_container_load(tmp_path: Path) -> None:
    row = first(tmp_path)
    assert row["inside"] is True
    assert row["load_cpu_s"] == pytest.approx(0.05 * BETWEEN_S)
    assert row["load_cpu_share"] is None


def test_a_program_on_the_host_itself_is_its_own_load(tmp_path: Path) -> None:
    def bare(body: Body) -> None:
        for one in body["deployments"].values():
            one |= {"containers": {}, "allocation": None, "node": None, "cpus": [0, 1]}

    row = first(tmp_path, header=bare)
    assert (row["inside"], row["placement"]) == (True, "shared")
    assert row["load_cpu_s"] == pytest.approx(0.5 + 0.9), "the process's own, which did it all"
    assert (row["load_cpu_share"], row["containers_cpu_s"]) == (None, 0.0)


def test_an_inside_tool_is_never_client_bound(tmp_path: Path) -> None:
    def busy(body: Body) -> None:
        load = container_id(1, 1, "tcp-loopback", "a", "load")
        body["after"]["lab-2"]["cgroups"][load]["cpu_ns"] += 3 * 10**9
        body["measure"]["cpu_user_s"] = 9.0

    row = first(tmp_path, busy)
    assert (row["state"], row["warnings"], row["load_cpu_share"]) == ("good", None, None)
    assert row["load_cpu_s"] > 3


def test_an_inside_tool_without_its_container_is_null(tmp_path: Path) -> None:
    def without(header: Body) -> None:
        for deployment in header["deployments"].values():
            del deployment["containers"]["load"]

    assert first(tmp_path, header=without)["load_cpu_s"] is None


def test_each_containers_counters_are_from_its_own_host(tmp_path: Path) -> None:
    rows = read(tmp_path)
    mine = [one for one in rows.containers if one["run"] == rows.runs[0]["run"] and one["measured"]]
    assert {one["container"]: one["host"] for one in mine} == {
        task: host for task, (host, _) in MESH.items()
    }
    for one in mine:
        assert one["cpu_s"] == pytest.approx(MESH[one["container"]][1] * BETWEEN_S)
    assert len(rows.containers) == 3 * 3 * len(MESH)


def test_bindings_have_both_ends(tmp_path: Path) -> None:
    def facts(header: Body) -> None:
        header["hosts"]["lab-3"]["environment"]["kernel"] = "6.1.0"

    row = read(tmp_path, header=facts).bindings[0]
    assert (row["peer"], row["peer_node"], row["peer_allocation"]) == ("lab-3", "9a41", "c0ffee")
    assert row["endpoint"] is None
    assert json.loads(row["sidecars"])["sidecar-server"] == {"host": "lab-3", **SIDECAR}
    assert json.loads(row["peer_environment"])["kernel"] == "6.1.0"
    assert json.loads(row["environment"])["kernel"] == "6.18.0"


def test_blocks_from_before_there_were_peers(tmp_path: Path) -> None:
    rows = read(tmp_path, made=Campaign(blocks=1))
    row, binding = rows.runs[0], rows.bindings[0]
    assert (row["peer"], row["inside"], row["placement"]) == (None, False, "same_core")
    assert {one["host"] for one in rows.containers} == {"lab-2"}
    assert (binding["sidecars"], binding["peer"], binding["peer_environment"]) == ("{}", None, None)


def test_no_snapshot_of_the_peer_is_null(tmp_path: Path) -> None:
    def lost(body: Body) -> None:
        body["after"]["lab-3"] = {"error": "ssh channel closed"}

    rows = read(tmp_path, lost)
    row = rows.runs[0]
    unknown = ("containers_cpu_s", "host_cpu_s", "unattributed_cpu_s", "steal_share")
    assert {row[name] for name in (*unknown, "throttled_count", "retransmits")} == {None}
    assert row["load_cpu_s"] == pytest.approx(0.05 * BETWEEN_S)
    assert row["warnings"] == "no_snapshot of lab-3 after the run"


def test_a_container_that_came_on_the_peer_leaves_unattributed_unknown(tmp_path: Path) -> None:
    def came(body: Body) -> None:
        body["after"]["lab-3"]["cgroups"]["f" * 64] = {"cpu_ns": 5}

    row = first(tmp_path, came)
    assert row["unattributed_cpu_s"] is None
    assert row["containers_cpu_s"] is not None


def test_boot_ids_that_are_not_known_are_no_machine(tmp_path: Path) -> None:
    def unknown(body: Body) -> None:
        for when in ("before", "after"):
            del body[when]["lab-3"]["boot_id"]

    def header(body: Body) -> None:
        body["hosts"]["lab-3"]["boot_id"] = None

    row = first(tmp_path, unknown, header)
    assert (row["placement"], row["host_cpu_s"], row["steal_share"]) == (None, None, None)


def throttle(body: Body) -> None:
    body["after"]["lab-3"]["cgroups"][APP]["throttled_count"] = 3


def stolen(body: Body) -> None:
    body["after"]["lab-3"]["cpu"]["1"][7] += 50


def reboot(body: Body) -> None:
    body["after"]["lab-3"]["boot_id"] = "another"


def step(body: Body) -> None:
    body["after"]["lab-3"]["wall_ns"] += 10**9


def restart(body: Body) -> None:
    body["containers_after"]["sidecar-server"]["started_at"] = "later"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (throttle, "throttled app of sl-b0001-tcp-loopback-a, 3 periods"),
        (stolen, "steal 11.2% of the CPUs"),
        (reboot, "rebooted lab-3"),
        (step, "clock_step +1.000 s on lab-3"),
        (restart, "restarted sidecar-server: started at later"),
    ],
)
def test_gates_look_at_both_hosts(tmp_path: Path, change: Change, reason: str) -> None:
    row = first(tmp_path, change, made=APART)
    assert (row["state"], row["reasons"]) == ("invalid", reason)


def test_steal_on_a_shared_cpu_counts_once(tmp_path: Path) -> None:
    def both(body: Body) -> None:
        for host in ("lab-2", "lab-3"):
            body["after"][host]["cpu"]["1"][7] += 5

    assert first(tmp_path, both)["steal_share"] == pytest.approx(5 / 203, abs=0.001)


def test_the_busier_host_is_the_one_that_counts_before_the_block(tmp_path: Path) -> None:
    def busy(header: Body) -> None:
        header["preflight"]["lab-3"]["foreign_cpu_share"] = 0.2
        header["preflight"]["lab-2"] = {}

    assert first(tmp_path, header=busy)["foreign_cpu_share"] == 0.2


@pytest.mark.parametrize("flag", ["emulated", "untested"])
@pytest.mark.parametrize("said", [True, None])
def test_what_one_end_is_the_row_is(tmp_path: Path, flag: str, said: bool | None) -> None:
    def change(header: Body) -> None:
        header["hosts"]["lab-3"][flag] = said

    assert first(tmp_path, header=change)[flag] is said


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda h: h.update(peer="lab-1"), "peer is 'lab-1'; the plan says 'lab-3'"),
        (lambda h: h.update(peer=None), "peer is None; the plan says 'lab-3'"),
        (lambda h: h["hosts"].pop("lab-3"), "'lab-3': expected an object, found nothing"),
        (
            lambda h: h["deployments"]["tcp-loopback/a"]["containers"]["app"].update(host="lab-9"),
            "container 'app' is on 'lab-9', no host of this topology",
        ),
        (
            lambda h: h["deployments"]["tcp-loopback/a"].update(sidecars={"x": 5}),
            "'x': expected an object, found int",
        ),
    ],
)
def test_headers_that_are_not_as_agreed(tmp_path: Path, change: Change, reason: str) -> None:
    assert refused(tmp_path, change) == reason


@pytest.mark.parametrize(
    ("hosts", "boots", "sets", "expected"),
    [
        (["a", "b"], {"a": "x", "b": "x"}, [{1}, {1}], "same_core"),
        (["a", "b"], {"a": "x", "b": "x"}, [{1}, {2}], "split"),
        (["a", "b"], {"a": "x", "b": "x"}, [{1, 2}, {1, 2}], "shared"),
        (["a", "b"], {"a": "x", "b": "y"}, [{1}, {1}], "hosts"),
        (["a", "b"], {"a": "x", "b": None}, [{1}, {1}], None),
        (["a", "a"], {"a": None, "b": None}, [{1}, {1}], "same_core"),
        (["a", "a"], {"a": "x", "b": "y"}, [{1}, {2}], "split"),
        (["a", "b"], {"a": "x", "b": "y"}, [{1}, set()], "hosts"),
    ],
)
def test_placement_of_a_path(
    hosts: list[str], boots: dict[str, Any], sets: list[set[int]], expected: str | None
) -> None:
    assert path_placement(hosts, boots, [frozenset(one) for one in sets]) == expected


FIXTURES = Path(__file__).parents[1] / "fixtures" / "parse"


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (
            "stream/unix_to.txt",
            {
                "requests": 306638,
                "throughput_rps": 307105.629,
                "transfer_bytes": 313997312,
                "latency_p50_s": None,
                "little_ratio": None,
            },
        ),
        ("sysbench/point_select.txt", {"transfer_bytes": None, "errors_ignored": 0}),
    ],
)
def test_tools_that_run_inside(tmp_path: Path, output: str, expected: dict[str, Any]) -> None:
    tool = output.partition("/")[0]
    made = replace(
        MADE,
        profile={"name": "standard", "warmup_s": 1.0, "measure_s": 1.0},
        load={**MADE.load, "tool": tool, "concurrency": 1 if tool == "stream" else 2},
    )

    def printed(body: Body) -> None:
        body["measure"].update(stdout=(FIXTURES / output).read_text(), files={}, cpu_user_s=None)

    rows = read(tmp_path, printed, made=made)
    row = rows.runs[0]
    assert (row["state"], row["reasons"], row["tool"]) == ("good", None, tool)
    assert {name: row[name] for name in expected} == expected
    assert row["load_cpu_s"] == pytest.approx(0.05 * BETWEEN_S)
    assert (row["run"] in rows.histograms.runs) == (tool == "sysbench")


def with_ipc(tmp_path: Path, output: str, exit_code: int = 0) -> BlockRows:
    made = replace(
        MADE,
        profile={"name": "standard", "warmup_s": 1.0, "measure_s": 0.02},
        load={**MADE.load, "tool": "ipc", "concurrency": 1},
    )

    def printed(body: Body) -> None:
        text = (FIXTURES / "ipc" / f"{output}.txt").read_text()
        body["measure"].update(stdout=text, files={}, cpu_user_s=None, exit_code=exit_code)

    return read(tmp_path, printed, made=made)


def test_a_run_of_several_cells_has_a_row_for_each(tmp_path: Path) -> None:
    rows = with_ipc(tmp_path, "posix_queue")
    row = rows.runs[0]
    assert (row["state"], row["reasons"], row["throughput_rps"]) == ("good", None, None)
    cells = [one for one in rows.cells if one["run"] == row["run"]]
    assert [(one["mode"], one["message_bytes"], one["state"]) for one in cells] == [
        ("latency", 64, "measured"),
        ("throughput", 4096, "measured"),
        ("throughput", 32768, "too_large"),
        ("connect", None, "not_applicable"),
    ]
    assert row["requests"] == sum(one["count"] or 0 for one in cells)
    samples = [one["count"] for one in rows.cell_histograms if one["run"] == row["run"]]
    assert sum(samples) == cells[0]["count"]
    for table in ("cells", "cell_histograms"):
        assert block_tables(rows)[table].num_rows == len(getattr(rows, table))


def test_a_run_of_messages_that_are_all_too_large_is_good_and_has_no_figure(tmp_path: Path) -> None:
    row = with_ipc(tmp_path, "too_large").runs[0]
    assert (row["state"], row["reasons"]) == ("good", None)
    assert row["requests"] is row["duration_s"] is None


def test_what_was_lost_is_in_the_dataset_and_does_not_shorten_the_run(tmp_path: Path) -> None:
    rows = with_ipc(tmp_path, "udp_lost")
    row = rows.runs[0]
    assert (row["state"], row["reasons"], row["duration_s"]) == ("good", None, None)
    cells = [one for one in rows.cells if one["run"] == row["run"]]
    assert [(one["count"], one["lost"]) for one in cells] == [(0, 1), (98853, 124155), (0, 192848)]
    assert block_tables(rows)["cells"].num_rows == len(rows.cells)


def test_a_forbidden_mechanism_is_invalid_with_its_reason_and_no_figure(tmp_path: Path) -> None:
    rows = with_ipc(tmp_path, "unavailable", exit_code=3)
    row = rows.runs[0]
    assert row["state"] == "invalid"
    assert row["reasons"].startswith("unavailable access vsock_loopback: ENOENT")
    assert "exit_code" not in row["reasons"]
    assert row["requests"] is None
    assert not [one for one in rows.cells if one["run"] == row["run"]]
