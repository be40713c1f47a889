"""The serving end: what comes is decoded, encoded anew, and answered."""

from __future__ import annotations

import concurrent.futures
import json
import signal
import socket
import sys
import time
from types import FrameType
from typing import NoReturn

from formats import GRPC_PACKAGE, Format, format_named, library
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
from wire import CONTROL, FREE, GRPC_OPTIONS, SERVICE, TICK, TICK_S, Address, Frames, without_delay


def say_trouble(trouble: TroubleError) -> None:
    """Print what a serving end has to complain about."""
    body = {"serialisation": VERSION, "command": "serve", **trouble.members()}
    print(json.dumps(body, separators=(",", ":")), file=sys.stderr, flush=True)


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
