"""The channel to the controller: JSON lines in and out, and the lease.

Any line from the controller renews the lease; ``{"do": "lease"}`` does nothing else. When the
channel closes or the lease lapses, ``Lapsed`` is raised wherever the program waits.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections.abc import Sequence
from typing import Any, Final

LEASE_S: Final = 20.0
LINE_LIMIT: Final = 16 * 1024 * 1024


class Lapsed(Exception):  # noqa: N818 (a state of the lease, not an error of the program)
    """The controller is gone: its channel closed, or its lease lapsed."""


def said_by(argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and keep what it says, apart from the link.

    It gets a standard input of its own: sudo makes what it inherits blocking, and the link, which
    shares it, would then wait for the next word of the controller wherever it only looks.
    """
    return subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


class Link:
    """Line-wise, unbuffered, single-threaded: nothing wakes up while a tool is measured."""

    def __init__(self, source: int = 0, sink: int = 1) -> None:
        self.source = source
        self._sink = sink
        self._pending = b""
        self._lines: list[dict[str, Any]] = []
        self._deadline = time.monotonic() + LEASE_S
        os.set_blocking(source, False)

    def remaining_s(self) -> float:
        """Seconds that the lease has left; raises ``Lapsed`` if none."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise Lapsed(f"no word from the controller for {LEASE_S:.0f} s")
        return left

    def drain(self) -> None:
        """Take in what has arrived, without waiting. Raises ``Lapsed`` on a closed channel."""
        try:
            data = os.read(self.source, 1 << 20)
        except BlockingIOError:
            return
        if not data:
            raise Lapsed("the controller closed the channel")
        self._deadline = time.monotonic() + LEASE_S
        *lines, self._pending = (self._pending + data).split(b"\n")
        if len(self._pending) > LINE_LIMIT:
            raise Lapsed(f"a line longer than {LINE_LIMIT} bytes")
        self._lines += [line for line in map(json.loads, lines) if line.get("do") != "lease"]

    def receive(self) -> dict[str, Any]:
        """Wait for the next request, as long as the lease lasts."""
        self.drain()  # what came while nobody read has renewed the lease
        while not self._lines:
            select.select([self.source], [], [], self.remaining_s())
            self.drain()
        return self._lines.pop(0)

    def send(self, message: dict[str, Any]) -> None:
        """Write one line, whole."""
        view = memoryview(json.dumps(message, separators=(",", ":")).encode() + b"\n")
        while view:
            view = view[os.write(self._sink, view) :]
