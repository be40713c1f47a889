"""Runners and observers on hosts: held ssh channels that speak JSON lines.

Host keys are the lab's own: an unknown or changed key is refused, before anything is sent.
"""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import fabric
import paramiko

from collector.campaign.errors import BlockFailed, Declined, NoRoom, NotReadyError
from collector.plan.inventory import Host

USER: Final = "socklab"
CONNECT_S: Final = 10
BEAT_S: Final = 5.0
ANSWER_S: Final = 30.0
SEND_S: Final = 15.0
FILE_LIMIT: Final = 256 * 1024 * 1024
REMOTE_BLOCKS: Final = ".socklab/blocks"  # in the home of USER


def connect(host: Host, ssh_folder: Path) -> fabric.Connection:
    """Open a connection as the engine's user; raises ``NotReadyError`` naming host and reason."""
    connection = fabric.Connection(
        host.address,
        user=USER,
        connect_timeout=CONNECT_S,
        connect_kwargs={
            "key_filename": str(ssh_folder / "engine_ed25519"),
            "look_for_keys": False,
            "allow_agent": False,
        },
    )
    known_hosts = ssh_folder / "known_hosts"
    try:
        # fabric accepts unknown keys unless it is told otherwise
        connection.client.load_host_keys(str(known_hosts))
        connection.client.set_missing_host_key_policy(paramiko.RejectPolicy())
        connection.open()
        connection.transport.set_keepalive(15)
        # Else a question waits until the one before was acknowledged, up to 40 ms: paramiko
        # leaves Nagle's algorithm on.
        connection.transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except paramiko.BadHostKeyException as error:
        raise NotReadyError(
            f"{host.name} ({host.address}) shows another ssh host key than {known_hosts} has: "
            f"{error}. Refused. If the host was made anew, remove its line there."
        ) from None
    except (OSError, EOFError, paramiko.SSHException) as error:
        raise NotReadyError(
            f"{host.name} ({host.address}) cannot be reached as {USER}: {error}. "
            "Is the lab up? (make status)"
        ) from None
    return connection


def push(connection: fabric.Connection, program: bytes, digest: str) -> str:
    """Put the program on the host under its hash, unless it is there; return its path."""
    path = f".socklab/runner-{digest[:16]}.pyz"
    sftp = connection.sftp()
    try:
        if sftp.stat(path).st_size == len(program):
            return path
    except FileNotFoundError:
        pass
    try:
        sftp.mkdir(".socklab", 0o700)
    except OSError:
        sftp.stat(".socklab")
    with sftp.open(path + ".new", "wb") as stream:
        stream.write(program)
    sftp.posix_rename(path + ".new", path)
    return path


def fetch_file(sftp: paramiko.SFTPClient, source: str, target: Path) -> None:
    """Copy one regular file of bounded size here and sync it; ``BlockFailed`` for others."""
    found = sftp.lstat(source)
    if not stat.S_ISREG(found.st_mode or 0) or (found.st_size or 0) > FILE_LIMIT:
        raise BlockFailed(f"{source}: no regular file of at most {FILE_LIMIT} bytes")
    sftp.get(source, str(target))
    with target.open("rb") as stream:
        os.fsync(stream.fileno())


@contextmanager
def forwarded(connection: fabric.Connection, port: int) -> Iterator[int]:
    """Reach a port of the host's loopback from here, through ssh; yields the port on ours.

    Raises ``NotReadyError`` where the connection has broken: fabric then opens another.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        here = int(free.getsockname()[1])
    with ExitStack() as stack:
        try:
            way = connection.forward_local(here, remote_port=port, remote_host="127.0.0.1")
            stack.enter_context(way)
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise NotReadyError(f"{connection.host} cannot be reached: {error}") from None
        yield here


class Remote:
    """One program on one host. Not for several threads, but for the beat that keeps its lease."""

    def __init__(self, host: Host, connection: fabric.Connection, path: str) -> None:
        self.host = host
        self.connection = connection
        self.facts: dict[str, Any] = {}
        self._pending = b""
        self._write = threading.Lock()
        self._closed = threading.Event()
        self._channel = connection.transport.open_session(timeout=CONNECT_S)
        self._channel.exec_command(f"exec python3 -I {path}")
        self._channel.settimeout(SEND_S)
        threading.Thread(target=self._beat, daemon=True).start()
        self.facts = self.ask("hello", kind=host.kind, cpus=list(host.cpus))

    def _beat(self) -> None:
        while not self._closed.wait(BEAT_S):
            try:
                self._send({"do": "lease"})
            except OSError:
                return

    def _send(self, message: dict[str, Any]) -> None:
        with self._write:
            self._channel.sendall(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    def post(self, do: str, **order: Any) -> None:
        """Send a request without waiting; ``BlockFailed`` if the channel is gone."""
        try:
            self._send({"do": do, **order})
        except OSError as error:
            raise self._gone(str(error)) from None

    def _gone(self, reason: str) -> BlockFailed:
        stderr = b""
        if self._channel.recv_stderr_ready():
            stderr = self._channel.recv_stderr(4096)
        said = " | ".join(stderr.decode("utf-8", "replace").strip().splitlines()[-3:])
        return BlockFailed(f"{self.host.name}: the program ended: {reason} {said}".strip())

    def receive(self, limit_s: float) -> dict[str, Any]:
        """Wait for one message; ``BlockFailed`` on silence, on an end, or on ``failed``.

        ``Declined`` is the last, or ``NoRoom`` where a full disk is why.
        """
        deadline = time.monotonic() + limit_s
        while b"\n" not in self._pending:
            left = deadline - time.monotonic()
            self._channel.settimeout(max(0.01, left))
            try:
                data = self._channel.recv(1 << 20)
            except TimeoutError:
                raise BlockFailed(f"{self.host.name}: no answer within {limit_s:.0f} s") from None
            finally:
                self._channel.settimeout(SEND_S)
            if not data:
                raise self._gone("channel closed")
            self._pending += data
        line, _, self._pending = self._pending.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        if message["event"] == "failed":
            kind = NoRoom if message["full"] else Declined
            raise kind(f"{self.host.name}: {message['reason']}")
        return message

    def ask(self, do: str, wait_s: float = ANSWER_S, **order: Any) -> dict[str, Any]:
        """Send a request and wait for its answer."""
        self.post(do, **order)
        return self.receive(wait_s)

    def close(self) -> None:
        """Close the channel: the program ends, and with it what it runs."""
        self._closed.set()
        self._channel.close()


def ask_all(remotes: Iterable[Remote], do: str, **order: Any) -> dict[str, dict[str, Any]]:
    """Ask several hosts at once; answers by host name."""
    remotes = list(remotes)
    for remote in remotes:
        remote.post(do, **order)
    return {remote.host.name: remote.receive(ANSWER_S) for remote in remotes}
