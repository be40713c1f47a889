#!/usr/bin/python3
"""serialisation: what a message costs in a format, between two processes over a stream socket.

    messages.py serve FORMAT ADDRESS
    messages.py measure FORMAT ADDRESS [--time S] --bytes SIZES

FORMAT: none (bytes as they are), json (the standard library's), ujson, msgpack, protobuf, or grpc
(a unary call with protobuf's messages). ADDRESS: unix:/PATH or tcp:HOST:PORT. The serving end
serves one measuring end after another until SIGTERM; of grpc, whose server it is, several.

SIZES are bytes, separated by commas: of the message's compact JSON, whatever the format, so that
every format carries the same content; of ``none`` the bytes themselves. For each there are three
cells, which share --time seconds, those that the format has; each takes a tenth more before, as
warm-up.

encode    a message becomes bytes, in the measuring process alone
decode    bytes become a message, there too; the memory of the one before is freed in that time
exchange  a round trip: encoded, sent, decoded, encoded anew, answered, decoded

A message is what a format's library takes and gives: dicts and lists, or protobuf's own classes,
whose fields become objects of Python only when they are read (of each only the sequence is).

On the wire a message is its length, four bytes, big-endian, and the bytes. ``wire_bytes`` counts
both; of grpc the five bytes that it puts before a message, and not HTTP/2's frames and headers.

Output: JSON, a line each, as ipc (workloads/ipc) prints it: one that opens, one for each cell, one
that ends. A latency is in ns and holds one reading of the clock, which ``clock_ns`` gives: subtract
it. CPU and context switches are of both processes, measuring and serving, over the cell, and hold
the loop's own work, below a microsecond a message. The answer's sequence must be the one asked, and
every 256th is compared whole: a wrong one ends the run.

Exit code: 0 measured; 1 it went wrong, and there is no figure; 2 usage; 3 the library is not there.
"""

from __future__ import annotations

import argparse
import array
import collections
import concurrent.futures
import contextlib
import errno
import gc
import hashlib
import importlib
import itertools
import json
import operator
import re
import resource
import signal
import socket
import stat
import struct
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final, NoReturn, Protocol

VERSION: Final = "1.0.0"
MEASURED: Final = 0
FAILED: Final = 1
UNAVAILABLE: Final = 3

FORMATS: Final = ("none", "json", "ujson", "msgpack", "protobuf", "grpc")
MODES: Final = ("encode", "decode", "exchange")
LEAST_BYTES: Final = 100
MOST_BYTES: Final = 16 << 20
MOST_SIZES: Final = 16
PATH_LIMIT: Final = 107  # sun_path is 108 bytes with its terminating NUL (unix(7))
MOST_SECONDS: Final = 3600
WARM_PART: Final = 10
FIRST: Final = 1_000_000_000  # so that a sequence has ten digits, and every message the same size
WHOLE_EACH: Final = 256
FOLD_EACH: Final = 1 << 16
CLOCK_TRIES: Final = 10_000
JOIN_S: Final = 10.0
PATIENCE_S: Final = 30.0  # an emulated host takes seconds for the largest JSON
TICK_S: Final = 0.5  # a wait ends so often: a signal just before it would else be seen after it
TICK: Final = struct.pack("ll", 0, int(TICK_S * 1e6))
LOOK_NS: Final = 500_000_000  # so often a cell without a socket looks if the other end is there
GONE: Final = "the other end closed in the middle"
HEAD: Final = struct.Struct(">I")
SEQUENCE: Final = struct.Struct(">Q")  # how a blob begins
CONTROL: Final = 1 << 31  # in a frame's length: no message, what the two ends agree on
GRPC_PREFIX: Final = 5
HTTP2_SETTINGS: Final = 4  # the type of a frame (RFC 9113)
GRPC_PACKAGE: Final = "the Debian package python3-grpcio"
SERVICE: Final = "socklab.Serialisation"
GRPC_OPTIONS: Final = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.so_reuseport", 0),  # else a second server would share the port, and none would say so
)
FREE: Final = "an address that nobody has, in a directory or of a host that is there"

