"""The runner and observer, as the program that is pushed to hosts, on pipes instead of ssh."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from collector.blockfile import read_lines
from collector.campaign.errors import BlockFailed, NoRoom
from collector.campaign.program import pack_runner
from collector.campaign.remote import Remote
from collector.runner import __main__ as runner
from collector.runner import cgroup, counters, kernel, probe
from collector.runner.__main__ import serve
from collector.runner.link import Lapsed, Link

SHELL = ["sh", "-c"]


class Program:
    """One runner, and what a controller does with it."""

    def __init__(self, home: Path) -> None:
        data, self.sha256 = pack_runner()
        path = home / "runner.pyz"
        self.blocks = home / ".socklab" / "blocks" / "web-x"
        path.write_bytes(data)
        self.process = subprocess.Popen(
            [sys.executable, "-I", str(path)],
            env={"HOME": str(home), "PATH": os.environ["PATH"]},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def post(self, **message: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        message: dict[str, Any] = json.loads(self.process.stdout.readline())
        return message

    def ask(self, **message: Any) -> dict[str, Any]:
        self.post(**message)
        return self.receive()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    one = Program(tmp_path)
    yield one
    one.end()


def order(command: str, **more: Any) -> dict[str, Any]:
    return {"argv": [*SHELL, command], "env": {}, "files": {}, "limit_s": 20, **more}


def block(command: str, **more: Any) -> dict[str, Any]:
    run = {"run": "ab" * 8, "position": 1, "arm": "one", "copy": "a"}
    run |= {"warmup": order("true"), "measure": order(command, **more)}
    header = {"campaign": "web-x", "block": 1, "attempt": 1}
    return {"do": "block", "name": "b0001-a1", "header": header, "runs": [run]}


def ready(program: Program) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    program.ask(do="hello", kind="virtual", cpus=cpus)
    assert program.ask(do="lock", campaign="web-x")["held_by"] is None


def drive(program: Program, request: dict[str, Any]) -> dict[str, Any]:
    """Answer the block's questions until it is sealed or failed."""
    program.post(**request)
    while True:
        message = program.receive()
        if message["event"] == "snapshot":
            program.post(do="snapshots", run=message["run"], snapshots={"lab-1": {"n": 1}})
        elif message["event"] in ("answer", "failed"):
            return message


def test_the_same_sources_give_the_same_program() -> None:
    assert pack_runner() == pack_runner()


def test_hello_says_who_it_is_and_keeps_to_its_cpus(program: Program) -> None:
    cpu = min(os.sched_getaffinity(0))
    answer = program.ask(do="hello", kind="virtual", cpus=[cpu])
    assert answer["sha256"] == program.sha256
    assert answer["cpus"] == [cpu]
    assert os.sched_getaffinity(program.process.pid) == {cpu}
    assert answer["environment"]["kernel"] == os.uname().release


def test_a_block_is_sealed_with_everything_a_tool_said(program: Program, tmp_path: Path) -> None:
    ready(program)
    command = "echo out; echo err >&2; printf '7\\t1\\n' > {dir}/h.tsv; echo {lib}"
    answer = drive(program, block(command, files={"histogram": "h.tsv", "absent": "none"}))
    path = program.blocks / answer["sealed"]["name"]
    assert path.stat().st_mode & 0o777 == 0o440
    kinds = [body["type"] for _, body in read_lines(path)]
    assert kinds == ["header", "run", "seal"]
    (run,) = [body for _, body in read_lines(path) if body["type"] == "run"]
    measure = run["measure"]
    assert measure["exit_code"] == 0
    assert measure["stdout"] == f"out\n{tmp_path}/.socklab/lib\n"
    assert measure["stderr"] == "err\n"
    assert measure["files"] == {"histogram": {"text": "7\t1\n"}}
    assert run["before"] == {"lab-1": {"n": 1}}
    assert run["finished_monotonic_ns"] > run["began_monotonic_ns"]
    assert (tmp_path / ".socklab/lib/wrk_histogram.lua").is_file()


