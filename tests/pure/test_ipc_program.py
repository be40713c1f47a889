"""workloads/ipc: every mechanism and mode, its limits, ends that are killed, names left behind.

Each test runs with the program as it ships and with one that stops at the first wrong access.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from collector.parse.ipc import parse_ipc

SOURCES: Final = sorted((Path(__file__).parents[2] / "workloads" / "ipc").glob("*.c"))
STRICT: Final = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror")
SANITIZE: Final = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
WAIT_S: Final = 60
MECHANISMS: Final = (
    "pipe", "fifo", "posix-queue", "system-v-queue", "memory-spin", "memory-futex",
    "memory-eventfd", "mapped-file", "locked-file", "unix-stream", "unix-seqpacket",
    "unix-datagram", "unix-abstract", "socketpair", "tcp", "udp", "vsock",
)  # fmt: skip
CONNECTING: Final = {"unix-stream", "unix-seqpacket", "unix-abstract", "tcp", "vsock"}
OWN: Final = ("--user-namespace",)
# Either is of the namespace that it is asked in, and of nothing else of the machine.
NOWHERE: Final = {
    "none are left": (
        ("unshare", "--user", "--map-root-user", "sh", "-c",
         'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"', "sh"), "ENOSPC",
    ),
    "a user that is nobody": (("unshare", "--user"), "EPERM"),
}  # fmt: skip
INTERRUPTED: Final = """
#include <errno.h>
#include <fcntl.h>
int __real_posix_fallocate(int, off_t, off_t);
int __wrap_posix_fallocate(int fd, off_t from, off_t bytes);
int __wrap_posix_fallocate(int fd, off_t from, off_t bytes)
{
    static int calls;
    return calls++ ? __real_posix_fallocate(fd, from, bytes) : EINTR;
}
"""
SOME: Final = ("--time", "0.06", "--latency", "64", "--throughput", "1,4096")


@pytest.fixture(scope="module", params=["plain", "sanitized"])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ipc") / "ipc"
    flags = (*STRICT, *(SANITIZE if request.param == "sanitized" else ()))
    subprocess.run(["gcc", *flags, "-o", path, *SOURCES], check=True, timeout=120)
    return path


def queues() -> set[str]:
    """Numbers of the System V queues that there are."""
    lines = Path("/proc/sysvipc/msg").read_text().splitlines()[1:]
    return {line.split()[1] for line in lines}


BEFORE: Final = queues()


def lines_of(result: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def measure(program: Path, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
    result = subprocess.run(
        [program, "measure", *arguments],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert result.returncode == code, (result.stdout, result.stderr)
    return lines_of(result)


def left_behind(directory: Path) -> list[str]:
    """Whatever a mechanism made under a name that follows from this directory."""
    found = directory.stat()
    mark = f"socklab-ipc-{found.st_dev:x}-{found.st_ino:x}-"
    shared = [path.name for path in Path("/dev/shm").iterdir() if path.name.startswith(mark)]
    return [*sorted(path.name for path in directory.iterdir()), *shared, *(queues() - BEFORE)]


def assert_tidy(directory: Path) -> None:
    """Nothing is left but the meeting; who serves tidies up when the other has gone."""
    until = time.monotonic() + 10
    while (left := set(left_behind(directory)) - {"meeting"}) and time.monotonic() < until:
        time.sleep(0.01)
    assert not left


@contextlib.contextmanager
def serving(
    program: Path, place: Path | str, *within: str, options: tuple[str, ...] = ()
) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [*within, program, "serve", *options, place], stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
            process.terminate()
            process.wait(WAIT_S)
        finally:
            process.kill()


def test_the_mechanisms_are_named(program: Path) -> None:
    result = subprocess.run([program, "list"], capture_output=True, text=True, check=True)
    listed = lines_of(result)
    assert tuple(one["mechanism"] for one in listed) == MECHANISMS
    assert {one["mechanism"] for one in listed if one["connects"]} == CONNECTING
    assert {one["shares"] for one in listed} == {"", "ipc", "network"}


@pytest.mark.parametrize("own", [False, True], ids=["forked", "apart"])
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_every_mechanism_is_measured_or_says_why_not(
    program: Path, tmp_path: Path, mechanism: str, own: bool
) -> None:
    with serving(program, tmp_path) if own else contextlib.nullcontext():
        asked = (mechanism, str(tmp_path), *SOME, "--connect", *(() if own else ("--fork",)))
        if mechanism == "vsock" and not Path("/sys/module/vsock_loopback").exists():
            (only,) = measure(program, *asked, code=3)
            assert only["state"] == "unavailable"
            assert only["errno"] == "ENOENT"
            assert "vsock_loopback" in only["allow"]
            return
        opened, latency, small, large, connect, ended = measure(program, *asked)
    assert opened["state"] == "opened"
    assert opened["mechanism"] == mechanism
    assert 0 < opened["clock_ns"] < 100_000
    assert sum(count for _, count in latency["histogram"]) == latency["count"] > 0
    values = [ns for ns, _ in latency["histogram"]]
    assert values == sorted(values)
    assert latency["least_ns"] <= latency["most_ns"]
    for cell, size in ((small, 1), (large, 4096)):
        assert (cell["mode"], cell["bytes"], cell["state"]) == ("throughput", size, "measured")
        assert cell["count"] > 0
        assert cell["ns"] > 0
        assert cell["lost"] == 0 or mechanism == "udp"
    if mechanism in CONNECTING:
        assert sum(count for _, count in connect["histogram"]) == connect["count"] > 0
    else:
        assert connect == {"mode": "connect", "state": "not_applicable"}
    assert ended == {"state": "ended"}
    assert_tidy(tmp_path)


def test_a_child_that_serves_uses_cpu_too(program: Path, tmp_path: Path) -> None:
    _, cell, _ = measure(
        program, "pipe", str(tmp_path), "--fork", "--time", "0.3", "--throughput", "65536"
    )
    measuring, serving_end = cell["cpu_ns"]
    assert measuring > 0
    assert serving_end > 0
    assert min(cell["switches"]) > 0


@pytest.mark.parametrize(
    ("mechanism", "limit"),
    [
        ("posix-queue", "fs.mqueue.msgsize_max"),
        ("system-v-queue", "kernel.msgmax"),
        ("unix-datagram", "net.core.wmem_default"),
        ("udp", "datagram"),
    ],
)
def test_a_message_beyond_the_limit_is_reported_and_not_tried(
    program: Path, tmp_path: Path, mechanism: str, limit: str
) -> None:
    _, cell, ended = measure(
        program, mechanism, str(tmp_path), "--fork", "--time", "0.02", "--throughput", "1048576"
    )
    assert cell["state"] == "too_large"
    assert 0 < cell["limit_bytes"] < 1048576
    assert limit in cell["limit"]
    assert ended == {"state": "ended"}
    at_limit = str(cell["limit_bytes"])
    _, cell, _ = measure(
        program, mechanism, str(tmp_path), "--fork", "--time", "0.02", "--throughput", at_limit
    )
    assert cell["count"] > 0


@pytest.mark.parametrize("killed", ["serving", "measuring"])
@pytest.mark.parametrize("mechanism", [one for one in MECHANISMS if one != "vsock"])
def test_who_is_left_ends_soon_and_leaves_nothing(
    program: Path, tmp_path: Path, mechanism: str, killed: str
) -> None:
    with (
        serving(program, tmp_path) as server,
        subprocess.Popen(
            [program, "measure", mechanism, tmp_path, "--time", "30", "--latency", "64"],
            stdout=subprocess.PIPE, text=True,
        ) as client,
    ):  # fmt: skip
        assert client.stdout is not None
        # Long enough to be in the middle; the test holds wherever the blow lands.
        time.sleep(0.15)
        if killed == "serving":
            server.kill()
            output = client.communicate(timeout=WAIT_S)[0]
            assert client.returncode == 1
            failed = json.loads(output.splitlines()[-1])
            assert failed["state"] == "failed"
            assert failed["text"]
        else:
            client.kill()
            assert server.stderr is not None
            said = json.loads(server.stderr.readline())
            assert said["command"] == "serve"
            # It goes on with the next one.
            measure(program, mechanism, str(tmp_path), *SOME)
        assert_tidy(tmp_path)


@pytest.mark.parametrize("mechanism", ["fifo", "posix-queue", "system-v-queue", "memory-futex"])
def test_what_two_killed_ends_left_is_found_and_removed(
    program: Path, tmp_path: Path, mechanism: str
) -> None:
    with serving(program, tmp_path) as server:
        client = subprocess.Popen(
            [program, "measure", mechanism, tmp_path, "--time", "30", "--latency", "64"]
        )
        time.sleep(0.15)
        server.send_signal(signal.SIGSTOP)  # so that it cannot tidy up after the client
        client.kill()
        client.wait(WAIT_S)
        server.kill()
        server.wait(WAIT_S)
    subprocess.run([program, "clean", tmp_path], check=True)
    assert left_behind(tmp_path) == []
    measure(program, mechanism, str(tmp_path), "--fork", *SOME)


def test_a_stranger_in_the_pipe_is_noticed(program: Path, tmp_path: Path) -> None:
    with subprocess.Popen(
        [program, "measure", "fifo", tmp_path, "--fork", "--time", "30", "--latency", "4096"],
        stdout=subprocess.PIPE, text=True,
    ) as client:  # fmt: skip
        path = tmp_path / "fifo-to"
        while not path.exists():
            time.sleep(0.01)
        time.sleep(0.2)
        stranger = os.open(path, os.O_WRONLY)
        os.write(stranger, b"\x07" * 4096)
        os.close(stranger)
        output = client.communicate(timeout=WAIT_S)[0]
        assert client.returncode == 1
    failed = json.loads(output.splitlines()[-1])
    assert failed["state"] == "failed"
    assert "came as" in failed["text"]


def test_a_serving_end_that_is_asked_to_end_tidies_up(program: Path, tmp_path: Path) -> None:
    with serving(program, tmp_path) as server:
        measure(program, "unix-stream", str(tmp_path), *SOME)
        server.terminate()
        assert server.wait(WAIT_S) == 0
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("mechanism", ["pipe", "unix-datagram", "memory-spin"])
def test_a_serving_end_that_is_asked_to_end_in_the_middle_ends(
    program: Path, tmp_path: Path, mechanism: str
) -> None:
    with (
        serving(program, tmp_path) as server,
        subprocess.Popen(
            [program, "measure", mechanism, tmp_path, "--time", "30", "--throughput", "64"],
            stdout=subprocess.PIPE,
        ) as client,
    ):
        time.sleep(0.15)
        server.terminate()
        assert server.wait(WAIT_S) == 0
        client.communicate(timeout=WAIT_S)
        assert client.returncode == 1
    assert left_behind(tmp_path) == []


def test_an_answer_that_is_on_its_way_is_no_loss(program: Path, tmp_path: Path) -> None:
    _, cell, _ = measure(program, "udp", str(tmp_path), "--fork", "--time", "1", "--latency", "64")
    assert cell["lost"] == 0


def test_a_measuring_end_in_another_ipc_namespace_leaves_no_queue(
    program: Path, tmp_path: Path
) -> None:
    with serving(program, tmp_path) as server:
        result = subprocess.run(
            ["unshare", "--ipc", program, "measure", "system-v-queue", tmp_path, *SOME],
            capture_output=True, text=True, timeout=WAIT_S, check=False,
        )  # fmt: skip
        assert result.returncode == 3, result.stdout
        assert "the same IPC namespace" in lines_of(result)[0]["allow"]
        server.terminate()
        assert server.wait(WAIT_S) == 0
    assert left_behind(tmp_path) == []


def test_a_measuring_end_waits_for_the_serving_one(program: Path, tmp_path: Path) -> None:
    late = threading.Timer(0.5, lambda: None)
    late.start()
    with subprocess.Popen(
        [program, "measure", "pipe", tmp_path, *SOME], stdout=subprocess.PIPE, text=True
    ) as client:
        late.join()
        with serving(program, tmp_path):
            output = client.communicate(timeout=WAIT_S)[0]
    assert client.returncode == 0, output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "expected measure MECHANISM PLACE"),
        (("measure", "telepathy", "/tmp", "--latency", "1"), "telepathy: no such mechanism"),
        (("measure", "pipe", "/tmp"), "nothing to measure"),
        (("measure", "pipe", "/tmp", "--latency", "0"), "from 1 to 1048576, not '0'"),
        (("measure", "pipe", "/tmp", "--latency", "1;2"), "separated by commas"),
        (("measure", "pipe", "/tmp", "--latency", "1048577"), "from 1 to 1048576"),
        (("measure", "pipe", "/tmp", "--latency", "1", "--time", "soon"), "seconds from 0.01"),
        (("measure", "pipe", "/tmp", "--latency", "1", "--cpus", "same:0"), "only with --fork"),
        (("measure", "pipe", "/tmp", "--fork", "--cpus", "0,1"), "any, same or apart, a colon"),
        (("measure", "pipe", "/tmp", "--fork", "--cpus", "sam:0"), "a colon and CPUs, not 'sam:0'"),
        (("measure", "pipe", "/tmp", "--fork", "--cpus", "same:"), "from 0 to 1023, not ''"),
        (("measure", "pipe", "/tmp", "--fork", "--cpus", "any:0;1"), "by commas, not ';1'"),
        (("measure", "tcp", "tcp:lab-2:7000", "--latency", "1"), "with an IPv4 address and a port"),
        (("measure", "tcp", "tcp:127.0.0.1:65535", "--latency", "1"), "a port from 1 to 65534"),
        (("measure", "tcp", "tcp:127.0.0.1:7000", "--fork", "--latency", "1"), "a directory"),
        (("serve", "tcp:127.0.0.1"), "expected tcp:ADDRESS:PORT"),
        (("serve", "--user-name", "/tmp"), "serve [--user-namespace] PLACE"),
    ],
)
def test_bad_arguments_are_refused(program: Path, arguments: tuple[str, ...], said: str) -> None:
    result = subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=WAIT_S, check=False
    )
    assert result.returncode == 2
    assert said in result.stderr
    assert result.stdout == ""


def test_a_directory_that_is_not_there_is_named(program: Path, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    result = subprocess.run(
        [program, "measure", "fifo", missing, "--fork", "--latency", "1"],
        capture_output=True, text=True, timeout=WAIT_S, check=False,
    )  # fmt: skip
    assert result.returncode == 2
    assert f"{missing}: expected a directory that is there" in result.stderr


def test_a_path_that_is_too_long_for_a_socket_is_reported(program: Path, tmp_path: Path) -> None:
    long = tmp_path / ("d" * 100)
    long.mkdir()
    (only,) = measure(program, "unix-stream", str(long), "--fork", "--latency", "1", code=1)
    assert only["state"] == "failed"
    assert "at most 107" in only["text"]


@pytest.mark.parametrize(
    ("cpus", "refused"),
    [("apart:0,1000", "1000"), ("apart:1000,0", "1000"), ("same:0,1001", "1001")],
)
def test_a_cpu_that_is_not_there_is_named_with_its_errno_at_either_end(
    program: Path, tmp_path: Path, cpus: str, refused: str
) -> None:
    (only,) = measure(
        program, "pipe", str(tmp_path), "--fork", "--cpus", cpus, "--latency", "1", code=3
    )
    assert (only["state"], only["call"]) == ("unavailable", "sched_setaffinity")
    assert only["errno"] == "EINVAL"
    assert f"CPU {refused} " in only["allow"]


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_how_much_a_pipe_holds_is_said_and_of_nothing_else(
    program: Path, tmp_path: Path, mechanism: str
) -> None:
    opened, *_ = (
        [{}] if mechanism == "vsock" else
        measure(program, mechanism, str(tmp_path), "--fork", "--time", "0.02", "--latency", "1")
    )  # fmt: skip
    if mechanism not in ("pipe", "fifo"):
        assert "pipe_bytes" not in opened
        return
    ends = os.pipe()
    try:
        size = fcntl.fcntl(ends[1], fcntl.F_GETPIPE_SZ)
    finally:
        for end in ends:
            os.close(end)
    assert opened["pipe_bytes"] == [size, size]


@pytest.mark.parametrize("program", ["plain"], indirect=True)
def test_the_kernels_call_that_a_tick_interrupts_is_made_again(
    tmp_path: Path, program: Path
) -> None:
    """What tmpfs says when a signal comes in the middle, which none can be timed to do."""
    source, path = tmp_path / "interrupted.c", tmp_path / "interrupted"
    source.write_text(INTERRUPTED)
    wrap = "-Wl,--wrap=posix_fallocate"
    subprocess.run(["gcc", *STRICT, wrap, "-o", path, *SOURCES, source], check=True, timeout=120)
    meeting = tmp_path / "meeting-place"
    meeting.mkdir()
    for mechanism in ("memory-futex", "memory-eventfd", "mapped-file"):
        measure(path, mechanism, str(meeting), "--fork", *SOME)


def status_of(process: int, name: str) -> str:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    (value,) = [line.split(":")[1].strip() for line in lines if line.startswith(f"{name}:")]
    return value


def user_namespace_of(process: int) -> str:
    return str(Path(f"/proc/{process}/ns/user").readlink())


def assert_in_a_namespace_of_its_own(process: int) -> None:
    """With no other user in it than ours, and no right that this user has not outside."""
    until = time.monotonic() + 10
    # Rights are given up last.
    while status_of(process, "CapPrm") != "0" * 16 and time.monotonic() < until:
        time.sleep(0.01)
    assert status_of(process, "CapPrm") == status_of(process, "CapEff") == "0" * 16
    assert user_namespace_of(process) != user_namespace_of(os.getpid())
    for kind, own in (("uid", os.geteuid()), ("gid", os.getegid())):
        mapped = Path(f"/proc/{process}/{kind}_map").read_text().split()
        assert mapped == [str(own), str(own), "1"]
    assert Path(f"/proc/{process}/setgroups").read_text() == "deny\n"


def test_both_ends_of_a_forked_run_have_one_user_namespace(program: Path, tmp_path: Path) -> None:
    asked = ("measure", "--user-namespace", "pipe", tmp_path, "--fork", "--latency", "64")
    with subprocess.Popen([program, *asked, "--time", "2"], stdout=subprocess.PIPE) as client:
        assert_in_a_namespace_of_its_own(client.pid)
        children = Path(f"/proc/{client.pid}/task/{client.pid}/children")
        until = time.monotonic() + 10
        while not (child := children.read_text()) and time.monotonic() < until:
            time.sleep(0.01)
        assert_in_a_namespace_of_its_own(int(child))
        assert user_namespace_of(client.pid) == user_namespace_of(int(child))
        client.communicate(timeout=WAIT_S)
        assert client.returncode == 0


def test_each_end_may_have_a_user_namespace_of_its_own(program: Path, tmp_path: Path) -> None:
    with serving(program, tmp_path, options=OWN) as server:
        assert_in_a_namespace_of_its_own(server.pid)
        for mechanism in ("fifo", "posix-queue", "memory-futex", "unix-stream"):
            opened, *_, ended = measure(program, mechanism, str(tmp_path), *OWN, *SOME)
            assert (opened["state"], ended["state"]) == ("opened", "ended")


@pytest.mark.parametrize(("within", "errno"), NOWHERE.values(), ids=NOWHERE)
def test_a_user_namespace_that_is_refused_is_unavailable(
    program: Path, tmp_path: Path, within: tuple[str, ...], errno: str
) -> None:
    result = subprocess.run(
        [*within, program, "measure", "pipe", tmp_path, *OWN, "--fork", *SOME],
        capture_output=True, text=True, timeout=WAIT_S, check=False,
    )  # fmt: skip
    assert result.returncode == 3, result
    (only,) = lines_of(result)
    assert (only["mechanism"], only["state"]) == ("pipe", "unavailable")
    assert (only["call"], only["errno"]) == ("unshare", errno)
    for one in ("user.max_user_namespaces", "kernel.unprivileged_userns_clone", "seccomp"):
        assert one in only["allow"]
    assert parse_ipc(result.stdout.encode()).unavailable is not None


@pytest.mark.parametrize(("within", "errno"), NOWHERE.values(), ids=NOWHERE)
def test_a_serving_end_that_is_refused_one_tells_whoever_comes(
    program: Path, tmp_path: Path, within: tuple[str, ...], errno: str
) -> None:
    with serving(program, tmp_path, *within, options=OWN) as server:
        for _ in range(2):
            (only,) = measure(program, "pipe", str(tmp_path), *SOME, code=3)
            assert (only["call"], only["errno"]) == ("unshare", errno)
            assert only["allow"].endswith("a seccomp profile that allows unshare")
        server.terminate()
        assert server.wait(WAIT_S) == 0


@pytest.fixture
def far() -> str:
    """A place for a meeting over the loopback's TCP: two free ports, one after the other."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as first:
            port: int = first.getsockname()[1]
            with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port + 1)):
                return f"tcp:127.0.0.1:{port}"


