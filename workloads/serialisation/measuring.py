"""The measuring end: what a message costs, cell by cell, a line of JSON each."""

from __future__ import annotations

import array
import collections
import itertools
import json
import operator
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

from formats import FIRST, GRPC_PACKAGE, Format, format_named, library
from trouble import (
    FAILED,
    MEASURED,
    UNAVAILABLE,
    VERSION,
    MissingError,
    TroubleError,
    anything,
    went_wrong,
)
from usage import used
from wire import CONTROL, GRPC_OPTIONS, HEAD, PATIENCE_S, SERVICE, Address, Frames

MODES: Final = ("encode", "decode", "exchange")
WARM_PART: Final = 10
WHOLE_EACH: Final = 256
FOLD_EACH: Final = 1 << 16
CLOCK_TRIES: Final = 10_000
LOOK_NS: Final = 500_000_000  # so often a cell without a socket looks if the other end is there
GRPC_PREFIX: Final = 5

now_ns: Final = time.perf_counter_ns


def say(**members: object) -> None:
    """Print a line."""
    print(json.dumps(members, separators=(",", ":")), flush=True)


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
