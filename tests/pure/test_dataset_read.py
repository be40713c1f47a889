"""A block file's rows: exact figures, nulls where nothing is known, refusals with their line."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from blockfiles import Body, Campaign, Change, container_id, seal

from collector.blockfile import BlockFileError
from collector.dataset.placement import placement
from collector.dataset.planned import parse_plan
from collector.dataset.read import BlockRows, read_block
from collector.dataset.tables import RowError, arrow_schema, block_tables
from collector.schema import TABLES

MADE = Campaign(blocks=1)


def read(tmp_path: Path, change: Change | None = None, header: Change | None = None) -> BlockRows:
    changes = {1: change} if change else {}
    path = MADE.write_block(tmp_path, 1, change=changes, change_header=header)
    return read_block(path, parse_plan(MADE.plan_bytes()))


def first(tmp_path: Path, change: Change | None = None, header: Change | None = None) -> Any:
    return read(tmp_path, change, header).runs[0]


def refused(tmp_path: Path, change: Change | None = None, header: Change | None = None) -> str:
    with pytest.raises(BlockFileError) as caught:
        read(tmp_path, change, header)
    return f"{Path(caught.value.path).name}:{caught.value.line}: {caught.value.reason}"


def test_identity_times_and_counters(tmp_path: Path) -> None:
    rows = read(tmp_path)
    row = rows.runs[0]
    assert {name: row[name] for name in ("state", "reasons", "warnings", "line", "block_file")} == {
        "state": "good", "reasons": None, "warnings": None, "line": 2,
        "block_file": "b0001-a1.jsonl",
    }  # fmt: skip
    assert row["path"] == "tcp-loopback"
    assert row["deployment"] == "sl-b0001-tcp-loopback-a"
    assert (row["placement"], row["arch"], row["emulated"]) == ("same_core", "x86_64", False)
    assert (row["warmup_s"], row["measured_s"], row["overhead_s"]) == (1.0, 2.1, 0.3)
    assert row["planned_s"] == 2.0
    assert row["foreign_cpu_share"] == 0.01
    assert row["load_cpu_s"] == pytest.approx(1.4)
    assert row["load_cpu_share"] == pytest.approx(1.4 / 2.1)
    # Snapshots lie 2.12 s apart; two containers at 0.4 of a CPU, four idle at 0.001.
    assert row["containers_cpu_s"] == pytest.approx(2 * 0.4 * 2.12)
    assert row["host_cpu_s"] == pytest.approx(2.12 * (1 / 2 + 1 / 3 + 1 / 20), abs=0.03)
    idle = 4 * 0.001 * 2.12
    rest = row["host_cpu_s"] - row["containers_cpu_s"] - idle
    assert row["unattributed_cpu_s"] == pytest.approx(rest)
    assert (row["steal_share"], row["throttled_count"], row["retransmits"]) == (0.0, 0, 2)
    assert row["little_ratio"] == pytest.approx(1.0, abs=0.01)
    assert row["block_sha256"] == rows.sha256


def test_a_hosts_figures_and_a_containers_processes(tmp_path: Path) -> None:
    proxy = container_id(1, 1, "tcp-loopback", "a", "proxy")

    def used(size: int, links: int) -> Body:
        return {
            "memory_bytes": size, "memory_anonymous_bytes": 40, "memory_cache_bytes": 30,
            "memory_kernel_bytes": None, "read_bytes": None, "written_bytes": 5,
            "links_bytes": links,
        }  # fmt: skip

    def process(name: str, cpu_ns: int) -> Body:
        return {"name": name, "cpu_ns": cpu_ns, "memory_anonymous_bytes": 1000}

    def change(body: Body) -> None:
        for when, host in (("before", used(90, 700)), ("after", used(95, 1000))):
            body[when]["lab-2"]["host"] = host
        before, after = (body[when]["lab-2"]["cgroups"][proxy] for when in ("before", "after"))
        before["processes"] = {"7.1": process("nginx", 5 * 10**8), "9.1": process("gone", 10**9)}
        # One more of the same name, which began meanwhile, with a number that another had.
        after["processes"] = {"7.1": process("nginx", 9 * 10**8), "9.8": process("nginx", 10**8)}
        after["net"] = {"namespace": 4026532301}

    rows = read(tmp_path, change)
    host, *_ = rows.hosts
    assert host == {
        "run": rows.runs[0]["run"], "attempt": 1, "host": "lab-2", "memory_bytes": 95,
        "memory_anonymous_bytes": 40, "memory_cache_bytes": 30, "memory_kernel_bytes": None,
        "read_bytes": None, "written_bytes": 0, "links_bytes": 300, "complete": True,
    }  # fmt: skip
    (told,) = (one for one in rows.containers if one["network"] == 4026532301)
    assert (told["container"], told["allocation"]) == ("proxy", None)
    assert json.loads(told["processes"]) == {
        "nginx": {"number": 2, "cpu_s": 0.5, "memory_anonymous_bytes": 2000}
    }

    def unseen(body: Body) -> None:
        del body["after"]["lab-2"]["host"]

    runs = [one["run"] for one in read(tmp_path / "before", unseen).hosts]
    assert runs == [one["run"] for one in rows.runs[1:]], "as it was before hosts were looked at"


def test_images_are_as_recorded_and_null_where_absent(tmp_path: Path) -> None:
    app = {
        "name": "app",
        "digest": "sha256:ab",
        "bytes": 48_900_000,
        "layers": 4,
        "arch": "aarch64",
    }
    made = Campaign(blocks=1, images={"proxy": {"arch": "aarch64", "more": 1}, "app": app})
    path = made.write_block(tmp_path / "said", 1)
    bound = read_block(path, parse_plan(made.plan_bytes())).bindings
    unsaid = {"name": None, "digest": None, "bytes": None, "layers": None, "arch": "aarch64"}
    assert [json.loads(row["images"]) for row in bound] == [{"app": app, "proxy": unsaid}] * 3
    assert [row["images"] for row in read(tmp_path / "before").bindings] == [None] * 3


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        ([], "'images': expected an object, found list"),
        ({"app": 1}, "'app': expected an object, found int"),
        ({"app": {"bytes": "12 MB"}}, "'bytes': expected a whole number, found str"),
        ({"app": {"layers": 1.5}}, "'layers': expected a whole number, found float"),
    ],
)
def test_images_that_are_none_are_refused(tmp_path: Path, images: Any, reason: str) -> None:
    def wrong(header: Body) -> None:
        header["deployments"]["sharedvolume/a"]["images"] = images

    assert refused(tmp_path, header=wrong) == f"b0001-a1.jsonl:1: {reason}"


def test_rows_have_exactly_the_schema(tmp_path: Path) -> None:
    rows = read(tmp_path)
    for table in ("runs", "containers", "bindings"):
        for row in getattr(rows, table):
            assert set(row) == {column.name for column in TABLES[table]}
    for table, made in block_tables(rows).items():
        assert made.schema.names == arrow_schema(table).names
    assert len(rows.runs) == 3
    assert len(rows.containers) == 3 * 6
    assert sum(row["measured"] for row in rows.containers) == 3 * 2


def test_histogram_rows_are_the_file(tmp_path: Path) -> None:
    rows = read(tmp_path)
    text = MADE.run_body(1, 1)["measure"]["files"]["histogram"]["text"]
    length = rows.histograms.lengths[0]
    pairs = zip(rows.histograms.values_us[:length], rows.histograms.counts[:length], strict=True)
    assert "".join(f"{value}\t{count}\n" for value, count in pairs) == text


def no_snapshot(when: str) -> Change:
    def change(body: Body) -> None:
        body[when]["lab-2"] = {"error": "ssh channel closed"}

    return change


@pytest.mark.parametrize("when", ["before", "after"])
def test_missing_snapshot_is_null_not_zero(tmp_path: Path, when: str) -> None:
    rows = read(tmp_path, no_snapshot(when))
    row = rows.runs[0]
    unknown = ("containers_cpu_s", "host_cpu_s", "unattributed_cpu_s", "steal_share")
    unknown += ("throttled_count", "listen_overflows", "retransmits")
    assert {row[name] for name in unknown} == {None}
    assert row["state"] == "good"
    assert row["warnings"] == f"no_snapshot of lab-2 {when} the run"
    mine = [one for one in rows.containers if one["run"] == row["run"]]
    assert {one["cpu_s"] for one in mine} == {None}


def test_no_snapshots_at_all(tmp_path: Path) -> None:
    def change(body: Body) -> None:
        del body["before"], body["after"]
        body["containers_after"] = None

    row = first(tmp_path, change)
    assert row["host_cpu_s"] is None
    assert "containers_unchecked" in row["warnings"]


def test_null_counter_is_null(tmp_path: Path) -> None:
    def change(body: Body) -> None:
        body["after"]["lab-2"]["net"] = {"RetransSegs": None}
        body["after"]["lab-2"]["clock_ticks"] = None

    row = first(tmp_path, change)
    assert (row["retransmits"], row["listen_overflows"], row["host_cpu_s"]) == (None, None, None)
    assert row["containers_cpu_s"] is not None


def test_container_that_went_leaves_unattributed_unknown(tmp_path: Path) -> None:
    def change(body: Body) -> None:
        body["after"]["lab-2"]["cgroups"].pop(container_id(1, 1, "tcp-loopback", "b", "app"))

    row = first(tmp_path, change)
    assert row["unattributed_cpu_s"] is None
    assert row["containers_cpu_s"] is not None


def test_unattributed_keeps_its_sign(tmp_path: Path) -> None:
    def change(body: Body) -> None:
        body["after"]["lab-2"]["cpu"] = body["before"]["lab-2"]["cpu"]

    row = first(tmp_path, change)
    assert row["host_cpu_s"] == 0.0
    assert row["unattributed_cpu_s"] < 0
    assert row["steal_share"] is None  # no tick passed: no share


def test_counter_that_went_back_is_unknown(tmp_path: Path) -> None:
    def change(body: Body) -> None:
        body["before"]["lab-2"]["net"]["RetransSegs"] = 10**6

    assert first(tmp_path, change)["retransmits"] is None


def test_tcp_in_the_deployments_own_network_counts_too(tmp_path: Path) -> None:
    """Its tasks share a namespace, and an idle deployment's is another's."""

    def change(body: Body) -> None:
        def opened(when: str, copy: str, task: str, count: int) -> None:
            name = container_id(1, 1, "tcp-loopback", copy, task)
            body[when]["lab-2"]["cgroups"][name]["net"] = {"ListenOverflows": count}

        for task, after in (("proxy", 17), ("app", 18)):
            opened("before", "a", task, 10)
            opened("after", "a", task, after)
        opened("before", "b", "app", 0)
        opened("after", "b", "app", 99)
        body["after"]["lab-2"]["net"]["ListenOverflows"] += 3

    assert first(tmp_path, change)["listen_overflows"] == 3 + 8
    assert first(tmp_path / "old", None)["listen_overflows"] == 0


def test_soft_interrupts_are_a_part_of_the_hosts_cpu(tmp_path: Path) -> None:
    def change(body: Body) -> None:
        body["after"]["lab-2"]["cpu"]["1"][6] += 20

    row, quiet = first(tmp_path, change), first(tmp_path / "quiet")
    assert row["softirq_cpu_s"] - quiet["softirq_cpu_s"] == pytest.approx(0.2)
    assert row["host_cpu_s"] - quiet["host_cpu_s"] == pytest.approx(0.2)


def test_generator_cores(tmp_path: Path) -> None:
    def more(header: Body) -> None:
        header["load"] = {**header["load"], "threads": 4}
        header["hosts"]["lab-1"]["cpus"] = [0, 1]

    def unknown(header: Body) -> None:
        header["hosts"]["lab-1"]["cpus"] = []

    assert first(tmp_path / "a", header=more)["load_cpu_share"] == pytest.approx(1.4 / 4.2)
    assert first(tmp_path / "b", header=unknown)["load_cpu_share"] is None


@pytest.mark.parametrize(
    ("sets", "expected"),
    [
        ([{1}, {1}], "same_core"),
        ([{1}], "same_core"),
        ([{1}, {2}], "split"),
        ([{1}, {2, 3}, {4}], "split"),
        ([{1, 2}, {1, 2}], "shared"),
        ([{1}, {1, 2}], "shared"),
        ([{1, 2}], "shared"),
        ([{1}, set()], None),
        ([], None),
    ],
)
def test_placement(sets: list[set[int]], expected: str | None) -> None:
    assert placement([frozenset(one) for one in sets]) == expected


def test_refused_output_is_a_row_without_figures(tmp_path: Path) -> None:
    def change(body: Body) -> None:
        body["measure"]["stdout"] = ""

    rows = read(tmp_path, change)
    row = rows.runs[0]
    assert row["state"] == "quarantined"
    assert row["reasons"].startswith("truncated")
    assert (row["requests"], row["throughput_rps"], row["tool"]) == (None, None, None)
    assert row["run"] not in rows.histograms.runs
    assert [one["state"] for one in rows.runs[1:]] == ["good", "good"]


def test_every_cut_of_the_output_is_quarantined(tmp_path: Path) -> None:
    whole = Campaign(blocks=1, values=20).run_body(1, 1)["measure"]["stdout"]
    cuts = Campaign(blocks=1, values=20, rounds=len(whole) // 3 + 1)

    header = cuts.header(1)
    bodies = cuts.run_bodies(1)
    for length, body in enumerate(bodies):
        base = cuts.run_body(1, body["position"])["measure"]["stdout"]
        body["measure"]["stdout"] = base[: min(length, len(base) - 2)]
    path = seal(cuts.write_plan(tmp_path), "b0001-a1", header, bodies)
    rows = read_block(path, parse_plan(cuts.plan_bytes()))
    assert {row["state"] for row in rows.runs} == {"quarantined"}
    assert {row["throughput_rps"] for row in rows.runs} == {None}


def test_unknown_tool(tmp_path: Path) -> None:
    def change(header: Body) -> None:
        header["load"] = {**header["load"], "tool": "hey"}

    row = first(tmp_path, header=change)
    assert row["state"] == "quarantined"
    known = "ab, fortio, h2load, h2load-inside, ipc, peer, serialisation, stream, sysbench, wrk"
    assert row["reasons"].startswith(f"unknown_tool 'hey'; known: {known}")


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    def change(body: Body) -> None:
        text = body["measure"].pop("stdout").encode()
        body["measure"]["stdout_b64"] = base64.b64encode(b"\xff\n" + text).decode()
        rows = body["measure"]["files"]["histogram"].pop("text").encode()
        body["measure"]["files"]["histogram"]["b64"] = base64.b64encode(rows).decode()

    # Whether the tool's parser takes such text is its own affair; the bytes have to reach it.
    assert first(tmp_path, change)["state"] in ("good", "quarantined")


def blob(folder: Path, data: bytes) -> Body:
    sha256 = hashlib.sha256(data).hexdigest()
    name = f"b0001-a1.{sha256}.blob"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    return {"sha256": sha256, "bytes": len(data), "name": name}


def test_blob_beside_the_block(tmp_path: Path) -> None:
    text = MADE.run_body(1, 1)["measure"]["files"]["histogram"]["text"]
    entry = blob(MADE.folder(tmp_path) / "blocks", text.encode())

    def change(body: Body) -> None:
        body["measure"]["files"]["histogram"] = entry

    assert first(tmp_path, change)["state"] == "good"
    path = MADE.folder(tmp_path) / "blocks" / "b0001-a1.jsonl"
    beside = MADE.folder(tmp_path) / "blocks" / entry["name"]
    planned = parse_plan(MADE.plan_bytes())
    beside.write_bytes(beside.read_bytes()[:-1] + b" ")
    assert read_block(path, planned).runs[0]["reasons"].startswith("blob b0001-a1.")
    beside.unlink()
    row = read_block(path, planned).runs[0]
    assert row["state"] == "quarantined"
    assert "No such file" in row["reasons"]
    beside.symlink_to("/etc/hostname")
    assert read_block(path, planned).runs[0]["state"] == "quarantined"


def test_blob_name_is_confined(tmp_path: Path) -> None:
    def change(body: Body) -> None:
        entry = {"sha256": "0" * 64, "bytes": 1, "name": f"../b0001-a1.{'0' * 64}.blob"}
        body["measure"]["files"]["histogram"] = entry

    assert refused(tmp_path, change).startswith("b0001-a1.jsonl:2: 'name': expected b0001-a1.")


def put(*path: Any) -> Change:
    *keys, last, value = path

    def change(body: Body) -> None:
        for key in keys:
            body = body[key]
        body[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (put("measure", None), "b0001-a1.jsonl:2: 'measure': expected an object, found nothing"),
        (put("measure", "exit_code", "0"), ":2: 'exit_code': expected a whole number, found str"),
        (put("measure", "stdout", 5), ":2: 'stdout': expected a string, found int"),
        (put("measure", "cpu_user_s", True), ":2: 'cpu_user_s': expected a number, found bool"),
        (put("measure", "started_wall_ns", 2**63), "does not fit 64 bits"),
        (put("measure", "started_wall_ns", 2**70), "expected a whole number, found float"),
        (put("run", "ffff"), ":2: run 'ffff' is not one of block 1 of the plan"),
        (put("arm", "other"), "the plan says (1, 'tcp-loopback', 'a')"),
        (put("run", MADE.run_id(1, 2)), "the plan says (2, 'sharedvolume', 'a')"),
        (put("after", "lab-2", "cpu", "1", [1, 2]), "'cpu': expected 8 whole numbers for CPU 1"),
        (put("after", "lab-2", "cgroups", []), "'cgroups': expected an object, found list"),
    ],
)
def test_bodies_that_are_not_as_agreed(tmp_path: Path, change: Change, expected: str) -> None:
    assert expected in refused(tmp_path, change)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (put("campaign", "other"), ":1: belongs to campaign 'other', not"),
        (put("plan_sha256", "0"), ":1: was made from another plan"),
        (put("block", 9), ":1: block 9 is not in the plan"),
        (put("host", "lab-1"), ":1: host is 'lab-1'; the plan says 'lab-2'"),
        (put("attempt", 0), ":1: 'attempt': expected 1 or more, found 0"),
        (put("hosts", {}), ":1: 'lab-2': expected an object, found nothing"),
        (put("deployments", {}), ":2: 'deployments': expected one for 'tcp-loopback/a'"),
        (put("warnings", "busy"), "'warnings': expected a list of strings, found str"),
    ],
)
def test_headers_that_are_not_as_agreed(tmp_path: Path, change: Change, expected: str) -> None:
    assert expected in refused(tmp_path, header=change)


def test_run_twice_in_a_block(tmp_path: Path) -> None:
    body = MADE.run_body(1, 1)
    path = seal(MADE.write_plan(tmp_path), "b0001-a1", MADE.header(1), [body, body])
    with pytest.raises(BlockFileError, match=r"3: run '\w+' stands twice in the block"):
        read_block(path, parse_plan(MADE.plan_bytes()))


def test_value_that_no_column_can_hold(tmp_path: Path) -> None:
    rows = read(tmp_path)
    rows.runs[1]["requests"] = 2**64
    with pytest.raises(RowError) as caught:
        block_tables(rows)
    assert (caught.value.row, caught.value.column) == (1, "requests")


def test_conditions_and_warnings_reach_the_row(tmp_path: Path) -> None:
    def change(header: Body) -> None:
        header["conditions"] = ["loss 5 %", {"delay_ms": 10}]
        header["warnings"] = ["governor is powersave"]
        header["preflight"]["lab-2"]["foreign_cpu_share"] = 0.2

    row = first(tmp_path, put("warmup", "exit_code", 1), change)
    assert row["conditions"] == 'loss 5 %; {"delay_ms":10}'
    assert row["warnings"] == (
        "governor is powersave; warmup ended with exit_code 1; "
        "foreign_cpu 20.0% used outside the lab before the block"
    )
    assert row["state"] == "good"


def test_run_without_warm_up(tmp_path: Path) -> None:
    row = first(tmp_path, put("warmup", None))
    assert row["warmup_s"] is None
    assert row["overhead_s"] == pytest.approx(1.3)