@pytest.mark.parametrize("mechanism", ["tcp", "udp"])
def test_over_a_network_two_mechanisms_are_measured_one_run_after_another(
    program: Path, far: str, mechanism: str
) -> None:
    with serving(program, far):
        for _ in range(2):
            asked = (mechanism, far, *SOME, "--connect")
            opened, latency, small, _, connect, ended = measure(program, *asked)
            assert opened["mechanism"] == mechanism
            assert latency["count"] > 0
            assert small["count"] > 0
            assert connect["state"] == ("measured" if mechanism == "tcp" else "not_applicable")
            assert ended == {"state": "ended"}


def test_a_port_that_is_taken_has_failed_and_is_not_forbidden(program: Path, far: str) -> None:
    _, host, port = far.split(":")
    with socket.create_server((host, int(port) + 1)), serving(program, far):
        (only,) = measure(program, "tcp", far, "--latency", "1", code=1)
    assert (only["state"], only["call"], only["errno"]) == ("failed", "bind", "EADDRINUSE")


@pytest.mark.parametrize("program", ["plain"], indirect=True)
def test_a_connection_that_is_refused_has_failed_and_is_not_forbidden(
    program: Path, tmp_path: Path
) -> None:
    with serving(program, tmp_path):
        result = subprocess.run(
            ["unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh",
             program, "measure", "tcp", tmp_path, *SOME],
            capture_output=True, text=True, timeout=WAIT_S, check=False,
        )  # fmt: skip
    assert result.returncode == 1, result
    (only,) = lines_of(result)
    assert (only["state"], only["call"], only["errno"]) == ("failed", "connect", "ECONNREFUSED")