def test_a_sealed_block_is_held_until_it_is_forgotten(program: Program) -> None:
    ready(program)
    assert program.ask(do="held", campaign="web-x")["held"] == {}
    drive(program, block("head -c 2000000 /dev/zero > {dir}/big", files={"big": "big"}))
    (blob,) = (one.name for one in program.blocks.glob("*.blob"))
    (program.blocks / "b0002-a1.part").touch()
    assert program.ask(do="held", campaign="web-x")["held"] == {"b0001-a1": [blob]}
    assert program.ask(do="held", campaign="web-y")["held"] == {}
    program.ask(do="forget", campaign="web-x", name="b0001-a1")
    assert program.ask(do="held", campaign="web-x")["held"] == {}
    assert [one.name for one in program.blocks.iterdir()] == ["b0002-a1.part"]


def test_bytes_that_are_no_text_and_signals_are_kept(program: Program) -> None:
    ready(program)
    answer = drive(program, block("printf '\\377'; kill -KILL $$"))
    path = program.blocks / answer["sealed"]["name"]
    (run,) = [body for _, body in read_lines(path) if body["type"] == "run"]
    assert run["measure"]["exit_code"] == -signal.SIGKILL
    assert run["measure"]["stdout_b64"] == "/w=="
    assert "stdout" not in run["measure"]


def test_a_large_file_lies_beside_the_block_under_its_hash(program: Program) -> None:
    ready(program)
    command = "head -c 2000000 /dev/zero > {dir}/big"
    answer = drive(program, block(command, files={"big": "big"}))
    (blob,) = answer["blobs"]
    assert (program.blocks / blob).stat().st_size == 2_000_000


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("sleep 600", -signal.SIGTERM),
        ("trap '' TERM; sleep 600", -signal.SIGKILL),
        ("trap 'exit 0' TERM; sleep 600 & wait", -signal.SIGTERM),
    ],
)
def test_a_tool_that_never_ends_is_ended_at_its_limit(
    program: Program, command: str, code: int
) -> None:
    ready(program)
    answer = drive(program, block(command, limit_s=0.5))
    path = program.blocks / answer["sealed"]["name"]
    (run,) = [body for _, body in read_lines(path) if body["type"] == "run"]
    assert run["measure"]["exit_code"] == code


def running(marker: str) -> bool:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if marker in path.read_bytes().decode("utf-8", "replace"):
                return True
        except OSError:
            continue
    return False


