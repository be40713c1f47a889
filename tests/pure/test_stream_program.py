"""workloads/stream: every address, direction and number of flows, and peers that misbehave.

Each test runs with the program as it ships and with one that stops at the first wrong access.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

SOURCE = Path(__file__).parents[2] / "workloads" / "stream" / "stream.c"
STRICT: Final = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror")
SANITIZE: Final = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
MAGIC: Final = b"SLSTREAM"
WAIT_S: Final = 30
SOME = ("--flows", "1", "--message-bytes", "64", "--time", "0.05")

Start = Callable[..., tuple[subprocess.Popen[bytes], str]]


@pytest.fixture(scope="module", params=["plain", "sanitized"])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stream") / "stream"
    flags = (*STRICT, *(SANITIZE if request.param == "sanitized" else ()))
    subprocess.run(["gcc", *flags, "-o", path, SOURCE], check=True, timeout=120)
    return path


@pytest.fixture
def start(program: Path) -> Iterator[Start]:
    """Start ``serve``; returns the process and the address that it says it listens on."""
    with contextlib.ExitStack() as running:

        def begin(address: str, *options: str) -> tuple[subprocess.Popen[bytes], str]:
            process = running.enter_context(
                subprocess.Popen([program, "serve", address, *options], stderr=subprocess.PIPE)
            )
            running.callback(process.kill)
            assert process.stderr is not None
            said = process.stderr.readline().decode().strip()
            assert said.startswith("listening on "), said
            return process, said.removeprefix("listening on ")

        yield begin


def run(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=WAIT_S, check=False
    )


def sent(program: Path, *arguments: str, code: int = 0) -> dict[str, Any]:
    result = run(program, "send", *arguments)
    assert result.returncode == code, result.stderr
    body: dict[str, Any] = json.loads(result.stdout)
    return body


def port_of(address: str) -> int:
    return int(address.rsplit(":", 1)[1])


def ended(process: subprocess.Popen[bytes]) -> int:
    process.send_signal(signal.SIGTERM)
    return process.wait(WAIT_S)


ADDRESSES = ["unix:{dir}/s", "unix:@stream-{pid}", "tcp:127.0.0.1:0", "tcp:[::1]:0"]


@pytest.mark.parametrize("address", [*ADDRESSES, "tcp:localhost:0"])
def test_every_kind_of_address(program: Path, start: Start, tmp_path: Path, address: str) -> None:
    process, at = start(address.format(dir=tmp_path, pid=os.getpid()))
    answer = run(program, "ping", at)
    assert (answer.returncode, answer.stdout) == (0, f"{at} answers\n")
    figures = sent(program, at, *SOME, "--direction", "to")
    assert (figures["address"], figures["messages"] > 0) == (at, True)
    assert ended(process) == 0
    gone = run(program, "ping", at)
    assert gone.returncode == 1 and "connect: " in gone.stderr


@pytest.mark.parametrize("direction", ["to", "from", "both"])
@pytest.mark.parametrize("flows", [1, 2, 4])
@pytest.mark.parametrize("size", [16, 17, 1000, 65537, 1 << 20])
def test_figures_agree(
    program: Path, start: Start, tmp_path: Path, direction: str, flows: int, size: int
) -> None:
    _, at = start(f"unix:{tmp_path}/s")
    found = sent(
        program, at, "--flows", str(flows), "--message-bytes", str(size), "--time=0.1",
        "--direction", direction,
    )  # fmt: skip
    assert (found["flows"], found["message_bytes"], found["direction"]) == (flows, size, direction)
    assert set(found["errors"].values()) == {0}
    both = ["to", "from"] if direction == "both" else [direction]
    assert [(one["flow"], one["direction"]) for one in found["per_flow"]] == [
        (flow, way) for flow in range(flows) for way in both
    ]
    assert found["messages"] == sum(one["messages"] for one in found["per_flow"])
    assert found["bytes"] == found["messages"] * size
    assert all(one["messages"] > 0 and one["error"] is None for one in found["per_flow"])
    # A flow of one message has no time of its own; none is longer than the whole.
    assert all((one["seconds"] or 0) <= found["seconds"] for one in found["per_flow"])
    # The program prints rates to a thousandth; a slow machine's are of few digits.
    rounded = {"rel": 1e-6, "abs": 0.001}
    assert found["messages_per_s"] == pytest.approx(found["messages"] / found["seconds"], **rounded)
    assert found["bytes_per_s"] == pytest.approx(found["bytes"] / found["seconds"], **rounded)
    assert 0.02 < found["seconds"] < 5


def test_one_server_serves_every_setting_at_once(program: Path, start: Start) -> None:
    process, at = start("tcp:127.0.0.1:0")
    runs = [
        subprocess.Popen(
            [program, "send", at, "--flows", "3", "--message-bytes", size, "--time", "0.3",
             "--direction", direction],
            stdout=subprocess.PIPE,
        )
        for size, direction in (("16", "to"), ("4096", "from"), ("333", "both"))
    ]  # fmt: skip
    assert [one.wait(WAIT_S) for one in runs] == [0, 0, 0]
    for one in runs:
        assert one.stdout is not None and json.loads(one.stdout.read())["messages"] > 0
    assert ended(process) == 0


# ---- the command line ----

USAGE = {
    "no role": ((), "expected serve, send or ping, and one address"),
    "another role": (("recv", "unix:/s"), "expected serve, send or ping, not 'recv'"),
    "no address": (("ping",), "and one address"),
    "another kind": (("ping", "udp:h:1"), "expected unix:/path, unix:@name, tcp:host:port"),
    "relative": (("ping", "unix:s"), "expected unix:/absolute/path or unix:@name"),
    "no name": (("ping", "unix:@"), "expected unix:/absolute/path or unix:@name"),
    "long": (("ping", f"unix:/{'s' * 107}"), "108 bytes after 'unix:'; a socket's name has at"),
    "long name": (("ping", f"unix:@{'s' * 108}"), "108 bytes after 'unix:@'"),
    "no port": (("ping", "tcp:host"), "expected tcp:host:port or tcp:[v6]:port"),
    "no host": (("ping", "tcp::80"), "expected tcp:host:port or tcp:[v6]:port"),
    "port 0": (("ping", "tcp:h:0"), "expected a port from 1 to 65535, not '0'"),
    "a high port": (("serve", "tcp:h:65536"), "a port from 0 to 65535, not '65536'"),
    "no brackets": (("ping", "tcp:::1:80"), "write an IPv6 address in brackets"),
    "half a bracket": (("ping", "tcp:[::1:80"), "expected tcp:host:port or tcp:[v6]:port"),
    "a blank": (("ping", "unix:/a b"), "printable ASCII without blanks"),
    "no settings": (("send", "unix:/s"), "send: --flows is missing"),
    "no direction": (("send", "unix:/s", *SOME), "send: --direction is missing"),
    "no flows": (("send", "unix:/s", *SOME, "--direction=to", "--flows=0"), "from 1 to 4096"),
    "a name": (("send", "unix:/s", *SOME, "--direction=to", "--flows=x"), "number from 1 to 4096"),
    "small": (
        ("send", "unix:/s", *SOME, "--direction=to", "--message-bytes=15"),
        "--message-bytes: expected a whole number from 16 to 16777216, not '15'",
    ),
    "no time": (("send", "unix:/s", *SOME, "--direction=to", "--time=0"), "seconds from 0.01"),
    "a suffix": (("send", "unix:/s", *SOME, "--direction=to", "--time=2s"), "not '2s'"),
    "infinite": (("send", "unix:/s", *SOME, "--direction=to", "--time=inf"), "not 'inf'"),
    "sideways": (("send", "unix:/s", *SOME, "--direction=up"), "to, from or both, not 'up'"),
    "no value": (("send", "unix:/s", "--flows"), "--flows: a value is expected"),
    "unknown": (("ping", "unix:/s", "--fast"), "--fast: unknown option"),
    "mode to send": (("ping", "unix:/s", "--mode", "0660"), "--mode is for serve"),
    "mode of a port": (("serve", "tcp:h:1", "--mode", "0660"), "tcp:h:1 is no file"),
    "decimal mode": (("serve", "unix:/s", "--mode", "660"), "as 0660, not '660'"),
    "no octal": (("serve", "unix:/s", "--mode", "0689"), "four octal digits"),
    "flows to serve": (("serve", "unix:/s", "--flows", "1"), "are for send"),
}


@pytest.mark.parametrize(("arguments", "reason"), USAGE.values(), ids=USAGE)
def test_wrong_usage_says_what_was_expected(
    program: Path, arguments: tuple[str, ...], reason: str
) -> None:
    result = run(program, *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert reason in result.stderr


def test_version_and_help(program: Path) -> None:
    assert run(program, "--version").stdout == "stream 1.0.0\n"
    assert "ADDRESS: unix:/path" in run(program, "--help").stdout


def test_longest_path_is_taken(program: Path, start: Start, tmp_path: Path) -> None:
    room = 107 - len(f"{tmp_path}/")
    process, at = start(f"unix:{tmp_path}/{'s' * room}")
    assert run(program, "ping", at).returncode == 0
    assert ended(process) == 0


# ---- the socket's file ----


def test_sigterm_removes_the_socket_and_sigint_too(start: Start, tmp_path: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        process, _ = start(f"unix:{tmp_path}/s")
        assert stat.S_ISSOCK((tmp_path / "s").lstat().st_mode)
        process.send_signal(number)
        assert process.wait(WAIT_S) == 0
        assert not (tmp_path / "s").exists()


def test_sigterm_ends_a_server_under_load(program: Path, start: Start, tmp_path: Path) -> None:
    process, at = start(f"unix:{tmp_path}/s")
    client = subprocess.Popen(
        [program, "send", at, "--flows=2", "--message-bytes=64", "--time=20", "--direction=both"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with socket.socket(socket.AF_UNIX) as other:  # accepted after the client's: those run
        other.connect(str(tmp_path / "s"))
        other.sendall(hello())
        assert other.recv(8) == MAGIC
    assert ended(process) == 0
    out, _ = client.communicate(timeout=WAIT_S)
    assert client.returncode == 1
    found = json.loads(out)
    assert found["seconds"] is None and sum(found["errors"].values()) > 0


def test_mode_of_the_socket(start: Start, tmp_path: Path) -> None:
    for mode in ("0660", "0600", "0777"):
        process, _ = start(f"unix:{tmp_path}/s", "--mode", mode)
        assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == int(mode, 8)
        assert ended(process) == 0


def test_stale_socket_is_replaced(program: Path, start: Start, tmp_path: Path) -> None:
    first, at = start(f"unix:{tmp_path}/s")
    first.kill()
    first.wait(WAIT_S)
    assert (tmp_path / "s").exists()
    second, _ = start(at)
    assert run(program, "ping", at).returncode == 0
    assert ended(second) == 0


def test_socket_in_use_and_other_files_are_left(
    program: Path, start: Start, tmp_path: Path
) -> None:
    _, at = start(f"unix:{tmp_path}/s")
    again = run(program, "serve", at)
    assert again.returncode == 1 and "is in use; end that server" in again.stderr
    assert run(program, "ping", at).returncode == 0
    (tmp_path / "file").write_text("mine")
    kept = run(program, "serve", f"unix:{tmp_path}/file")
    assert kept.returncode == 1 and "exists and is no socket" in kept.stderr
    assert (tmp_path / "file").read_text() == "mine"
    nowhere = run(program, "serve", f"unix:{tmp_path}/no/s")
    assert nowhere.returncode == 1 and "bind: No such file" in nowhere.stderr


def test_file_of_a_later_server_is_left(start: Start, tmp_path: Path) -> None:
    first, at = start(f"unix:{tmp_path}/s")
    (tmp_path / "s").rename(tmp_path / "moved")
    second, _ = start(at)
    assert ended(first) == 0
    assert (tmp_path / "s").exists()
    assert ended(second) == 0


def test_port_in_use(program: Path, start: Start) -> None:
    _, at = start("tcp:127.0.0.1:0")
    again = run(program, "serve", at)
    assert again.returncode == 1 and "bind: Address already in use" in again.stderr


# ---- peers that misbehave ----


def hello(direction: int = 1, size: int = 64, protocol: int = 1, time_us: int = 50_000) -> bytes:
    return MAGIC + struct.pack(">IIIIQ", protocol, direction, size, 0, time_us)


def message(sequence: int, size: int = 64, flow: int = 0, kind: int = 0) -> bytes:
    return struct.pack(">QII", sequence, flow, kind).ljust(size, b"Z")


def report(status: int = 0, messages: int = 0, first: int = 1, last: int = 2) -> bytes:
    return MAGIC + struct.pack(">IIQQQ", status, 0, messages, first, last)


WELCOME: Final = MAGIC + struct.pack(">IIQ", 1, 0, 7)


def exactly(peer: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (got := peer.recv(count - len(data))):
        data += got
    return data


@pytest.fixture
def fake() -> Iterator[Callable[[Callable[[socket.socket], None]], str]]:
    """A server of the test's own: says hello, then does what it is told with each connection."""
    threads: list[threading.Thread] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def begin(act: Callable[[socket.socket], None]) -> str:
        def serve() -> None:
            peer, _ = listener.accept()
            with peer, contextlib.suppress(OSError):
                peer.settimeout(WAIT_S)
                exactly(peer, 32)
                act(peer)

        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        return f"tcp:127.0.0.1:{listener.getsockname()[1]}"

    with listener:
        yield begin
        for thread in threads:
            thread.join(WAIT_S)
            assert not thread.is_alive()