def test_over_a_network_a_mechanism_of_one_host_is_refused(program: Path, far: str) -> None:
    with serving(program, far):
        (only,) = measure(program, "pipe", far, "--latency", "1", code=1)
    assert only["text"] == "pipe works on one host only; meet in a directory"


@pytest.mark.parametrize("killed", ["serving", "measuring"])
@pytest.mark.parametrize("mechanism", ["tcp", "udp"])
def test_over_a_network_who_is_left_ends_soon(
    program: Path, far: str, mechanism: str, killed: str
) -> None:
    with (
        serving(program, far) as server,
        subprocess.Popen(
            [program, "measure", mechanism, far, "--time", "30", "--latency", "64"],
            stdout=subprocess.PIPE, text=True,
        ) as client,
    ):  # fmt: skip
        time.sleep(0.15)
        if killed == "serving":
            server.kill()
            output = client.communicate(timeout=WAIT_S)[0]
            assert client.returncode == 1
            assert json.loads(output.splitlines()[-1])["state"] == "failed"
        else:
            client.kill()
            assert server.stderr is not None
            assert json.loads(server.stderr.readline())["command"] == "serve"
            measure(program, mechanism, far, *SOME)


@pytest.mark.parametrize("program", ["plain"], indirect=True)
@pytest.mark.parametrize("said", [b"PILS\x00", b"x" * 1000])
def test_a_stranger_keeps_nobody_out(program: Path, far: str, said: bytes) -> None:
    _, host, port = far.split(":")
    with serving(program, far) as server:
        time.sleep(0.2)
        with socket.create_connection((host, int(port))) as stranger:
            stranger.sendall(said)
            assert server.stderr is not None
            assert json.loads(server.stderr.readline())["command"] == "serve"
        measure(program, "tcp", far, *SOME)