@pytest.mark.parametrize("how", ["channel", "kill"])
def test_the_tool_dies_with_its_runner(program: Program, how: str) -> None:
    ready(program)
    marker = f"600.{os.getpid()}{len(how)}"
    program.post(**block(f"exec sleep {marker}", limit_s=600))
    while program.receive()["event"] != "snapshot":
        pass
    program.post(do="snapshots", run="ab" * 8, snapshots={})
    deadline = time.monotonic() + 10
    while not running(marker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert running(marker)
    if how == "channel":
        assert program.process.stdin is not None
        program.process.stdin.close()
        assert program.process.wait(10) == 3
    else:
        program.process.kill()
        program.process.wait(10)
    while running(marker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not running(marker)


def test_a_tool_removes_what_it_made_when_the_controller_goes(
    program: Program, tmp_path: Path
) -> None:
    """As ipc does with its queues and shared memory, which are nobody's when it is killed."""
    ready(program)
    made = tmp_path / "made"
    tidy = f"trap 'sleep 0.2; rm {made}; exit' TERM; touch {made}; sleep 600 & wait"
    program.post(**block(tidy, limit_s=600))
    while program.receive()["event"] != "snapshot":
        pass
    program.post(do="snapshots", run="ab" * 8, snapshots={})
    deadline = time.monotonic() + 10
    while not made.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert made.exists()
    assert program.process.stdin is not None
    program.process.stdin.close()
    assert program.process.wait(10) == 3
    assert not made.exists()


def test_what_an_arm_grew_to_is_in_the_block(program: Program) -> None:
    ready(program)
    program.post(**block("true"))
    grown = {"group": "application", "from": 1, "to": 2, "running_s": 1.5, "served_s": None}
    while (message := program.receive())["event"] != "answer":
        if message["event"] == "snapshot":
            more = {"scaled": grown} if message["when"] == "after" else {}
            program.post(do="snapshots", run=message["run"], snapshots={"lab-1": {"n": 1}, **more})
    (run,) = [
        body
        for _, body in read_lines(program.blocks / message["sealed"]["name"])
        if body["type"] == "run"
    ]
    assert run["scaled"] == grown
    assert run["after"] == {"lab-1": {"n": 1}}, "a host of that name there is not"


def test_a_tool_with_a_warm_up_of_its_own_gets_no_run_for_one(program: Program) -> None:
    ready(program)
    request = block("echo measured")
    del request["runs"][0]["warmup"]
    answer = drive(program, request)
    _, (_, run), _ = read_lines(program.blocks / answer["sealed"]["name"])
    assert run["measure"]["stdout"] == "measured\n"
    assert "warmup" not in run


@pytest.mark.parametrize("refused", [False, True])
def test_system_calls_are_counted_on_a_run_of_their_own(program: Program, refused: bool) -> None:
    ready(program)
    request = block("echo measured")
    request["runs"][0]["traced"] = order("echo traced")
    program.post(**request)
    said = {
        "begin": {"error": "ptrace"} if refused else {},
        "end": {"calls": {"proxy": {"read": 3}}},
    }
    asked = []
    while (message := program.receive())["event"] != "answer":
        if message["event"] == "snapshot":
            asked.append(message["when"])
            program.post(do="snapshots", run=message["run"], snapshots={})
        elif message["event"] == "trace":
            asked.append(f"trace {message['when']}")
            program.post(do="traced", run=message["run"], said=said[message["when"]])
    _, (_, run), _ = read_lines(program.blocks / message["sealed"]["name"])
    assert run["measure"]["stdout"] == "measured\n"
    if refused:
        assert asked == ["before", "after", "trace begin"]
        assert run["traced"] == {"error": "ptrace"}
    else:
        assert asked == ["before", "after", "trace begin", "trace end"]
        assert run["traced"]["measure"]["stdout"] == "traced\n"
        assert run["traced"]["calls"] == {"proxy": {"read": 3}}
        began = run["traced"]["measure"]["started_monotonic_ns"]
        assert began > run["finished_monotonic_ns"], "a part of nothing that is timed"


def test_one_generator_on_a_host(program: Program, tmp_path: Path) -> None:
    ready(program)
    other = Program(tmp_path)
    try:
        held = other.ask(do="lock", campaign="web-y")["held_by"]
        assert json.loads(held)["pid"] == program.process.pid
        assert json.loads(held)["campaign"] == "web-x"
        program.end()
        assert other.ask(do="lock", campaign="web-y")["held_by"] is None
    finally:
        other.end()


def test_a_lease_that_was_renewed_unread_still_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    source, controller = os.pipe()
    link = Link(source, 1)
    now = time.monotonic()
    os.write(controller, b'{"do": "lease"}\n{"do": "snapshot"}\n')
    monkeypatch.setattr(time, "monotonic", lambda: now + 60.0)
    assert link.receive() == {"do": "snapshot"}
    monkeypatch.setattr(time, "monotonic", lambda: now + 121.0)
    with pytest.raises(Lapsed, match="no word from the controller"):
        link.receive()
    os.close(controller)
    with pytest.raises(Lapsed, match="closed the channel"):
        link.receive()


def test_a_block_without_the_lock_is_refused(program: Program) -> None:
    answer = program.ask(**block("true"))
    assert answer["event"] == "failed"
    assert "lock" in answer["reason"]


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True),
        (OSError(errno.EIO, "Input/output error"), False),
        (ValueError("no errno at all"), False),
    ],
)
def test_a_full_disk_is_told_from_other_failures(error: Exception, full: bool) -> None:
    sent: list[dict[str, Any]] = []

    class Host:
        def __getattr__(self, name: str) -> Any:
            def fail(order: object) -> None:
                raise error

            return fail

    class Channel:
        def receive(self) -> dict[str, str]:
            if sent:
                raise Lapsed("enough")
            return {"do": "block"}

        def send(self, answer: dict[str, Any]) -> None:
            sent.append(answer)

    with pytest.raises(Lapsed):
        serve(Channel(), Host())  # type: ignore[arg-type]
    reason = f"{type(error).__name__}: {error}"
    assert sent == [{"event": "failed", "reason": reason, "full": full}]
    remote = Remote.__new__(Remote)
    remote.host = SimpleNamespace(name="lab-1")
    remote._pending = json.dumps(sent[0]).encode() + b"\n"
    remote._channel = SimpleNamespace(settimeout=lambda _: None)
    with pytest.raises(BlockFailed, match=f"lab-1: {re.escape(reason)}") as raised:
        remote.receive(1.0)
    assert (raised.type is NoRoom) is full