now_ns: Final = time.perf_counter_ns


class TroubleError(Exception):
    """What went wrong: the call, the name of its error where it has one, what would allow it."""

    def __init__(self, call: str, text: str, name: str = "", allow: str = "") -> None:
        super().__init__(text)
        self.said = {"call": call, "errno": name, "text": text, "allow": allow}

    def members(self) -> dict[str, str]:
        """Return the members of a line that says so."""
        return {name: text for name, text in self.said.items() if text}


class MissingError(TroubleError):
    """A library that is not there."""


def refused(call: str, error: OSError, allow: str = "") -> TroubleError:
    """Return the trouble of a system call."""
    name = errno.errorcode.get(error.errno or 0, type(error).__name__)
    return TroubleError(call, error.strerror or str(error), name, allow)


def went_wrong(text: str) -> TroubleError:
    """Return a trouble that no system call had."""
    return TroubleError("serialisation", text)


def anything(error: Exception) -> TroubleError:
    """Return what a library raised: for bytes that it cannot read, each has a class of its own."""
    if isinstance(error, TroubleError):
        return error
    if isinstance(error, OSError):
        return refused("socket", error)
    return TroubleError("serialisation", str(error) or repr(error), type(error).__name__)


def say(**members: object) -> None:
    """Print a line."""
    print(json.dumps(members, separators=(",", ":")), flush=True)


def say_trouble(trouble: TroubleError) -> None:
    """Print what a serving end has to complain about."""
    body = {"serialisation": VERSION, "command": "serve", **trouble.members()}
    print(json.dumps(body, separators=(",", ":")), file=sys.stderr, flush=True)


# ---- messages and formats ----


def message_of(size: int) -> dict[str, Any]:
    """Return the message whose compact JSON has ``size`` bytes; the note pads what records leave.

    Values are multiples of an eighth: every format and library writes them exactly.
    """
    message: dict[str, Any] = {"sequence": FIRST, "note": "", "records": []}
    left = size - len(json.dumps(message, separators=(",", ":")))
    while True:
        number = len(message["records"])
        record = {
            "id": number,
            "name": f"record {number * 2654435761 % 2**32:08x}",
            "value": number * 7919 % 99991 / 8,
            "flag": number % 3 == 0,
            "tags": ["red", "green", "blue", "black"][: number % 4 + 1],
        }
        left -= len(json.dumps(record, separators=(",", ":"))) + (number > 0)
        if left < 0:
            break
        message["records"].append(record)
    message["note"] = "x" * (size - len(json.dumps(message, separators=(",", ":"))))
    return message


def blob_of(size: int) -> bytearray:
    """Return ``size`` bytes without a pattern, always the same."""
    return bytearray(hashlib.shake_128(b"socklab").digest(size))


def set_item(message: Any, number: int) -> None:
    """Give a message of dicts its sequence."""
    message["sequence"] = number


def set_attribute(message: Any, number: int) -> None:
    """Give a message of protobuf's its sequence."""
    message.sequence = number


@dataclass(frozen=True, slots=True)
class Format:
    """How a message is made, becomes bytes and is read. What can be prepared once, is."""

    name: str
    make: Callable[[int], Any]
    encode: Callable[[Any], Any]
    decode: Callable[[bytes], Any]
    stamp: Callable[[Any, int], None] = set_item
    sequence_of: Callable[[Any], int] = operator.itemgetter("sequence")

    def applies(self, mode: str) -> bool:
        """Whether a cell of this mode can be measured."""
        # gRPC encodes with protobuf, which has these cells.
        return mode == "exchange" or self.name not in ("none", "grpc")