def answers(*parts: bytes, reads: int = 8) -> Callable[[socket.socket], None]:
    """Welcome, wait for go (and the first bytes of a sender), then send ``parts``."""

    def act(peer: socket.socket) -> None:
        peer.sendall(WELCOME)
        exactly(peer, reads)
        for part in parts:
            peer.sendall(part)
        # Until the client has gone, so that no reset overtakes what was sent.
        while peer.recv(1 << 16):
            pass

    return act


END = message(2, kind=1)
FROM = {
    "gap": ((message(0), message(2), END, report()), "corrupt", "message 1 of flow 0 is marked 2"),
    "repeat": ((message(0), message(0), END, report()), "corrupt", "message 1 of flow 0"),
    "another flow": ((message(0, flow=3),), "corrupt", "is marked 0 of flow 3"),
    "another kind": ((message(0, kind=9),), "corrupt", "message 0 of flow 0"),
    "lost before the end": ((message(0), END, report()), "corrupt", "message 1 of flow 0"),
    "shifted": ((message(0)[:-1], message(1), END, report()), "corrupt", "message 1 of flow 0"),
    "no report": ((message(0), message(1), END, b"X" * 40), "corrupt", "is no report"),
    "too much": ((message(0), message(1), END + b"X" * 41), "corrupt", "41 bytes after the end"),
    "report of failure": ((message(0), message(1), END, report(3)), "corrupt", "a wrong message"),
}