def test_counters_of_this_machine() -> None:
    cpus = sorted(os.sched_getaffinity(0))
    folders = cgroup.cgroup_folders(os.getpid())
    taken = counters.snapshot("bare-metal", cpus, {"me": folders})
    assert set(taken["cpu"]) == {str(cpu) for cpu in cpus}
    assert all(len(ticks) == 8 for ticks in taken["cpu"].values())
    assert taken["cgroups"]["me"].keys() >= {"cpu_ns", "throttled_count", "memory_bytes"}
    assert taken["net"]["RetransSegs"] >= 0
    assert taken["net"].keys() >= {"received_bytes", "sent_bytes", "loopback_bytes"}
    assert taken["cgroups"]["me"]["net"] == {}, "the host's, and counted there"
    gone = counters.snapshot("bare-metal", cpus, {"gone": cgroup.cgroup_folders(2**22 + 1)})
    assert gone["cgroups"]["gone"]["net"] == {}


def test_counters_of_cgroup_v2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
    one = tmp_path / "one"
    one.mkdir()
    stat = "usage_usec 5\nuser_usec 3\nsystem_usec 2\nnr_throttled 4\nthrottled_usec 6\n"
    (one / "cpu.stat").write_text(stat)
    (one / "memory.current").write_text("77\n")
    (one / "memory.stat").write_text("anon 66\nfile 11\nkernel 9\nsock 2\n")
    (one / "memory.events").write_text("low 0\nhigh 0\nmax 3\noom 0\n")
    (one / "io.stat").write_text(
        "8:0 rbytes=100 wbytes=40 rios=2 wios=1 dbytes=0 dios=0\n8:16 rbytes=7 wbytes=2\n"
        "253:0 rbytes=100 wbytes=40\n7:1 rbytes=9 wbytes=0\n8:32 \n"
    )
    (tmp_path / "block/253:0/slaves/sda").mkdir(parents=True)
    monkeypatch.setattr(cgroup, "BLOCKS", tmp_path / "block")
    monkeypatch.setattr(kernel, "CGROUP", tmp_path)
    assert cgroup.read_cgroup({"unified": str(one)}) == {
        "cpu_ns": 5000,
        "cpu_user_ns": 3000,
        "cpu_system_ns": 2000,
        "throttled_count": 4,
        "throttled_ns": 6000,
        "context_switches": None,
        "memory_bytes": 77,
        "memory_peak_bytes": None,
        "memory_anonymous_bytes": 66,
        "memory_cache_bytes": 11,
        "memory_kernel_bytes": 9,
        "memory_limit_hits": 3,
        "read_bytes": 107,
        "written_bytes": 42,
    }