def library(name: str, allow: str) -> Any:
    """Return a module; ``MissingError`` says what would bring it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingError(f"import {name}", str(error), type(error).__name__, allow) from None


def format_named(name: str) -> Format:
    """Return a format, with its library loaded."""
    if name == "none":
        return Format(
            name, blob_of, lambda blob: blob, lambda blob: blob,
            lambda blob, number: SEQUENCE.pack_into(blob, 0, number),
            lambda blob: int(SEQUENCE.unpack_from(blob)[0]),
        )  # fmt: skip
    if name == "json":
        text_of = json.JSONEncoder(separators=(",", ":")).encode
        return Format(name, message_of, lambda message: text_of(message).encode(), json.loads)
    if name == "ujson":
        ujson = library("ujson", "the Debian package python3-ujson")
        return Format(name, message_of, lambda message: ujson.dumps(message).encode(), ujson.loads)
    if name == "msgpack":
        msgpack = library("msgpack", "the Debian package python3-msgpack")
        return Format(name, message_of, msgpack.Packer().pack, msgpack.unpackb)
    if name == "grpc":
        library("grpc", GRPC_PACKAGE)
    library("google.protobuf", "the Debian package python3-protobuf")
    made = "what protoc --python_out makes of messages.proto, beside the program or in PYTHONPATH"
    kind = library("messages_pb2", made).Message
    return Format(
        name, lambda size: kind(**message_of(size)), kind.SerializeToString, kind.FromString,
        set_attribute, operator.attrgetter("sequence"),
    )  # fmt: skip


# ---- addresses ----


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


# ---- frames ----


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


# ---- serving ----


def used(word: str) -> list[int]:
    """Return this process's CPU in ns, user's and system's, and context switches.

    ``before`` a cell, what the last one left is collected first.
    """
    if word == "before":
        gc.collect()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return [time.process_time_ns(), usage.ru_nvcsw + usage.ru_nivcsw]


def serve_one(form: Format, frames: Frames) -> None:
    """Serve a measuring end until it leaves."""
    while True:
        control, body = frames.receive()
        if not control:
            frames.send(form.encode(form.decode(body)))
            continue
        word = body.decode()
        if word == "bye":
            return
        if word in ("before", "after"):
            frames.send(json.dumps(used(word)).encode(), CONTROL)
            continue
        frames.send(form.name.encode(), CONTROL)
        if word != f"hello {form.name}":
            raise went_wrong(f"this end serves {form.name}, and was asked: {word!r}")


def serve_frames(form: Format, address: Address) -> NoReturn:
    """Serve one measuring end after another."""
    listener = address.listen()
    address.open_to_all()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, TICK)  # as ``Frames`` has it
    while True:
        try:
            connected = listener.accept()[0]
        except BlockingIOError:
            continue
        with connected:
            try:
                serve_one(form, Frames(without_delay(connected), patient=True))
            except Exception as error:
                say_trouble(anything(error))


def serve_grpc(form: Format, address: Address) -> NoReturn:
    """Serve measuring ends with gRPC's own server and one worker."""
    grpc = library("grpc", GRPC_PACKAGE)
    methods = {
        "Exchange": grpc.unary_unary_rpc_method_handler(
            lambda message, context: message, form.decode, form.encode
        ),
        "Used": grpc.unary_unary_rpc_method_handler(
            lambda word, context: json.dumps(used(word.decode())).encode()
        ),
    }
    worker = concurrent.futures.ThreadPoolExecutor(1)
    handlers = [grpc.method_handlers_generic_handler(SERVICE, methods)]
    server = grpc.server(worker, handlers, options=GRPC_OPTIONS)
    try:
        bound = server.add_insecure_port(address.target)
    except RuntimeError:
        bound = 0
    if not bound:
        raise TroubleError("bind", f"gRPC cannot listen at {address}", "", FREE)
    server.start()
    address.open_to_all()
    try:
        while True:
            time.sleep(TICK_S)
    finally:
        server.stop(None).wait()