@pytest.mark.parametrize(("parts", "kind", "reason"), FROM.values(), ids=FROM)
def test_corrupt_server_gives_no_figure(
    program: Path, fake: Any, parts: tuple[bytes, ...], kind: str, reason: str
) -> None:
    at = fake(answers(b"".join(parts)))
    result = run(program, "send", at, *SOME, "--direction", "from")
    found = json.loads(result.stdout)
    assert (result.returncode, found["seconds"], found["messages_per_s"]) == (1, None, None)
    assert [name for name, count in found["errors"].items() if count] == [kind]
    assert reason in found["per_flow"][0]["error"] and reason in result.stderr


def test_messages_split_anywhere_are_put_together(program: Path, fake: Any) -> None:
    def act(peer: socket.socket) -> None:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer.sendall(WELCOME)
        exactly(peer, 8)
        stream = message(0) + message(1) + END + report()
        for at in range(0, len(stream), 7):
            peer.sendall(stream[at : at + 7])
        peer.recv(1)

    found = sent(program, fake(act), *SOME, "--direction", "from")
    assert (found["messages"], found["bytes"]) == (2, 128)


CLOSES = {
    "at once": (lambda peer: None, "connect", "no welcome: the peer closed"),
    "a stranger": (lambda peer: peer.sendall(b"H" * 24), "connect", "is no stream server"),
    "another protocol": (
        lambda peer: peer.sendall(MAGIC + struct.pack(">IIQ", 2, 1, 7)),
        "connect",
        "the server speaks protocol 2, this is 1",
    ),
    "other settings": (
        lambda peer: peer.sendall(MAGIC + struct.pack(">IIQ", 1, 2, 7)),
        "connect",
        "refuses these settings",
    ),
    "in the middle": (
        lambda peer: (peer.sendall(WELCOME + message(0) + message(1)[:20]), exactly(peer, 8)),
        "read",
        "after 1 messages received: the peer closed early",
    ),
}


