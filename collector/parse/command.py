"""``python -m collector parse``: one JSON object a line for each output found in the files.

``{"file": ..., "index": 0, "record": {...}}``, with ``"cells": [{...}, ...]`` beside it for a tool
that measures several things in turn, or in place of the record
``"error": {"line": 12, "reason": "..."}``. Exit code 0; 1 if an output was refused or a file holds
none; 2 for wrong usage or a file that cannot be read (the others are still read).

Runs with nothing installed: standard library only, and no typer.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from collector.parse import recognise
from collector.parse.record import ParseError, Record
from collector.parse.text import SIZE_LIMIT, decode

DONE: Final = 0
REFUSED: Final = 1
BAD_INPUT: Final = 2

# How an output begins, for who gave a file that has none.
_BEGINS: Final = {
    "wrk": "'Running ... test @ ...'",
    "ab": "'This is ApacheBench, ...'",
    "h2load": "'starting benchmark...'",
    "fortio": "'{ \"RunType\": ...' (-json -)",
    "sysbench": "'sysbench ... (using ...'",
    "stream": "'{\"stream\": 1, ...'",
    "ipc": '\'{"ipc":"1.3.0", ...\'',
    "serialisation": '\'{"serialisation":"1.0.0", ...\'',
    "peer": "as redis-benchmark --csv, perf bench, sockperf, iperf3 -J or stress-ng do",
}

Result: TypeAlias = Record | ParseError


def parse_outputs(data: bytes, tool: str = "auto") -> Iterator[Result]:
    """Yield a record or an error for each output in ``data``, in their order.

    ``tool`` is the name of one to pass over everything else, or ``auto``. Where nothing is found
    there is one error. Figures are those of standard output; files beside it are not known here.
    """
    wanted = tuple(_BEGINS) if tool == "auto" else (tool,)
    # What belongs to a tool that was asked for by name; the rest is text around it.
    kinds = (tool, "quoted", *(("html",) if tool == "ab" else ()))
    count = 0
    try:
        for found in recognise.find_outputs(decode(data)):
            if tool != "auto" and found.kind not in kinds:
                continue
            count += 1
            try:
                yield recognise.read(found)
            except ParseError as error:
                yield error
    except ParseError as error:
        yield error
        return
    if not count:
        begin = " or ".join(_BEGINS[name] for name in wanted)
        names = " or ".join(wanted)
        yield ParseError(1, f"truncated: no output of {names} found (it begins with {begin})")


def _read(name: str) -> bytes:
    """Return at most one byte more than is parsed, so that memory is bounded."""
    if name == "-":
        return sys.stdin.buffer.read(SIZE_LIMIT + 1)
    with Path(name).open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > SIZE_LIMIT:
            raise ParseError(1, f"too_large: {size} bytes, at most {SIZE_LIMIT} are read")
        return stream.read(SIZE_LIMIT + 1)


def _results(name: str, tool: str) -> Iterator[Result]:
    try:
        data = _read(name)
    except ParseError as error:
        yield error
        return
    yield from parse_outputs(data, tool)


def _as_json(name: str, index: int, result: Result) -> str:
    body: dict[str, object] = {"file": name, "index": index}
    if isinstance(result, Record):
        body["record"] = result.as_dict()
        if result.cells:
            body["cells"] = [cell.as_dict() for cell in result.cells]
    else:
        body["error"] = {"line": result.line, "reason": result.reason}
    return json.dumps(body, allow_nan=False)


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="collector parse",
        description="Print what load tools measured: one JSON object a line for each output.",
        epilog="Exit code 0 done, 1 an output was refused, 2 usage or an unreadable file.",
    )
    parser.add_argument(
        "--tool",
        choices=("auto", *_BEGINS),
        default="auto",
        help="whose outputs to read; auto recognises each (default)",
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="file to read, - for stdin")
    return parser.parse_args(argv)


def run(argv: Sequence[str]) -> int:
    """Parse the files that ``argv`` names and print the results; returns the exit code."""
    arguments = _arguments(argv)
    code = DONE
    for name in arguments.files:
        try:
            for index, result in enumerate(_results(name, arguments.tool)):
                print(_as_json(name, index, result))
                if isinstance(result, ParseError):
                    code = max(code, REFUSED)
        except BrokenPipeError:
            raise
        except OSError as error:
            print(f"collector parse: {name}: {error.strerror or error}", file=sys.stderr)
            code = BAD_INPUT
    sys.stdout.flush()
    return code


def main(argv: Sequence[str]) -> int:
    """Run the command with the arguments after ``parse``; returns the exit code."""
    try:
        return run(argv)
    except SystemExit as end:
        # argparse leaves this way: 0 after --help, 2 after wrong usage.
        return end.code if isinstance(end.code, int) else BAD_INPUT
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader (head) has gone; without this the interpreter complains while it shuts down.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return REFUSED