def end_of(number: int, frame: FrameType | None) -> NoReturn:
    """End as one is told to; a second signal does not disturb the first."""
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, signal.SIG_IGN)
    raise SystemExit(MEASURED)


def serve(name: str, address: Address) -> int:
    """Serve until a signal; returns an exit code only if that cannot begin."""
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, end_of)
    listens = False
    try:
        form = format_named(name)
        address.forget()  # of an end that was killed
        listens = True
        (serve_grpc if name == "grpc" else serve_frames)(form, address)
    except TroubleError as trouble:
        say_trouble(trouble)
        return UNAVAILABLE if isinstance(trouble, MissingError) else FAILED
    finally:
        if listens:
            address.forget()


# ---- measuring ----


class End(Protocol):
    """The measuring end of a conversation."""

    prefix: int

    def exchange(self, message: Any) -> Any:
        """Return the answer to a message."""

    def used(self, word: str) -> list[int]:
        """Return what the serving process has used."""

    def check(self) -> None:
        """Raise if the serving end has gone, while nothing is under way."""

    def leave(self) -> None:
        """Say good-bye and close."""


class FramesEnd:
    """Frames, of every format but gRPC."""

    prefix = HEAD.size

    def __init__(self, form: Format, connected: socket.socket, frames: Frames) -> None:
        self._socket, self._frames = connected, frames
        self._encode, self._decode = form.encode, form.decode

    def exchange(self, message: Any) -> Any:
        """Return the answer to a message."""
        self._frames.send(self._encode(message))
        return self._decode(self._frames.receive()[1])

    def used(self, word: str) -> list[int]:
        """Return what the serving process has used."""
        self._frames.send(word.encode(), CONTROL)
        return list(json.loads(self._frames.receive()[1]))

    def check(self) -> None:
        """Raise if the serving end has gone, while nothing is under way."""
        self._frames.check()

    def leave(self) -> None:
        """Say good-bye and close."""
        self._frames.send(b"bye", CONTROL)
        self._socket.close()


class GrpcEnd:
    """A channel with two methods."""

    prefix = GRPC_PREFIX

    def __init__(self, form: Format, address: Address) -> None:
        grpc = library("grpc", GRPC_PACKAGE)
        self._error = grpc.RpcError
        self._channel = grpc.insecure_channel(address.target, GRPC_OPTIONS)
        self._exchange = self._channel.unary_unary(f"/{SERVICE}/Exchange", form.encode, form.decode)
        self._used = self._channel.unary_unary(f"/{SERVICE}/Used")

    def _answer(self, method: Any, given: Any) -> Any:
        try:
            return method(given, timeout=PATIENCE_S)
        except self._error as error:
            raise TroubleError("grpc", error.details(), error.code().name) from None

    def exchange(self, message: Any) -> Any:
        """Return the answer to a message."""
        return self._answer(self._exchange, message)

    def used(self, word: str) -> list[int]:
        """Return what the serving process has used."""
        return list(json.loads(self._answer(self._used, word.encode())))

    def check(self) -> None:
        """Do nothing: every cell of gRPC's asks the serving end."""

    def leave(self) -> None:
        """Close."""
        self._channel.close()


def join(form: Format, address: Address) -> End:
    """Return a conversation with the serving end, which must be of the same format."""
    connected = address.connect()
    frames = Frames(connected, patient=False)
    frames.send(f"hello {form.name}".encode(), CONTROL)
    served = "grpc" if frames.looks_like_grpc() else frames.receive()[1].decode()
    if served != form.name:
        raise went_wrong(f"the end at {address} serves {served}, not {form.name}")
    if served != "grpc":
        return FramesEnd(form, connected, frames)
    connected.close()
    return GrpcEnd(form, address)


def clock_overhead_ns() -> int:
    """Return the least that two readings are apart: what every time here holds of the clock."""
    return min(-(now_ns() - now_ns()) for _ in range(CLOCK_TRIES))