@pytest.mark.parametrize(("act", "kind", "reason"), CLOSES.values(), ids=CLOSES)
def test_server_that_closes_early(
    program: Path, fake: Any, act: Any, kind: str, reason: str
) -> None:
    result = run(program, "send", fake(act), *SOME, "--direction", "from")
    found = json.loads(result.stdout)
    assert (result.returncode, found["seconds"]) == (1, None)
    assert [name for name, count in found["errors"].items() if count] == [kind]
    assert reason in found["per_flow"][0]["error"]


def test_what_a_server_received_that_is_gone_is_unknown(program: Path, fake: Any) -> None:
    at = fake(lambda peer: (peer.sendall(WELCOME), exactly(peer, 4000)))
    found = sent(program, at, *SOME[:-1], "10", "--direction", "to", code=1)
    assert (found["messages"], found["bytes"], found["seconds"]) == (None, None, None)
    assert found["per_flow"][0]["messages"] is None
    assert found["errors"]["write"] + found["errors"]["read"] == 1


def test_two_servers_behind_one_address(program: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            peers = [listener.accept()[0] for _ in range(2)]
            for number, peer in enumerate(peers, 1):
                exactly(peer, 32)
                peer.sendall(MAGIC + struct.pack(">IIQ", 1, 0, number))
            for peer in peers:
                peer.recv(1)
                peer.close()

        thread = threading.Thread(target=serve)
        thread.start()
        at = f"tcp:127.0.0.1:{listener.getsockname()[1]}"
        found = sent(program, at, *SOME, "--flows=2", "--direction=to", code=1)
        thread.join(WAIT_S)
    assert found["errors"]["connect"] == 1
    assert "another server than flow 0" in str(found["per_flow"])
    assert found["messages"] == 0  # none of them ran


def as_client(at: str, *parts: bytes) -> tuple[int, int]:
    """Send to a real server; returns its report's status and count of messages."""
    with socket.create_connection(("127.0.0.1", port_of(at)), WAIT_S) as peer:
        peer.sendall(hello())
        assert exactly(peer, 24)[:16] == WELCOME[:16]
        peer.sendall(MAGIC + b"".join(parts))
        status, _, messages, _, _ = struct.unpack(">8xIIQQQ", exactly(peer, 40))
    return status, messages


def test_server_reports_what_it_received(start: Start) -> None:
    _, at = start("tcp:127.0.0.1:0")
    assert as_client(at, message(0), message(1), END) == (0, 2)
    assert as_client(at, message(0), message(2), END) == (3, 1)
    assert as_client(at, message(0, flow=1), END) == (3, 0)
    assert as_client(at, message(0), message(1), END, b"more") == (3, 2)


# As long as a hello: the rest would be unread, and the connection reset instead of closed.
STRANGER: Final = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".ljust(32)[:32]


def test_server_survives_strangers(program: Path, start: Start) -> None:
    process, at = start("tcp:127.0.0.1:0")
    refused = {"protocol": hello(protocol=2), "size": hello(size=15), "way": hello(direction=4)}
    for data in (*refused.values(), STRANGER, b"SLST", b""):
        with socket.create_connection(("127.0.0.1", port_of(at)), WAIT_S) as peer:
            peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)
            answer = exactly(peer, 100)
        if data in refused.values():
            assert len(answer) == 24 and struct.unpack(">8xIIQ", answer)[1] != 0
        else:
            assert answer == b""
    # One that goes in the middle of everything takes nobody with it.
    with socket.create_connection(("127.0.0.1", port_of(at)), WAIT_S) as peer:
        peer.sendall(hello(direction=3) + MAGIC + message(0)[:30])
    assert sent(program, at, *SOME, "--direction", "both")["messages"] > 0
    assert ended(process) == 0
