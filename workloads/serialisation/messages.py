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
import gc
import re
import signal
import sys
from typing import Final

from formats import FORMATS
from measuring import measure
from serving import serve
from wire import MOST_BYTES, PATH_LIMIT, Address

LEAST_BYTES: Final = 100
MOST_SIZES: Final = 16
MOST_SECONDS: Final = 3600


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