@dataclass(frozen=True, slots=True)
class Work:
    """What a cell does: ``once`` is timed, what is beside it is not.

    ``look`` raises if the other end has gone.
    """

    prepare: Callable[[int], Any]
    once: Callable[[Any], Any]
    check: Callable[[Any, int], None]
    look: Callable[[], None]


def work_of(mode: str, form: Format, end: End, message: Any) -> Work:
    """Return the work of a cell with a message."""
    form.stamp(message, FIRST)
    body = form.encode(message)

    def stamped(number: int) -> Any:
        form.stamp(message, number)
        return message

    def check(found: Any, number: int) -> None:
        wanted = form.sequence_of(message)
        if form.sequence_of(found) != wanted:
            raise went_wrong(f"message {wanted} came as {form.sequence_of(found)}")
        if number % WHOLE_EACH == 0 and found != message:
            raise went_wrong(f"message {wanted} was changed on its way")

    def check_bytes(found: Any, number: int) -> None:
        if len(found) != len(body):
            raise went_wrong(f"message {number} has {len(found)} bytes, not {len(body)}")
        if number % WHOLE_EACH == 0:
            check(form.decode(found), number)

    if mode == "encode":
        return Work(stamped, form.encode, check_bytes, end.check)
    if mode == "decode":
        return Work(lambda number: body, form.decode, check, end.check)
    return Work(stamped, end.exchange, check, end.check)


def run(
    work: Work, numbers: Iterator[int], seconds: float
) -> tuple[int, list[int], dict[int, int]]:
    """Work for a time, at least once; returns it in ns, what was used, each latency's count."""
    prepare, once, check = work.prepare, work.once, work.check
    counts: collections.Counter[int] = collections.Counter()
    took = array.array("q")
    found = None
    before = used("before")
    began = came = now_ns()
    end, look = began + seconds * 1e9, began + LOOK_NS
    while came < end:
        number = next(numbers)
        given = prepare(number)
        went = now_ns()
        found = once(given)
        came = now_ns()
        took.append(came - went)
        check(found, number)
        if came > look:
            work.look()
            look = came + LOOK_NS
        if len(took) == FOLD_EACH:  # else a long cell of short messages would take gigabytes
            counts.update(took)
            del took[:]
    after = used("after")
    counts.update(took)
    return came - began, list(map(operator.sub, after, before)), counts


def merged(ns: int) -> int:
    """Return a latency as the histogram has it: exact below 256 ns, within half a percent above."""
    if ns < 256:
        return ns
    bits = ns.bit_length() - 8
    return (ns >> bits << bits) + (1 << bits >> 1)


def measure_cell(mode: str, form: Format, end: End, message: Any, seconds: float) -> dict[str, Any]:
    """Return what a cell's line says from its count on."""
    work = work_of(mode, form, end, message)
    numbers = itertools.count(FIRST)
    serves = mode == "exchange"
    run(work, numbers, seconds / WARM_PART)
    before = end.used("before") if serves else [0, 0]
    ns, here, counts = run(work, numbers, seconds)
    after = end.used("after") if serves else [0, 0]
    there = list(map(operator.sub, after, before))
    histogram: collections.Counter[int] = collections.Counter()
    for one, count in counts.items():
        histogram[merged(one)] += count
    return {
        "count": sum(counts.values()),
        "lost": 0,
        "ns": ns,
        "cpu_ns": [here[0], there[0]],
        "switches": [here[1], there[1]],
        "wire_bytes": end.prefix + len(form.encode(message)),
        "least_ns": min(counts),
        "most_ns": max(counts),
        "histogram": sorted(histogram.items()),
    }


def measure_all(form: Format, end: End, sizes: list[int], seconds: float) -> int:
    """Print a line for each cell; returns the exit code."""
    modes = [mode for mode in MODES if form.applies(mode)]
    share = seconds / (len(sizes) * len(modes))
    for size in sizes:
        message = form.make(size)
        for mode in MODES:
            cell = {"mode": mode, "bytes": size}
            if mode not in modes:
                say(**cell, state="not_applicable")
                continue
            try:
                figures = measure_cell(mode, form, end, message, share)
            except Exception as error:
                say(**cell, state="failed", **anything(error).members())
                return FAILED
            say(**cell, state="measured", **figures)
    return MEASURED


