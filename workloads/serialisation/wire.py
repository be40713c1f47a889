"""Where the two ends meet, and what goes between them: frames, a length and that many bytes."""

from __future__ import annotations

import contextlib
import socket
import stat
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from trouble import refused, went_wrong

MOST_BYTES: Final = 16 << 20
PATH_LIMIT: Final = 107  # sun_path is 108 bytes with its terminating NUL (unix(7))
JOIN_S: Final = 10.0
PATIENCE_S: Final = 30.0  # an emulated host takes seconds for the largest JSON
TICK_S: Final = 0.5  # a wait ends so often: a signal just before it would else be seen after it
TICK: Final = struct.pack("ll", 0, int(TICK_S * 1e6))
GONE: Final = "the other end closed in the middle"
HEAD: Final = struct.Struct(">I")
CONTROL: Final = 1 << 31  # in a frame's length: no message, what the two ends agree on
HTTP2_SETTINGS: Final = 4  # the type of a frame (RFC 9113)
SERVICE: Final = "socklab.Serialisation"
GRPC_OPTIONS: Final = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.so_reuseport", 0),  # else a second server would share the port, and none would say so
)
FREE: Final = "an address that nobody has, in a directory or of a host that is there"


def without_delay(connected: socket.socket) -> socket.socket:
    """Return the socket; TCP's sends at once what it is given."""
    if connected.family != socket.AF_UNIX:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connected


@dataclass(frozen=True, slots=True)
class Address:
    """Where the two ends meet: a Unix socket's path, or a host and a port."""

    path: str
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        return f"unix:{self.path}" if self.path else f"tcp:{self.host}:{self.port}"

    @property
    def target(self) -> str:
        """The address as gRPC writes it."""
        return str(self).removeprefix("tcp:")

    def _connected(self) -> socket.socket:
        if not self.path:
            return without_delay(socket.create_connection((self.host.strip("[]"), self.port)))
        made = socket.socket(socket.AF_UNIX)
        try:
            made.connect(self.path)
        except OSError:
            made.close()
            raise
        return made

    def connect(self) -> socket.socket:
        """Return a socket to a serving end, which may be about to start."""
        until = time.monotonic() + JOIN_S
        while True:
            try:
                return self._connected()
            except OSError as error:
                starts = isinstance(error, FileNotFoundError | ConnectionRefusedError)
                if not starts or time.monotonic() > until:
                    allow = f"a serving end: messages.py serve FORMAT {self}"
                    raise refused("connect", error, allow) from None
            time.sleep(0.02)

    def listen(self) -> socket.socket:
        """Return a listening socket."""
        try:
            if self.path:
                made = socket.socket(socket.AF_UNIX)
                made.bind(self.path)
                made.listen()
                return made
            family = socket.AF_INET6 if self.host.startswith("[") else socket.AF_INET
            return socket.create_server((self.host.strip("[]"), self.port), family=family)
        except OSError as error:
            raise refused("bind", error, FREE) from None

    def open_to_all(self) -> None:
        """Let another user's measuring end come: the directory says who may."""
        if self.path:
            Path(self.path).chmod(0o666)

    def forget(self) -> None:
        """Remove the socket's file, and nothing that is no socket."""
        with contextlib.suppress(FileNotFoundError):
            if self.path and stat.S_ISSOCK(Path(self.path).lstat().st_mode):
                Path(self.path).unlink()


class Frames:
    """Frames over a connected socket, one under way at a time; ``patient`` waits for ever."""

    def __init__(self, connected: socket.socket, patient: bool) -> None:
        # The kernel's own, for which Python need not poll before each call.
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, TICK)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, TICK)
        self._socket = connected
        self._ticks: float = float("inf") if patient else PATIENCE_S / TICK_S
        self._view = memoryview(bytearray(HEAD.size + MOST_BYTES))

    def _again(self, ticks: int) -> int:
        if ticks > self._ticks:
            raise went_wrong(
                f"the other end did not answer for {PATIENCE_S:.0f} s; it may be serving another"
            )
        return ticks + 1

    def send(self, body: Any, control: int = 0) -> None:
        """Send a message, or something agreed on."""
        head = HEAD.pack(len(body) | control)
        try:
            sent = self._socket.sendmsg((head, body))
        except BlockingIOError:
            sent = 0
        if sent < HEAD.size + len(body):
            self._send_rest(memoryview(head + body)[sent:])

    def _send_rest(self, rest: memoryview) -> None:
        ticks = 0
        while rest:
            try:
                rest = rest[self._socket.send(rest) :]
            except BlockingIOError:
                ticks = self._again(ticks)

    def receive(self) -> tuple[int, bytes]:
        """Return the next frame, and whether it is something agreed on."""
        view, have, need, ticks = self._view, 0, HEAD.size, 0
        while have < need:
            try:
                came = self._socket.recv_into(view[have:])
            except BlockingIOError:
                ticks = self._again(ticks)
                continue
            if not came:
                raise went_wrong(GONE)
            have += came
            if need == HEAD.size <= have:
                word = HEAD.unpack_from(view)[0]
                need += word & ~CONTROL
                if need > len(view):
                    raise went_wrong("the other end sends no frames of this program")
        if have > need:
            raise went_wrong("more came than a frame")
        return word & CONTROL, bytes(view[HEAD.size : need])

    def check(self) -> None:
        """Raise if the other end has gone, while nothing is under way."""
        with contextlib.suppress(BlockingIOError):
            if not self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                raise went_wrong(GONE)

    def looks_like_grpc(self) -> bool:
        """Whether what comes first are HTTP/2's settings, which a server sends unasked."""
        ticks = 0
        while True:
            try:
                head = self._socket.recv(HEAD.size, socket.MSG_PEEK | socket.MSG_WAITALL)
            except BlockingIOError:
                ticks = self._again(ticks)
                continue
            return len(head) == HEAD.size and head[0] == 0 and head[3] == HTTP2_SETTINGS
