"""A chain of services as real processes, with Debian's packages as the image has them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import sysconfig
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2] / "workloads"
Start = Callable[..., str]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a service; returns where it is found. ``unix``: on a socket, not a port."""
    running: list[subprocess.Popen[bytes]] = []

    def begin(nexts: str = "", *, unix: bool = False, **environment: str) -> str:
        number = len(running)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        bind = f"unix:{tmp_path}/{number}.sock" if unix else f"127.0.0.1:{port}"
        running.append(
            subprocess.Popen(
                ["/usr/bin/gunicorn", "--config", str(SOURCES / "web/gunicorn.conf.py"),
                 "--log-level", "error", "service:app"],
                cwd=tmp_path,
                env={
                    "PATH": os.defpath, "BIND": bind, "NEXT": nexts,
                    "PYTHONPATH": f"{SOURCES}/web:{SOURCES}/chain", **environment,
                },
                stdin=subprocess.DEVNULL,
            )
        )  # fmt: skip
        return bind if unix else f"http://{bind}/"

    try:
        yield begin
    finally:
        for one in running:
            one.terminate()
        for one in running:
            one.wait(20)


def get(url: str, wanted: int = 200) -> tuple[int, str]:
    """GET until the status is the wanted one; the last answer after 20 s."""
    deadline = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                status, text = response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read().decode()
        except OSError as error:
            status, text = 0, str(error)
        if status == wanted or time.monotonic() > deadline:
            return status, text
        time.sleep(0.1)


def status(url: str) -> int:
    """Status of the answer to one GET."""
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def services(text: str) -> int:
    body = json.loads(text)
    assert list(body) == ["hello", "utcnow", "random", "services"]
    assert body["hello"] == "world"
    number = body["services"]
    assert isinstance(number, int)
    return number


@pytest.mark.parametrize("unix", [False, True])
def test_every_service_adds_itself(start: Start, unix: bool) -> None:
    last = start(unix=unix)
    first = start(start(last, unix=unix))
    status, text = get(first)
    assert (status, services(text)) == (200, 3)
    assert get(first)[1] != text, "nothing is kept"


@pytest.mark.parametrize("encoded", ["true", "false"])
def test_services_within_a_process_count_too(start: Start, encoded: str) -> None:
    status, text = get(start(WITHIN="7", ENCODED=encoded))
    assert (status, services(text)) == (200, 8)


def test_a_next_one_that_is_not_there_is_said_by_everyone_before_it(
    start: Start, tmp_path: Path
) -> None:
    gone = f"unix:{tmp_path}/gone.sock"
    last = start(gone)
    assert get(last, 502)[0] == 502
    status, text = get(start(last), 502)
    assert status == 502
    assert text.startswith(f"{gone}: UnixClientConnectorError: ")


