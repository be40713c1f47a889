"""Finds the outputs in a file: where each begins and ends, and which tool printed it.

An output ends where the next begins. Outputs of tools that are not read, and outputs that are
quoted, are found too, so that they are refused by name and not passed over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from collector.parse import (
    ab,
    fortio,
    h2load,
    ipc,
    peer,
    serialisation,
    stream,
    sysbench,
    sysbench_report,
    wrk,
)
from collector.parse.record import ParseError, Record

_READ: Final = "wrk, ab, h2load, fortio, sysbench, stream, ipc, serialisation and peer"
_NOT_READ: Final = f"its outputs are not read (those of {_READ} are)"
# What a mailer, a terminal log or a comment puts before every line.
# Possessive, or a long line of digits would be tried in countless ways.
_QUOTE: Final = r"(?:[>#|*/;]|[0-9TZ:.,+-]{8,}+|\[[0-9TZ:., +-]++\]|[ \t]++)++"

# Each alternative is named after what it finds; tools are read, the others refused by name.
_MARKS: Final = re.compile(
    r"^(?:"
    r"(?P<wrk>Running [0-9]+[smh] test @ )"
    r"|(?P<ab>This is ApacheBench, Version |Server Software: )"
    rf"|(?P<sysbench>{sysbench_report.MARK})"
    rf"|(?P<stream>{stream.MARK})"
    rf"|(?P<ipc>{ipc.MARK})"
    rf"|(?P<serialisation>{serialisation.MARK})"
    rf"|(?P<h2load>{h2load.MARK})"
    rf"|(?P<peer>{peer.MARK})"
    r"|(?P<html> This is ApacheBench, [^\n]*<br>)"
    rf"|(?P<quoted>{_QUOTE}(?:Running [0-9]+[smh] test @ |This is ApacheBench, |Server Software: "
    rf"|{sysbench_report.MARK}|{stream.MARK}|{ipc.MARK}|{serialisation.MARK}"
    rf"|{h2load.MARK}|{peer.QUOTED}))"
    r"|(?P<hey>Summary:\n  Total:\t|response-time,DNS\+dialup,)"
    r"|(?P<oha>Summary:\n  Success rate:\t|\{\s*\"summary\": ?\{\s*\"successRate\")"
    rf"|(?P<fortio>{fortio.MARK})"
    r")",
    re.M,
)

# ab's is told besides whether another output follows.
_READERS: Final[Mapping[str, Callable[[str], Record]]] = {
    "wrk": wrk.read_wrk,
    "sysbench": sysbench.read_sysbench,
    "h2load": h2load.read_h2load,
    "fortio": fortio.read_fortio,
    "stream": stream.read_stream,
    "ipc": ipc.read_ipc,
    "serialisation": serialisation.read_serialisation,
    "peer": peer.read_peer,
}


@dataclass(frozen=True, slots=True)
class Found:
    """One output: the kind of its mark, its text, the lines before it, and if another follows."""

    kind: str
    text: str
    lines_before: int
    followed: bool


def find_outputs(text: str) -> Iterator[Found]:
    """Yield the outputs in ``text`` in their order. What is outside all of them is not yielded."""
    previous: tuple[str, int] | None = None
    lines = counted = 0
    banner = started = False
    for mark in _MARKS.finditer(text):
        kind = str(mark.lastgroup)
        results = kind == "ab" and mark[0].startswith("Server")
        # Both lines belong to one output: ab's banner and its results, h2load's start and end.
        if (results and banner) or (started and mark[0].startswith("finished")):
            banner = started = False
            continue
        banner = kind == "ab" and not results
        started = kind == "h2load" and not mark[0].startswith("finished")
        if previous is not None:
            lines += text.count("\n", counted, previous[1])
            counted = previous[1]
            yield Found(previous[0], text[counted : mark.start()], lines, followed=True)
        previous = (kind, mark.start())
    if previous is not None:
        lines += text.count("\n", counted, previous[1])
        yield Found(previous[0], text[previous[1] :], lines, followed=False)


def read(found: Found) -> Record:
    """Return the record of an output; ``ParseError``, with the line in the file, if refused."""
    try:
        if reader := _READERS.get(found.kind):
            return reader(found.text)
        match found.kind:
            case "ab":
                return ab.read_ab(found.text, followed=found.followed)
            case "html":
                raise ParseError(1, "html: the tables of ab -w are not read; run ab without -w")
            case "quoted":
                raise ParseError(1, "quoted: remove what stands before each line of the output")
            case other:
                raise ParseError(1, f"{other}: {_NOT_READ}")
    except ParseError as error:
        raise error.shifted(found.lines_before) from None