def test_counters_of_cgroup_v1_whose_controllers_are_mounted_each_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = tmp_path / "proc" / "7"
    process.mkdir(parents=True)
    (process / "cgroup").write_text(
        "9:name=systemd:/one\n5:blkio:/one\n4:memory:/one\n2:cpuacct:/one\n1:cpu:/one\n"
    )
    for controller in ("blkio", "cpu", "cpuacct", "memory"):
        (tmp_path / controller / "one").mkdir(parents=True)
    (tmp_path / "cpuacct/one/cpuacct.usage").write_text("5000\n")
    (tmp_path / "cpuacct/one/cpu.stat").write_text("")
    (tmp_path / "memory/one/memory.failcnt").write_text("6\n")
    (tmp_path / "memory/one/memory.memsw.failcnt").write_text("3\n")
    (tmp_path / "memory/one/memory.kmem.usage_in_bytes").write_text("8192\n")
    (tmp_path / "blkio/one/blkio.throttle.io_service_bytes_recursive").write_text(
        "8:0 Read 30\n8:0 Write 4\n8:0 Sync 30\n8:0 Total 34\n8:16 Read 1\n8:16 Write 0\n"
        "8:16 Total 1\nTotal 35\n"
    )
    (tmp_path / "cpu/one/cpu.stat").write_text(
        "nr_periods 9\nnr_throttled 4\nthrottled_time 6000\n"
    )
    monkeypatch.setattr(kernel, "CGROUP", tmp_path)
    monkeypatch.setattr(kernel, "PROC", tmp_path / "proc")
    found = cgroup.read_cgroup(cgroup.cgroup_folders(7))
    assert (found["cpu_ns"], found["throttled_count"], found["throttled_ns"]) == (5000, 4, 6000)
    assert (found["memory_limit_hits"], found["memory_kernel_bytes"]) == (9, 8192)
    assert (found["read_bytes"], found["written_bytes"]) == (31, 4)
    # Linux 6.18, whatever was read and written.
    (tmp_path / "blkio/one/blkio.throttle.io_service_bytes_recursive").write_text("Total 0\n")
    found = cgroup.read_cgroup(cgroup.cgroup_folders(7))
    assert (found["read_bytes"], found["written_bytes"]) == (None, None)


def test_what_a_container_sends_is_its_own_networks_and_never_the_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = "Inter-|   Receive\n face |bytes packets\n"

    def device(name: str, received: int, sent: int) -> str:
        return f"{name:>6}: {received} 1 0 0 0 0 0 0 {sent} 1 0 0 0 0 0 0\n"

    own = device("lo", 4, 5) + device("eth0", 30, 40)
    for process, devices in (("net", own), ("8/net", own), ("9/net", device("lo", 7, 6))):
        (tmp_path / process).mkdir(parents=True)
        (tmp_path / process / "dev").write_text(head + devices)
    (tmp_path / "7/net").mkdir(parents=True)
    (tmp_path / "7/net/dev").hardlink_to(tmp_path / "net/dev")  # in the host's namespace
    monkeypatch.setattr(kernel, "PROC", tmp_path)
    folders = {name: {"net": str(tmp_path / name / "net")} for name in ("7", "8", "9", "gone")}
    taken = counters.snapshot("bare-metal", [], folders)["cgroups"]
    found = {name: one["net"] for name, one in taken.items()}
    spaces = [found[name].pop("namespace") for name in ("8", "9")]
    assert len({*spaces, (tmp_path / "net/dev").stat().st_ino}) == 3
    assert found["8"] == {"loopback_bytes": 5, "received_bytes": 30, "sent_bytes": 40}
    assert found["9"] == {"loopback_bytes": 6, "received_bytes": 0, "sent_bytes": 0}
    assert found["7"] == found["gone"] == {}


