"""Runs a load tool once, and keeps everything that it said.

The tool is started in a session of its own and dies with this program, however this program ends
(``PR_SET_PDEATHSIG``): never two generators on a host.
"""

from __future__ import annotations

import base64
import ctypes
import hashlib
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from collector.blockfile import BLOB_LIMIT
from collector.runner.link import Link

PR_SET_PDEATHSIG: Final = 1
OUTPUT_LIMIT: Final = 64 * 1024 * 1024
END_S: Final = 2.0
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def _die_with_parent() -> None:
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def text_or_base64(name: str, data: bytes) -> dict[str, str]:
    """Return ``{name: text}``, or ``{name_b64: ...}`` for bytes that are no UTF-8."""
    try:
        return {name: data.decode("utf-8")}
    except UnicodeDecodeError:
        return {f"{name}_b64": base64.b64encode(data).decode("ascii")}


def _keep_file(data: bytes, folder: Path, stem: str) -> dict[str, Any]:
    if len(data) <= BLOB_LIMIT:
        kept = text_or_base64("text", data)
        return {"b64": kept["text_b64"]} if "text_b64" in kept else dict(kept)
    digest = hashlib.sha256(data).hexdigest()
    name = f"{stem}.{digest}.blob"
    with (folder / name).open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    return {"sha256": digest, "bytes": len(data), "name": name}


def invoke(
    link: Link, order: Mapping[str, Any], library: Path, folder: Path, stem: str
) -> dict[str, Any]:
    """Run one invocation and return its record (docs/contracts.md, Block file).

    ``order``: argv, env, files (role to name) with ``{dir}`` and ``{lib}`` placeholders, and
    ``limit_s``, after which the tool is ended. Raises ``Lapsed`` if the controller goes away; the
    tool is ended then too.
    """
    with tempfile.TemporaryDirectory(prefix="socklab-run-") as scratch:

        def place(text: str) -> str:
            return text.replace("{dir}", scratch).replace("{lib}", str(library))

        argv = [place(one) for one in order["argv"]]
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
        environment |= {name: place(value) for name, value in order["env"].items()}
        wall_ns, began_ns = time.time_ns(), time.monotonic_ns()
        child = subprocess.Popen(
            argv,
            env=environment,
            cwd=scratch,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 (single-threaded program)
        )
        try:
            stdout, stderr, whole = _collect(link, child, began_ns + int(order["limit_s"] * 1e9))
        finally:
            _end(child)
        _, status, usage = os.wait4(child.pid, 0)
        ended_ns, ended_wall_ns = time.monotonic_ns(), time.time_ns()
        child.returncode = os.waitstatus_to_exitcode(status)
        if not whole and child.returncode == 0:
            child.returncode = -signal.SIGTERM  # it ended in good order, but not by itself
        files = {}
        for role, name in order["files"].items():
            path = Path(scratch, name)
            if path.is_file() and not path.is_symlink():
                files[role] = _keep_file(path.read_bytes(), folder, stem)
    return {
        "argv": argv,
        "exit_code": child.returncode,
        **text_or_base64("stdout", stdout),
        **text_or_base64("stderr", stderr),
        "started_monotonic_ns": began_ns,
        "ended_monotonic_ns": ended_ns,
        "started_wall_ns": wall_ns,
        "ended_wall_ns": ended_wall_ns,
        "cpu_user_s": usage.ru_utime,
        "cpu_system_s": usage.ru_stime,
        "files": files,
    }


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a tool, and what it has started, if it still runs.

    It is told first: shared memory and queues of a host are for the tool alone to remove.
    """
    _signal(child, signal.SIGTERM)
    assert child.stdout is not None  # noqa: S101 (told to mypy: both are pipes)
    assert child.stderr is not None  # noqa: S101
    deadline = time.monotonic() + END_S
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            # Closed: of the whole group none is left.
            if selector.select(left) and not os.read(child.stdout.fileno(), 1 << 16):
                break
    _signal(child, signal.SIGKILL)
    child.stdout.close()
    child.stderr.close()


def _signal(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    # What was started through sudo is not ours to end; it is bounded in the container it runs in.
    with suppress(PermissionError):
        os.killpg(child.pid, number)


def _collect(
    link: Link, child: subprocess.Popen[bytes], deadline_ns: int
) -> tuple[bytes, bytes, bool]:
    """Read both outputs until the tool closes them; the third: it did before its time was over."""
    assert child.stdout is not None  # noqa: S101 (told to mypy: both are pipes)
    assert child.stderr is not None  # noqa: S101
    pipes = {child.stdout.fileno(): bytearray(), child.stderr.fileno(): bytearray()}
    with selectors.DefaultSelector() as selector:
        selector.register(link.source, selectors.EVENT_READ)
        for pipe in pipes:
            selector.register(pipe, selectors.EVENT_READ)
        waiting = set(pipes)
        while waiting:
            left = (deadline_ns - time.monotonic_ns()) / 1e9
            if left <= 0 or sum(map(len, pipes.values())) > OUTPUT_LIMIT:
                break
            for key, _ in selector.select(min(left, link.remaining_s())):
                if key.fd == link.source:
                    link.drain()
                    continue
                data = os.read(key.fd, 1 << 16)
                pipes[key.fd] += data
                if not data:
                    selector.unregister(key.fd)
                    waiting.discard(key.fd)
    stdout, stderr = (bytes(data) for data in pipes.values())
    return stdout, stderr, not waiting