def test_a_database_that_is_not_there_is_said_to_the_caller(start: Start, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("one")
    gone = f"unix:{tmp_path}/database.sock"
    status, text = get(start(DATABASE=gone, PASSWORD_FILE=str(password), WITHIN="7"), 502)
    assert status == 502
    assert text.startswith(f"{gone}: OperationalError: ")


DATABASE_CLIENT = """
from contextlib import asynccontextmanager

MySQLError = RuntimeError


class Pool:
    def close(self): ...

    async def wait_closed(self): ...

    @asynccontextmanager
    async def acquire(self):
        yield self

    @asynccontextmanager
    async def cursor(self):
        yield self

    async def execute(self, query, arguments):
        assert query.count("%s") == len(arguments) == 1
        assert 1 <= arguments[0] <= 10_000

    async def fetchall(self):
        return [("a record",)]


async def create_pool(**asked):
    assert (asked["password"], asked["host"], asked["port"]) == ("its own", "127.0.0.1", 8200)
    return Pool()
"""


@pytest.mark.parametrize("encoded", ["true", "false"])
def test_each_part_reads_its_record_in_one_process_or_in_several(
    start: Start, tmp_path: Path, encoded: str
) -> None:
    """Only the client of the database is none: which records there are is the lab's to see."""
    (tmp_path / "stand-in").mkdir()
    (tmp_path / "stand-in/aiomysql.py").write_text(DATABASE_CLIENT)
    password = tmp_path / "password"
    password.write_text("its own\n")
    environment = {
        "DATABASE": "127.0.0.1:8200", "PASSWORD_FILE": str(password), "ENCODED": encoded,
        "PYTHONPATH": f"{tmp_path}/stand-in:{SOURCES}/web:{SOURCES}/chain",
    }  # fmt: skip
    whole = start(WITHIN="7", **environment)
    divided = start(start(start(**environment), **environment), **environment)
    for url, parts in ((whole, 8), (divided, 3)):
        status, text = get(url)
        body = json.loads(text)
        assert (status, body["services"], body["records"]) == (200, parts, parts)


def test_garbage_is_no_answer(start: Start, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    other = subprocess.Popen(
        [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert get(f"http://127.0.0.1:{port}/")[0] == 200
        status, text = get(start(f"http://127.0.0.1:{port}/"), 502)
    finally:
        other.terminate()
        other.wait(20)
    assert (status, text[:40]) == (502, "not a service's answer: b'<!DOCTYPE HTML")


@pytest.mark.parametrize(
    "body",
    [
        b'{"hello": "world", "services": "x"}',
        b'{"hello": "world", "services": null}',
        b'{"hello": "world", "services": 1, "records": []}',
        b"[" * 100_000,
        b'"world"',
    ],
)
def test_garbage_of_nearly_the_right_shape_is_no_answer(start: Start, body: bytes) -> None:
    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            found = get(start(f"http://127.0.0.1:{server.server_port}/"), 502)
        finally:
            server.shutdown()
    assert found[0] == 502
    assert found[1].startswith("not a service's answer: b'")


def test_a_service_that_fails_is_asked_again_where_that_is_wanted(start: Start) -> None:
    last = start(FAILING="0.5")
    once, again = start(last), start(last, RETRIES="20")
    assert get(once)[0] == get(again)[0] == 200
    assert [status(again) for _ in range(8)] == [200] * 8
    assert {status(once) for _ in range(30)} == {200, 502}
    failing = start(FAILING="1")
    assert get(failing, 503)[0] == 503
    assert get(start(failing, RETRIES="2"), 502) == (502, "fails on purpose")


def test_a_slow_service_makes_the_chain_slow(start: Start) -> None:
    first = start(start(DELAY_MS="300"))
    assert get(first)[0] == 200
    began = time.monotonic()
    assert get(first)[0] == 200
    assert time.monotonic() - began >= 0.3


@pytest.fixture
def tracing(tmp_path: Path) -> dict[str, str]:
    """What makes a service trace: OpenTelemetry as the image has it, and nothing else of PyPI."""
    packages = tmp_path / "packages"
    packages.mkdir()
    for one in Path(sysconfig.get_path("purelib")).iterdir():
        if one.name.startswith(("opentelemetry", "typing_extensions.py")):
            (packages / one.name).symlink_to(one)
    return {"PYTHONPATH": f"{SOURCES}/web:{SOURCES}/chain:{packages}"}


def handed_on(first: Path, last: Path) -> list[dict[str, int | str]]:
    """A request's spans, the outermost first, out of both services' files, written a moment later.

    Requests that came before the last service was up have no span there.
    """
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        files = [json.loads(path.read_text()) for path in (first, last) if path.exists()]
        spans = {one["span"]: one for file in files for one in file["spans"]}
        for one in spans.values():
            asking = spans.get(one["parent"])
            if asking and (serving := spans.get(asking["parent"])):
                return [serving, asking, one]
        time.sleep(0.1)
    raise AssertionError("no request has spans of both services within 20 s")


@pytest.mark.parametrize("within", [{"DELAY_MS": "300"}, {"FAILING": "1"}])
def test_what_a_service_does_is_in_its_own_span(
    start: Start, tmp_path: Path, tracing: dict[str, str], within: dict[str, str]
) -> None:
    files = tmp_path / "first.json", tmp_path / "last.json"
    last = start(TRACE="1", SPANS=str(files[1]), **within, **tracing)
    first = start(last, TRACE="1", SPANS=str(files[0]), **tracing)
    wanted = 502 if "FAILING" in within else 200
    assert get(first, wanted)[0] == wanted
    serving, asking, answered = handed_on(*files)
    assert [one["kind"] for one in (serving, asking, answered)] == ["server", "client", "server"]
    assert serving["parent"] is None
    took = int(answered["end_ns"]) - int(answered["start_ns"])
    # uvloop counts whole milliseconds: where something else wakes it meanwhile, a timer may ring
    # up to one early.
    assert took > (float(within.get("DELAY_MS", "0")) - 1) * 1e6
    assert int(asking["end_ns"]) - int(asking["start_ns"]) >= took


def test_a_traceparent_is_handed_on_where_no_span_is_kept(
    start: Start, tmp_path: Path, tracing: dict[str, str]
) -> None:
    seen: list[str | None] = []

    class Next(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers["traceparent"])
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"hello": "world"}')

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    spans = tmp_path / "spans.json"
    with HTTPServer(("127.0.0.1", 0), Next) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            nexts = f"http://127.0.0.1:{server.server_port}/"
            plain = start(nexts)
            unsampled = start(nexts, TRACE="0", SPANS=str(spans), **tracing)
            assert [get(plain)[0], get(unsampled)[0]] == [200, 200]
            trace = "0af7651916cd43dd8448eb211c80319c"
            mine = {"traceparent": f"00-{trace}-b7ad6b7169203331-00"}
            urllib.request.urlopen(urllib.request.Request(unsampled, headers=mine), timeout=10)
        finally:
            server.shutdown()
    assert seen[0] is None
    assert seen[1] is not None
    assert seen[2] is not None
    assert [int(one[-2:], 16) & 1 for one in (seen[1], seen[2])] == [0, 0], "not sampled"
    assert seen[2][3:35] == trace
    assert seen[2] != mine["traceparent"], "the service is a parent of its own"
    time.sleep(0.5)
    assert not spans.exists()