def test_processes_of_a_container_are_told_by_pid_and_start_and_may_have_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pid, name, ticks in (("7", "nginx", (20, 5)), ("8", "a) (b\nc", (1, 0))):
        (tmp_path / pid).mkdir()
        after = ["S", *["0"] * 10, *map(str, ticks), *["0"] * 6, "4711", "0"]
        (tmp_path / pid / "stat").write_text(f"{pid} ({name}) {' '.join(after)}\n")
        (tmp_path / pid / "statm").write_text("90 30 10 1 0 9 0\n")
    (tmp_path / "cgroup.procs").write_text("7\n8\n9\n")  # 9 ended between the two looks
    monkeypatch.setattr(kernel, "PROC", tmp_path)
    tick_ns, page = 10**9 // os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    assert cgroup.read_processes(dict.fromkeys(("cpuacct", "unified"), str(tmp_path))) == {
        "7.4711": {"name": "nginx", "cpu_ns": 25 * tick_ns, "memory_anonymous_bytes": 20 * page},
        "8.4711": {"name": "a) (b\nc", "cpu_ns": tick_ns, "memory_anonymous_bytes": 20 * page},
    }
    assert cgroup.read_processes({}) == {}


def test_a_container_runs_while_its_first_process_is_the_one_that_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = subprocess.Popen(["sleep", "60"])
    listed = [
        {"id": "mine", "allocation": "a", "pid": os.getpid()},
        {"id": "other", "allocation": "a", "pid": first.pid},
        {"id": "none", "allocation": "a", "pid": 0},
    ]
    monkeypatch.setattr(runner, "_list_containers", lambda: [dict(one) for one in listed])
    host = runner.Host(Mock(), tmp_path)
    try:
        host.containers({"allocations": ["a"]})
        assert host.snapshot({})["running"] == ["mine", "other"]
    finally:
        first.kill()
        os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)  # it is dead, and still listed
        dead = host.snapshot({})["running"]
        first.wait()
    assert dead == host.snapshot({})["running"] == ["mine"]
    again = (os.getpid(), "4711")  # another process, to which the number was given
    monkeypatch.setattr(host, "_firsts", {"mine": again})
    assert host.snapshot({})["running"] == []


def test_a_machine_says_what_it_uses_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "meminfo").write_text(
        "MemTotal: 1000 kB\nMemFree: 300 kB\nBuffers: 20 kB\nCached: 180 kB\nAnonPages: 400 kB\n"
        "KernelStack: 3 kB\nPageTables: 4 kB\nSlab: 50 kB\nHugePages_Total: 0\n"
    )
    (tmp_path / "diskstats").write_text(
        "8 0 sda 5 0 100 9 4 0 40 9 0 9 9\n8 1 sda1 5 0 100 9 4 0 40 9 0 9 9\n"
        "253 0 dm-0 5 0 100 9 4 0 40 9 0 9 9\n7 0 loop0 5 0 7 9 4 0 7 9 0 9 9\n"
        "8 16 sdb 1 0 2 9 1 0 4 9 0 9 9\n"
    )
    (tmp_path / "block/253:0/slaves/sda").mkdir(parents=True)
    (tmp_path / "block/8:1/partition").mkdir(parents=True)
    (tmp_path / "net").mkdir()
    device = "{:>8}: {} 1 0 0 0 0 0 0 {} 1 0 0 0 0 0 0\n"
    (tmp_path / "net/dev").write_text(
        device.format("eth0", 900, 900) + device.format("veth12ab", 30, 40)
        + device.format("vethcd", 1, 2) + device.format("docker0", 31, 42)
    )  # fmt: skip
    monkeypatch.setattr(kernel, "PROC", tmp_path)
    for module in (cgroup, counters):
        monkeypatch.setattr(module, "BLOCKS", tmp_path / "block")
    assert counters.read_host("bare-metal") == {
        "memory_bytes": 700 * 1024,
        "memory_anonymous_bytes": 400 * 1024,
        "memory_cache_bytes": 200 * 1024,
        "memory_kernel_bytes": 57 * 1024,
        "read_bytes": 102 * 512,
        "written_bytes": 44 * 512,
        "links_bytes": 73,
    }
    for name in ("meminfo", "diskstats", "net/dev"):
        (tmp_path / name).unlink()
    assert set(counters.read_host("bare-metal").values()) == {None}


