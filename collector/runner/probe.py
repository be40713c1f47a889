"""Asks a deployment for its answer until it is the right one."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from collector.runner.link import Link, said_by

RUN_INSIDE: Final = ("sudo", "-n", "/usr/local/lib/socklab/run-inside")


def fetch(url: str, timeout_s: float) -> tuple[int, bytes]:
    """GET ``url`` once; (status, body). TLS is not verified: the load tools do not either."""
    parts = urlsplit(url)
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(parts.netloc, timeout=timeout_s, context=context)
    else:
        connection = http.client.HTTPConnection(parts.netloc, timeout=timeout_s)
    try:
        connection.request("GET", parts.path or "/")
        answer = connection.getresponse()
        return answer.status, answer.read(1 << 24)
    finally:
        connection.close()


def wrong(status: int, body: bytes, services: int | None) -> str | None:
    """Say what is wrong with the answer; None if it is the application's own.

    ``services``: how many of a chain have to be in it, where it is one.
    """
    if status != 200:
        return f"status {status}"
    try:
        answer = json.loads(body)
    except ValueError:
        return f"no JSON: {body[:80]!r}"
    if not isinstance(answer, dict) or answer.get("hello") != "world":
        return f"another application: {body[:80]!r}"
    if missing := {"utcnow", "random"} - set(answer):
        return f"without {', '.join(sorted(missing))}"
    if services is not None and (found := answer.get("services")) != services:
        return f"of a chain of {found!r} services, not {services}"
    return None


def probe(link: Link, url: str, services: int | None, limit_s: float) -> dict[str, Any]:
    """Wait for the right answer to ``url``: ``{"ready": bool, "reason", "body_bytes"}``."""

    def try_once() -> tuple[str | None, int | None]:
        try:
            status, body = fetch(url, 2.0)
        except (OSError, http.client.HTTPException) as error:
            return f"{type(error).__name__}: {error}", None
        return wrong(status, body, services), len(body)

    return _until_ready(link, limit_s, try_once)


def probe_inside(link: Link, container: str, limit_s: float) -> dict[str, Any]:
    """Wait until ``/local/ready`` in a deployment's container ends well; as ``probe``."""

    def try_once() -> tuple[str | None, int | None]:
        done = said_by([*RUN_INSIDE, container, "5", "/local/ready"])
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        return (None if done.returncode == 0 else f"{done.returncode}: {' '.join(said)}"), None

    return _until_ready(link, limit_s, try_once)


def _until_ready(
    link: Link, limit_s: float, try_once: Callable[[], tuple[str | None, int | None]]
) -> dict[str, Any]:
    """Try for up to ``limit_s``.

    The pause between tries grows from 20 to 250 ms: a condition with a bound, not a sleep. Raises
    ``Lapsed`` if the controller goes meanwhile.
    """
    deadline, pause, reason = time.monotonic() + limit_s, 0.02, "never asked"
    while time.monotonic() < deadline:
        link.drain()
        link.remaining_s()
        found, size = try_once()
        if found is None:
            return {"ready": True, "reason": None, "body_bytes": size}
        reason = found
        time.sleep(pause)
        pause = min(0.25, pause * 1.5)
    return {"ready": False, "reason": reason, "body_bytes": None}
