"""The application and gunicorn's settings, run without either installed.

The images hold Debian's Starlette, which the checkout does not; a stand-in with the few names that
the application uses takes its place here. The live lab runs the real one.
"""

from __future__ import annotations

import asyncio
import datetime
import json
import runpy
import sys
import tracemalloc
import types
from typing import Any

import pytest
import webjob

SOURCES = webjob.ROOT / "workloads" / "web"


class Response:
    def __init__(self, status_code: int = 200) -> None:
        self.status_code = status_code
        self.body = b""


class JSONResponse(Response):
    """Serialises as Starlette does."""

    def __init__(self, content: object) -> None:
        super().__init__()
        text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        self.body = text.encode()


class Starlette:
    def __init__(self, routes: list[tuple[str, Any]]) -> None:
        self.routes = dict(routes)


def stand_in() -> dict[str, types.ModuleType]:
    names: dict[str, dict[str, object]] = {
        "starlette": {},
        "starlette.applications": {"Starlette": Starlette},
        "starlette.requests": {"Request": object},
        "starlette.responses": {"JSONResponse": JSONResponse, "Response": Response},
        "starlette.routing": {"Route": lambda path, endpoint: (path, endpoint)},
    }
    modules = {}
    for name, members in names.items():
        modules[name] = types.ModuleType(name)
        vars(modules[name]).update(members)
    return modules


def answer(
    monkeypatch: pytest.MonkeyPatch, path: str = "/", response_bytes: str | None = None
) -> Response:
    """What a freshly started application answers to ``GET path``."""
    for name, module in stand_in().items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delenv("RESPONSE_BYTES", raising=False)
    if response_bytes is not None:
        monkeypatch.setenv("RESPONSE_BYTES", response_bytes)
    app = runpy.run_path(str(SOURCES / "application.py"))["app"]
    response = asyncio.run(app.routes[path](object()))
    assert isinstance(response, Response)
    return response


@pytest.mark.parametrize("response_bytes", [None, "0"])
def test_answer_has_the_three_published_fields(
    monkeypatch: pytest.MonkeyPatch, response_bytes: str | None
) -> None:
    response = answer(monkeypatch, response_bytes=response_bytes)
    body = json.loads(response.body)
    assert response.status_code == 200
    assert list(body) == ["hello", "utcnow", "random"]
    assert body["hello"] == "world"
    assert datetime.datetime.fromisoformat(body["utcnow"]).utcoffset() == datetime.timedelta(0)
    assert 0 <= body["random"] < 1


def test_no_two_answers_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len({answer(monkeypatch).body for _ in range(20)}) == 20


@pytest.mark.parametrize("size", [110, 1000, 65536, 1_000_000])
def test_body_has_the_asked_size_whatever_the_number(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    for number in (0.0, 0.5, 0.12345678901234567, 5e-05):
        monkeypatch.setattr("random.random", lambda number=number: number)
        assert len(answer(monkeypatch, response_bytes=str(size)).body) == size


def test_body_is_never_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    response = answer(monkeypatch, response_bytes="1")
    assert json.loads(response.body)["hello"] == "world"


@pytest.mark.parametrize(("kind", "worked"), [("none", 0), ("cpu", 1), ("memory", 0)])
def test_a_request_costs_the_work_that_the_job_names(
    monkeypatch: pytest.MonkeyPatch, kind: str, worked: int
) -> None:
    monkeypatch.setenv("WORK", kind)
    hashed: list[int] = []
    monkeypatch.setattr("hashlib.pbkdf2_hmac", lambda *given: hashed.append(given[-1]))
    tracemalloc.start()
    try:
        body = json.loads(answer(monkeypatch).body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (body["hello"], len(hashed)) == ("world", worked)
    # What is copied, and its copy.
    assert (peak > 2 * (16 << 20)) == (kind == "memory")


def test_health_answers_without_a_body(monkeypatch: pytest.MonkeyPatch) -> None:
    response = answer(monkeypatch, path="/health")
    assert (response.status_code, response.body) == (204, b"")


@pytest.mark.parametrize("path", ["tcp-loopback", "tcp-bridge", "sharedvolume"])
def test_gunicorn_binds_where_the_job_says(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    given = webjob.tasks(webjob.render(path=path, workers=2))["app-0"]["Env"]
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = runpy.run_path(str(SOURCES / "gunicorn.conf.py"))
    assert settings["bind"] == given["BIND"]
    assert settings["workers"] == 2
    assert settings["worker_class"] == "uvicorn.workers.UvicornWorker"
    assert settings["wsgi_app"] == "application:app"


def test_gunicorn_settings_are_equal_but_for_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def settings(bind: str) -> dict[str, object]:
        monkeypatch.setenv("BIND", bind)
        found = runpy.run_path(str(SOURCES / "gunicorn.conf.py"))
        return {key: value for key, value in found.items() if isinstance(value, str | int | None)}

    tcp, unix = settings("127.0.0.1:8000"), settings("unix:/alloc/tmp/app-0.sock")
    assert {key for key in tcp if tcp[key] != unix[key]} == {"bind"}


def test_gunicorn_refuses_to_start_without_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BIND", raising=False)
    with pytest.raises(KeyError, match="BIND"):
        runpy.run_path(str(SOURCES / "gunicorn.conf.py"))


def test_socket_is_for_its_owner_and_group_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIND", "unix:/alloc/tmp/app-0.sock")
    umask = runpy.run_path(str(SOURCES / "gunicorn.conf.py"))["umask"]
    assert 0o777 & ~umask == 0o660