def test_a_virtual_host_is_what_its_own_cgroup_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory io\n")
    (tmp_path / "memory.current").write_text("77\n")
    (tmp_path / "memory.stat").write_text("anon 66\nfile 11\n")
    (tmp_path / "cpu.stat").write_text("usage_usec 5\n")
    monkeypatch.setattr(kernel, "CGROUP", tmp_path)
    found = counters.read_host("virtual")
    assert (found["memory_bytes"], found["memory_anonymous_bytes"]) == (77, 66)
    assert (found["memory_kernel_bytes"], found["read_bytes"]) == (None, None)
    (tmp_path / "memory.current").unlink()  # an emulated host's kernel is its own
    (tmp_path / "meminfo").write_text("MemTotal: 10 kB\nMemFree: 3 kB\n")
    monkeypatch.setattr(kernel, "PROC", tmp_path)
    assert counters.read_host("virtual")["memory_bytes"] == 7 * 1024
    assert counters.lab_cpu_ns("virtual", {}) == 5000


@pytest.mark.parametrize(("version", "name"), [(1, "tasks"), (2, "cgroup.threads")])
def test_context_switches_are_those_of_every_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int, name: str
) -> None:
    for thread, asked, unasked in ((7, 10, 1), (8, 20, 2)):
        (tmp_path / str(thread)).mkdir()
        text = (
            f"Name:\tx\nvoluntary_ctxt_switches:\t{asked}\nnonvoluntary_ctxt_switches:\t{unasked}\n"
        )
        (tmp_path / str(thread) / "status").write_text(text)
    (tmp_path / name).write_text("7\n8\n9\n")  # 9 ended between the two looks
    folders = dict.fromkeys(("cpuacct", "unified"), str(tmp_path))
    monkeypatch.setattr(kernel, "PROC", tmp_path)
    monkeypatch.setattr(cgroup, "cgroup_version", lambda: version)
    assert cgroup.read_context_switches(folders) == 33
    (tmp_path / name).write_text("")
    assert cgroup.read_context_switches(folders) is None


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (502, b"", "status 502"),
        (200, b"<html>", "no JSON"),
        (200, b'{"hello": "you"}', "another application"),
        (200, b'{"hello": "world", "utcnow": ""}', "without random"),
        (200, b'{"hello": "world", "utcnow": "", "random": 1}', None),
        (200, b'{"hello": "world", "utcnow": "", "random": 1, "services": 2}', None),
    ],
)
def test_the_right_answer(status: int, body: bytes, said: str | None) -> None:
    found = probe.wrong(status, body, None)
    assert found is None if said is None else said in str(found)


def test_a_deployment_that_is_no_chain_is_probed_too(program: Program) -> None:
    ready(program)
    answer = program.ask(do="probe", url="http://127.0.0.1:9/", limit_s=0.05)
    assert (answer["event"], answer["ready"]) == ("answer", False)
    assert "refused" in answer["reason"]


@pytest.mark.parametrize("found", ["4", "true", '"8"', "null"])
def test_an_answer_of_a_chain_of_another_length_is_not_the_right_one(found: str) -> None:
    body = f'{{"hello": "world", "utcnow": "", "random": 1, "services": {found}}}'.encode()
    assert probe.wrong(200, body.replace(found.encode(), b"8"), 8) is None
    assert probe.wrong(200, body, 8) == f"of a chain of {json.loads(found)!r} services, not 8"


def test_a_program_that_makes_its_input_blocking_leaves_the_link_alone() -> None:
    """As sudo does: the link only looks for the controller's word, and would wait for it."""
    code = (
        "import os, sys; from collector.runner.link import Link, said_by; link = Link();"
        "said_by([sys.executable, '-c', 'import os; os.set_blocking(0, True)']);"
        "print(os.get_blocking(0))"
    )
    source, sink = os.pipe()
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], stdin=source, capture_output=True, text=True, check=False
        )
    finally:
        os.close(source)
        os.close(sink)
    assert done.stdout == "False\n", done.stderr
