"""workloads/serialisation: every format over both kinds of socket, ends that are killed or lie.

The program runs with Debian's Python and its packages, as in its image.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest

from collector.parse.serialisation import parse_serialisation

SOURCE: Final = Path(__file__).parents[2] / "workloads" / "serialisation" / "messages.py"
FORMATS: Final = ("none", "json", "ujson", "msgpack", "protobuf", "grpc")
CODED: Final = ("json", "ujson", "msgpack", "protobuf")
SOME: Final = ("--time", "0.06", "--bytes", "100,2000")
LONG: Final = ("--time", "60", "--bytes", "100")
WAIT_S: Final = 30
SOON_S: Final = 5.0  # it takes milliseconds; an end that is not noticed would be waited for longer
HEAD: Final = struct.Struct(">I")
CONTROL: Final = 1 << 31


@pytest.fixture(scope="module", autouse=True)
def generated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The classes that the image's build makes, where the program finds them."""
    folder = tmp_path_factory.mktemp("generated")
    proto = SOURCE.with_name("messages.proto")
    subprocess.run(
        ["protoc", f"--python_out={folder}", f"--proto_path={proto.parent}", proto],
        check=True, timeout=WAIT_S,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        patch.setenv("PYTHONDONTWRITEBYTECODE", "1")
        yield


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """The program's modules, by name; they import the standard library alone."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(SOURCE.parent)
    yield importlib.import_module
    for source in SOURCE.parent.glob("*.py"):
        sys.modules.pop(source.stem, None)


@pytest.fixture(params=["unix", "tcp"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"unix:{tmp_path}/socket" if request.param == "unix" else free_port()


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"tcp:127.0.0.1:{taken.getsockname()[1]}"


def command(*arguments: str, python: tuple[str, ...] = ("/usr/bin/python3",)) -> list[str]:
    return [*python, str(SOURCE), *arguments]


def measure(*arguments: str, code: int = 0) -> list[dict[str, Any]]:
    result = subprocess.run(
        command("measure", *arguments),
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert result.returncode == code, (result.stdout, result.stderr)
    assert result.stderr == ""
    if code == 0:
        parse_serialisation(result.stdout.encode())
    return [json.loads(line) for line in result.stdout.splitlines()]


@contextlib.contextmanager
def serving(form: str, address: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        command("serve", form, address), stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
            process.terminate()
            process.wait(WAIT_S)
        finally:
            process.kill()


@contextlib.contextmanager
def measuring(form: str, address: str) -> Iterator[subprocess.Popen[str]]:
    """A long run, in its middle: a cell of exchanges has begun."""
    with subprocess.Popen(
        command("measure", form, address, *LONG), stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["state"] == "opened"
            yield process
        finally:
            process.kill()


def assert_ends(process: subprocess.Popen[str], code: int) -> str:
    """It ends soon; returns what it said."""
    began = time.monotonic()
    output = process.communicate(timeout=WAIT_S)[0]
    assert time.monotonic() - began < SOON_S
    assert process.returncode == code
    return output


def assert_nothing_left(directory: Path) -> None:
    assert list(directory.iterdir()) == []


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_is_measured_over_both_sockets(
    tmp_path: Path, form: str, address: str
) -> None:
    with serving(form, address) as server:
        opened, *cells, ended = measure(form, address, *SOME)
        server.terminate()
        assert server.wait(WAIT_S) == 0
        assert server.stderr is not None and server.stderr.read() == ""
    assert_nothing_left(tmp_path)
    assert (opened["mechanism"], opened["state"]) == (form, "opened")
    assert 0 < opened["clock_ns"] < 100_000
    assert ended == {"state": "ended"}
    modes = ("encode", "decode", "exchange")
    wanted = [(mode, size) for size in (100, 2000) for mode in modes]
    assert [(cell["mode"], cell["bytes"]) for cell in cells] == wanted
    for cell in cells:
        if cell["mode"] != "exchange" and form not in CODED:
            assert cell["state"] == "not_applicable"
            continue
        assert (cell["state"], cell["lost"]) == ("measured", 0)
        assert sum(count for _, count in cell["histogram"]) == cell["count"] > 0
        values = [ns for ns, _ in cell["histogram"]]
        assert values == sorted(set(values))
        assert cell["least_ns"] <= cell["most_ns"] <= cell["ns"]
        assert cell["cpu_ns"][0] > 0 and (cell["cpu_ns"][1] > 0) == (cell["mode"] == "exchange")
        wire = cell["wire_bytes"]
        if form in ("none", "json", "ujson"):
            assert wire == cell["bytes"] + 4
        else:
            assert 40 < wire < cell["bytes"]


def test_grpc_sends_what_protobuf_does_with_a_byte_more(tmp_path: Path) -> None:
    wires = []
    for form in ("protobuf", "grpc"):
        with serving(form, f"unix:{tmp_path}/socket"):
            wires.append(measure(form, f"unix:{tmp_path}/socket", *SOME)[-2]["wire_bytes"])
    assert wires[1] == wires[0] + 1


@pytest.mark.parametrize("form", ["none", "json", "grpc"])
def test_a_message_far_beyond_the_socket_s_buffer_arrives(tmp_path: Path, form: str) -> None:
    address = f"unix:{tmp_path}/socket"
    with serving(form, address):
        cells = measure(form, address, "--time", "0.03", "--bytes", str(2 << 20))
    assert cells[-2]["count"] >= 1


def test_a_message_has_the_bytes_that_were_asked_for(
    part: Callable[[str], ModuleType],
) -> None:
    formats = part("formats")
    for size in (*range(100, 700), 4096, 100_001):
        message = formats.message_of(size)
        assert len(json.dumps(message, separators=(",", ":"))) == size
        assert message == formats.message_of(size)
        assert len(str(message["sequence"])) == 10
        assert len(message["note"]) < 120  # as many records as fit, and no more than one's padding
        assert len(formats.blob_of(size)) == size


def test_a_latency_is_merged_to_within_half_a_percent(
    part: Callable[[str], ModuleType],
) -> None:
    merged = part("measuring").merged
    assert [merged(ns) for ns in range(256)] == list(range(256))
    for ns in (*range(256, 70_000), 2**33 - 1, 2**33):
        assert abs(merged(ns) - ns) <= 0.004 * ns


@pytest.mark.parametrize("killed", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("form", ["none", "json", "grpc"])
def test_a_serving_end_that_goes_is_noticed(
    tmp_path: Path, form: str, killed: signal.Signals, address: str
) -> None:
    with serving(form, address) as server, measuring(form, address) as client:
        time.sleep(0.1)
        server.send_signal(killed)
        failed = json.loads(assert_ends(client, 1).splitlines()[-1])
        # Of json it is in its first cell, which does not speak.
        mode = "encode" if form == "json" else "exchange"
        assert (failed["mode"], failed["state"]) == (mode, "failed")
        assert failed["text"]
        assert_ends(server, 0 if killed == signal.SIGTERM else -signal.SIGKILL)
    if killed == signal.SIGTERM:
        assert_nothing_left(tmp_path)
    else:  # its name stands there, and the next one takes it
        with serving(form, address) as server:
            measure(form, address, *SOME)
        assert_nothing_left(tmp_path)


@pytest.mark.parametrize("form", ["none", "json", "grpc"])
def test_a_measuring_end_that_is_killed_is_noticed(tmp_path: Path, form: str, address: str) -> None:
    with serving(form, address) as server:
        with measuring(form, address) as client:
            time.sleep(0.1)
            client.kill()
            began = time.monotonic()
            if form != "grpc":  # whose server says nothing
                assert server.stderr is not None
                said = json.loads(server.stderr.readline())
                assert (said["serialisation"], said["command"]) == ("1.0.0", "serve")
                assert said["text"]
        measure(form, address, "--time", "0.01", "--bytes", "100")
        assert time.monotonic() - began < SOON_S
        server.terminate()
        assert server.wait(WAIT_S) == 0
    assert_nothing_left(tmp_path)


@pytest.mark.parametrize(
    ("served", "asked"), [("grpc", "json"), ("json", "grpc"), ("msgpack", "json")]
)
def test_another_format_is_refused_and_named(
    tmp_path: Path, served: str, asked: str, address: str
) -> None:
    with serving(served, address):
        (failed,) = measure(asked, address, *SOME, code=1)
        assert failed["state"] == "failed"
        assert failed["text"] == f"the end at {address} serves {served}, not {asked}"
        measure(served, address, *SOME)


def read_frame(connected: socket.socket) -> tuple[int, bytes]:
    (word,) = HEAD.unpack(connected.recv(HEAD.size, socket.MSG_WAITALL))
    return word & CONTROL, connected.recv(word & ~CONTROL, socket.MSG_WAITALL)


@contextlib.contextmanager
def answering(path: Path, answer: Callable[[int, bytes], bytes]) -> Iterator[str]:
    """A serving end of json whose ``answer`` gets a message's number and its bytes."""

    def serve(listener: socket.socket) -> None:
        number = 0
        connected = listener.accept()[0]
        with connected, contextlib.suppress(OSError, struct.error):
            while True:
                control, body = read_frame(connected)
                if control:
                    body = b"json" if body.startswith(b"hello") else b"[0,0]"
                else:
                    body = answer(number, body)
                    number += 1
                connected.sendall(HEAD.pack(len(body) | control) + body)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield f"unix:{path}"
        thread.join(WAIT_S)


LIES: Final[dict[str, tuple[Callable[[int, bytes], bytes], str]]] = {
    "another sequence": (
        lambda number, body: body.replace(b'"sequence":1', b'"sequence":2', number == 7),
        "message 1000000007 came as 2000000007",
    ),
    "another content, of the 256th": (
        lambda number, body: body.replace(b"x", b"y", int(number == 256)),
        "message 1000000256 was changed on its way",
    ),
    "no JSON": (lambda number, body: body[:-1], "Expecting"),
    "no message": (lambda number, body: b"{}", "sequence"),
    "a frame too many": (lambda number, body: body + HEAD.pack(1), "Extra data"),
}


@pytest.mark.parametrize(("answer", "said"), LIES.values(), ids=LIES)
def test_a_wrong_answer_ends_the_run(
    tmp_path: Path, answer: Callable[[int, bytes], bytes], said: str
) -> None:
    with answering(tmp_path / "socket", answer) as address:
        cells = measure("json", address, "--time", "1", "--bytes", "200", code=1)
    assert (cells[-1]["mode"], cells[-1]["state"]) == ("exchange", "failed")
    assert said in cells[-1]["text"]


def test_an_end_that_answers_no_more_is_not_waited_for_for_ever(
    part: Callable[[str], ModuleType],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wire = part("wire")
    monkeypatch.setattr(wire, "PATIENCE_S", 0.5)
    with serving("none", f"unix:{tmp_path}/socket") as server:
        measure("none", f"unix:{tmp_path}/socket", "--time", "0.01", "--bytes", "100")
        server.send_signal(signal.SIGSTOP)
        address = wire.Address(f"{tmp_path}/socket")
        assert part("measuring").measure("none", address, [100], 0.01) == 1
        server.send_signal(signal.SIGCONT)
    assert "did not answer for" in json.loads(capsys.readouterr().out)["text"]


def test_nobody_there_is_said_with_what_it_takes(
    part: Callable[[str], ModuleType],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wire = part("wire")
    monkeypatch.setattr(wire, "JOIN_S", 0.05)
    address = wire.Address(f"{tmp_path}/socket")
    assert part("measuring").measure("none", address, [100], 0.01) == 1
    failed = json.loads(capsys.readouterr().out)
    assert (failed["state"], failed["call"], failed["errno"]) == ("failed", "connect", "ENOENT")
    assert f"messages.py serve FORMAT unix:{tmp_path}/socket" in failed["allow"]


def test_a_measuring_end_waits_for_the_serving_one(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/socket"
    with subprocess.Popen(
        command("measure", "none", address, *SOME), stdout=subprocess.PIPE, text=True
    ) as client:
        time.sleep(0.3)
        with serving("none", address):
            output = client.communicate(timeout=WAIT_S)[0]
    assert client.returncode == 0, output


@pytest.mark.parametrize(
    ("form", "call", "allow"),
    [
        ("ujson", "import ujson", "the Debian package python3-ujson"),
        ("msgpack", "import msgpack", "the Debian package python3-msgpack"),
        ("protobuf", "import google.protobuf", "the Debian package python3-protobuf"),
        ("grpc", "import grpc", "the Debian package python3-grpcio"),
    ],
)
def test_a_library_that_is_not_there_is_said_by_both_ends(
    form: str, call: str, allow: str, tmp_path: Path
) -> None:
    for end in ("measure", "serve"):
        result = subprocess.run(
            # Without site there are no Debian packages.
            command(end, form, f"unix:{tmp_path}/socket", *(SOME if end == "measure" else ()),
                    python=("/usr/bin/python3", "-S")),
            capture_output=True, text=True, timeout=WAIT_S, check=False,
        )  # fmt: skip
        assert result.returncode == 3
        said = json.loads(result.stdout if end == "measure" else result.stderr)
        assert (said["call"], said["errno"], said["allow"]) == (call, "ModuleNotFoundError", allow)
        if end == "measure":
            record = parse_serialisation(result.stdout.encode())
            assert record.unavailable is not None and allow in record.unavailable
    assert_nothing_left(tmp_path)


def test_classes_that_were_not_generated_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH")
    (only,) = measure("protobuf", "unix:/nowhere", *SOME, code=3)
    assert (only["state"], only["call"]) == ("unavailable", "import messages_pb2")
    assert "protoc --python_out" in only["allow"]


@pytest.mark.parametrize("form", ["none", "grpc"])
def test_an_address_that_cannot_be_had_is_said(form: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("no socket")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for address in (f"unix:{file}", f"unix:{tmp_path}/no/socket", f"tcp:127.0.0.1:{port}"):
            result = subprocess.run(
                command("serve", form, address),
                capture_output=True, text=True, timeout=WAIT_S, check=False,
            )  # fmt: skip
            assert result.returncode == 1, address
            said = json.loads(result.stderr.splitlines()[-1])
            assert (said["command"], said["call"]) == ("serve", "bind")
    assert file.read_text() == "no socket"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "required: command"),
        (("measure", "xml", "unix:/x", *SOME), "invalid choice: 'xml'"),
        (("measure", "json", "unix:/x"), "required: --bytes"),
        (("measure", "json", "unix:x", *SOME), "expected unix:/PATH or tcp:HOST:PORT, not 'unix:x"),
        (("measure", "json", "tcp:host", *SOME), "expected unix:/PATH or tcp:HOST:PORT"),
        (("serve", "json", "tcp:host:65536"), "expected unix:/PATH or tcp:HOST:PORT"),
        (("serve", "json", "unix:/" + "x" * 107), "a path of at most 107 bytes, not 108"),
        (("measure", "json", "unix:/x", "--bytes", "99"), "from 100 to 16777216 bytes, not 99"),
        (("measure", "json", "unix:/x", "--bytes", "16777217"), "from 100 to 16777216 bytes"),
        (("measure", "json", "unix:/x", "--bytes", "100;200"), "separated by commas"),
        (("measure", "json", "unix:/x", "--bytes", "100,100"), "at most 16 sizes, each once"),
        (("measure", "json", "unix:/x", *SOME, "--time", "soon"), "seconds from 0.01 to 3600"),
        (("measure", "json", "unix:/x", *SOME, "--time", "0.001"), "seconds from 0.01 to 3600"),
        (("serve", "json", "unix:/x", *SOME), "unrecognized arguments"),
    ],
)
def test_bad_arguments_are_refused(arguments: tuple[str, ...], said: str) -> None:
    result = subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=WAIT_S, check=False
    )
    assert result.returncode == 2
    assert said in result.stderr
    assert result.stdout == ""


def test_another_user_may_come_to_the_socket(tmp_path: Path) -> None:
    for form in ("none", "grpc"):
        with serving(form, f"unix:{tmp_path}/socket"):
            measure(form, f"unix:{tmp_path}/socket", "--time", "0.01", "--bytes", "100")
            assert (tmp_path / "socket").stat().st_mode & 0o777 == 0o666