@pytest.fixture
def cut() -> Iterator[tuple[str, str]]:
    """Two network namespaces with a cable between them, by name."""
    ends = (f"sl-ipc-a{os.getpid()}", f"sl-ipc-b{os.getpid()}")
    script = """
        ip netns add $0; ip netns add $1
        ip -n $0 link add end type veth peer name end netns $1
        ip -n $0 address add 198.18.200.1/30 dev end; ip -n $1 address add 198.18.200.2/30 dev end
        ip -n $0 link set end up; ip -n $1 link set end up"""
    try:
        subprocess.run(["sh", "-euc", script, *ends], check=True)
        yield ends
    finally:
        for end in ends:
            subprocess.run(["ip", "netns", "delete", end], check=False)


@pytest.mark.parametrize("program", ["plain"], indirect=True)
def test_a_network_that_falls_silent_ends_both_in_time(program: Path, cut: tuple[str, str]) -> None:
    here, there = cut
    place = "tcp:198.18.200.2:7000"
    with (
        serving(program, place, "ip", "netns", "exec", there) as server,
        subprocess.Popen(
            ["ip", "netns", "exec", here, program, "measure", "tcp", place, "--time", "1",
             "--latency", "64"],
            stdout=subprocess.PIPE, text=True,
        ) as client,
    ):  # fmt: skip
        time.sleep(0.5)
        subprocess.run(["ip", "-n", there, "link", "set", "end", "down"], check=True)
        output = client.communicate(timeout=WAIT_S)[0]
        assert client.returncode == 1
        assert json.loads(output.splitlines()[-1])["state"] == "failed"
        assert server.stderr is not None
        assert json.loads(server.stderr.readline())["command"] == "serve"
