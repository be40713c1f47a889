"""A chain of services as real processes, with Debian's packages as the image has them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
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
    first = start(start(gone))
    status, text = get(first, 502)
    assert status == 502
    assert text.startswith(f"{gone}: UnixClientConnectorError: ")


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


def test_a_service_that_fails_is_asked_again_where_that_is_wanted(start: Start) -> None:
    last = start(FAILING="0.5")
    once, again = start(last), start(last, RETRIES="20")
    assert get(once)[0] == get(again)[0] == 200
    assert [status(again) for _ in range(8)] == [200] * 8
    assert {status(once) for _ in range(30)} == {200, 502}
    never = start(start(FAILING="1"), RETRIES="2")
    assert get(never, 502) == (502, "fails on purpose")


def test_a_slow_service_makes_the_chain_slow(start: Start) -> None:
    first = start(start(DELAY_MS="300"))
    assert get(first)[0] == 200
    began = time.monotonic()
    assert get(first)[0] == 200
    assert time.monotonic() - began >= 0.3