def measure(name: str, address: Address, sizes: list[int], seconds: float) -> int:
    """Print the lines of a run; returns the exit code."""
    first = {"serialisation": VERSION, "mechanism": name}
    try:
        form = format_named(name)
        end = join(form, address)
    except Exception as error:
        trouble = anything(error)
        missing = isinstance(trouble, MissingError)
        say(**first, state="unavailable" if missing else "failed", **trouble.members())
        return UNAVAILABLE if missing else FAILED
    say(**first, state="opened", clock_ns=clock_overhead_ns())
    code = measure_all(form, end, sizes, seconds)
    if code == MEASURED:
        end.leave()
        say(state="ended")
    return code


# ---- arguments ----


def read_address(text: str) -> Address:
    """Return an address."""
    kind, _, rest = text.partition(":")
    if kind == "unix" and rest.startswith("/"):
        if (size := len(rest.encode())) > PATH_LIMIT:
            raise argparse.ArgumentTypeError(f"a path of at most {PATH_LIMIT} bytes, not {size}")
        return Address(rest)
    host, _, port = rest.rpartition(":")
    if kind == "tcp" and host and re.fullmatch("[0-9]{1,5}", port) and 0 < int(port) < 65536:
        return Address("", host, int(port))
    raise argparse.ArgumentTypeError(f"expected unix:/PATH or tcp:HOST:PORT, not {text!r}")


def read_sizes(text: str) -> list[int]:
    """Return the sizes of messages."""
    if not re.fullmatch("[0-9]{1,9}(,[0-9]{1,9})*", text):
        raise argparse.ArgumentTypeError(f"sizes in bytes, separated by commas, not {text!r}")
    sizes = list(map(int, text.split(",")))
    for size in sizes:
        if not LEAST_BYTES <= size <= MOST_BYTES:
            raise argparse.ArgumentTypeError(
                f"from {LEAST_BYTES} to {MOST_BYTES} bytes, not {size}"
            )
    if len(sizes) > MOST_SIZES or len(set(sizes)) < len(sizes):
        raise argparse.ArgumentTypeError(f"at most {MOST_SIZES} sizes, each once")
    return sizes


def read_seconds(text: str) -> float:
    """Return a time."""
    if re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,9})?", text) and 0.01 <= float(text) <= MOST_SECONDS:
        return float(text)
    raise argparse.ArgumentTypeError(f"expected seconds from 0.01 to {MOST_SECONDS}, not {text!r}")


def read_arguments(argv: list[str]) -> argparse.Namespace:
    """Return what is asked for; exits with 2 for what makes no sense."""
    parser = argparse.ArgumentParser(
        prog="messages.py", description="What does a message cost in a format?"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("serve", "measure"):
        command = commands.add_parser(name, help=f"be the {name.removesuffix('e')}ing end")
        command.add_argument("format", choices=FORMATS)
        command.add_argument(
            "address", type=read_address, metavar="ADDRESS", help="unix:/PATH or tcp:HOST:PORT"
        )
    command.add_argument("--time", type=read_seconds, default=1.0, metavar="S", help="in all")
    command.add_argument(
        "--bytes", type=read_sizes, required=True, metavar="SIZES", help="100,1024,..."
    )
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Run a command; returns its exit code."""
    asked = read_arguments(argv)
    # At every 700th new container the collector would look at all there are, so that a message's
    # cost would hang on what else the process holds. Nothing measured here makes cycles that
    # matter; what there is goes before each cell.
    gc.disable()
    if asked.command == "serve":
        return serve(asked.format, asked.address)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return measure(asked.format, asked.address, asked.bytes, asked.time)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
