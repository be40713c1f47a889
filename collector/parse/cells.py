r"""Programs of ours that measure several cells in a run, a line of JSON for each: what they share.

The first line opens, the last one ends; between them is a line for each cell, a mode and, but for
modes without one, a size (``ipc`` and ``serialisation`` show samples). A latency holds the
program's own reading of the clock, ``clock_ns``, which is taken from it here. Where what was to be
measured is not there, there are no cells, and the record's ``unavailable`` says why: that is an
answer, and no zero. Where every cell is too large, nothing was counted and for no time. Of a cell
in which nothing arrived the loss is known, and no rate.

Refused: another version, a line that is not the program's, a cell that failed, a cell twice, and
an output that does not end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from collector.parse.histogram import summarise
from collector.parse.record import Cell, ParseError, Record
from collector.parse.text import decode, shown
from collector.parse.tool import Capabilities, Invocation, Load, invoke_pair

VERSION: Final = re.compile(r"1\.[0-9]{1,4}\.[0-9]{1,4}")

_LARGEST: Final = 2**63 - 1  # what fits a column of the dataset
_PERCENTS: Final = (50, 90, 99)
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,40}")
_COUNTED: Final = ("count", "lost", "ns", "cpu_ns", "switches")
_TIMED: Final = ("least_ns", "most_ns", "histogram")
_Number = TypeVar("_Number", int, float)


@dataclass(frozen=True, slots=True)
class Program:
    """What a program calls its cells.

    ``one_way``: modes that have no latencies, and a transfer; ``sizeless``: modes without a size.
    ``limited``: a cell may be too large for the mechanism. ``wired``: a measured cell says how many
    bytes a message is on the wire. ``opening``: pairs of sizes that the first line may have, too.
    """

    name: str
    modes: tuple[str, ...]
    one_way: tuple[str, ...] = ()
    sizeless: tuple[str, ...] = ()
    limited: bool = False
    wired: bool = False
    opening: tuple[str, ...] = ()

    @property
    def mark(self) -> str:
        """A pattern for how an output begins.

        The program prints its own name first; a file with the keys in another order is not found.
        """
        return rf'\{{"{self.name}":"'


def parse_cells(program: Program, data: bytes) -> Record:
    """Return the record of the one output in ``data``.

    Raises ``ParseError``: no whole output, more than one, or one that says that it failed.
    """
    name = program.name
    text = decode(data)
    starts = [match.start() for match in re.finditer(f"^{program.mark}", text, re.M)][:2]
    if not starts:
        raise ParseError(1, f'truncated: no output of {name} found (\'{{"{name}":"1.0.0", ...\')')
    if len(starts) > 1:
        line = 1 + text.count("\n", 0, starts[1])
        raise ParseError(line, f"several: a second output of {name} begins; give one at a time")
    try:
        return read_cells(program, text[starts[0] :])
    except ParseError as error:
        raise error.shifted(text.count("\n", 0, starts[0])) from None


def read_cells(program: Program, text: str) -> Record:
    """Return the record of ``text``, which starts with an output and holds no second one.

    Raises ``ParseError`` with the line in ``text``.
    """
    name = program.name
    lines = text.split("\n")
    first = _object(lines[0], 1)
    version = first.get(name)
    if not isinstance(version, str) or not VERSION.fullmatch(version):
        raise _wrong(1, f"version 1 of {name} is read", version)
    if not isinstance(first.get("mechanism"), str) or not _NAME.fullmatch(first["mechanism"]):
        raise _wrong(1, "'mechanism' is a name", first.get("mechanism"))
    if first.get("state") == "unavailable":
        if not first.get("call") or not first.get("errno"):
            raise _wrong(1, "what is unavailable has call and errno", ", ".join(first))
        return Record(tool=name, tool_version=version, unavailable=_trouble(first))
    if first.get("state") == "failed":
        raise ParseError(1, f"failed: {_trouble(first)}")
    also = [key for key in program.opening if key in first]
    _keys(first, (name, "mechanism", "state", "clock_ns", *also), 1)
    for key in also:
        _pair(first, key, 1, least=1)
    clock_ns = _whole(first, "clock_ns", 1)
    cells: list[Cell] = []
    for number, line in enumerate(lines[1:], 2):
        body = _object(line, number) if line else {}
        if body == {"state": "ended"} and cells:
            return _record(name, version, tuple(cells))
        if not body:
            break
        cells.append(_cell(program, body, number, clock_ns))
        if len({(cell.mode, cell.message_bytes) for cell in cells}) < len(cells):
            raise ParseError(number, "unexpected: a cell that was there before")
    last = min(len(cells) + 2, len(lines))
    raise ParseError(last, "truncated: the line that ends is missing")


def _record(name: str, version: str, cells: tuple[Cell, ...]) -> Record:
    measured = [cell for cell in cells if cell.state == "measured"]
    return Record(
        tool=name,
        tool_version=version,
        connections=1,
        duration_s=_total([cell.duration_s for cell in measured]),
        requests=_total([cell.count for cell in measured]),
        cells=cells,
    )


def _total(values: Sequence[_Number | None]) -> _Number | None:
    """The sum; None where there is nothing to add up, or one is not known."""
    known = [value for value in values if value is not None]
    return sum(known[1:], known[0]) if known and len(known) == len(values) else None


def _wrong(line: int, what: str, value: object) -> ParseError:
    return ParseError(line, f"unexpected: {what}, not {shown(str(value))}")


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _object(text: str, line: int) -> dict[str, Any]:
    try:
        body = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        # A line that was cut has no end; what has one is no line of this program.
        word = "unexpected: no JSON" if text.endswith("}") else "truncated: the line does not end"
        raise ParseError(line, word) from None
    if not isinstance(body, dict):
        raise _wrong(line, "a line is an object", body)
    return body


def _keys(body: Mapping[str, Any], keys: Sequence[str], line: int) -> None:
    if set(body) != set(keys):
        raise _wrong(line, f"keys are {', '.join(keys)}", ", ".join(body))


def _whole(body: Mapping[str, Any], name: str, line: int, least: int = 0) -> int:
    value = body.get(name)
    # bool is a subclass of int.
    if type(value) is not int or not least <= value <= _LARGEST:
        raise _wrong(line, f"'{name}' is a whole number from {least}", value)
    return value


def _pair(body: Mapping[str, Any], name: str, line: int, least: int = 0) -> tuple[int, int]:
    value = body[name]
    if not isinstance(value, list) or len(value) != 2:
        raise _wrong(line, f"'{name}' has two numbers, measuring end and serving end", value)
    both = dict(zip(("measuring", "serving"), value, strict=True))
    return _whole(both, "measuring", line, least), _whole(both, "serving", line, least)


def _trouble(body: Mapping[str, Any]) -> str:
    """``socket: EAFNOSUPPORT (Address family not supported), which takes ...``."""
    said = {name: str(body.get(name, ""))[:160] for name in ("call", "errno", "text", "allow")}
    if not said["errno"]:
        return said["text"]
    cure = f", which takes {said['allow']}" if said["allow"] else ""
    return f"{said['call']}: {said['errno']} ({said['text']}){cure}"


def _cell(program: Program, body: dict[str, Any], line: int, clock_ns: int) -> Cell:
    mode, state = body.get("mode"), body.get("state")
    if mode not in program.modes:
        raise _wrong(line, f"'mode' is one of {', '.join(program.modes)}", mode)
    size = None if mode in program.sizeless else _whole(body, "bytes", line, 1)
    named = ("mode", "state") if size is None else ("mode", "bytes", "state")
    match state:
        case "measured":
            wire = ("wire_bytes",) if program.wired else ()
            timed = () if mode in program.one_way else _TIMED
            _keys(body, (*named, *_COUNTED, *wire, *timed), line)
            return _measured(program, body, line, clock_ns)
        case "not_applicable":
            _keys(body, named, line)
            return Cell(mode=mode, message_bytes=size, state=state)
        case "too_large" if program.limited:
            _keys(body, (*named, "limit_bytes", "limit"), line)
            limit = f"at most {_whole(body, 'limit_bytes', line, 1)} B: {body['limit']}"
            return Cell(mode=mode, message_bytes=size, state=state, reason=limit)
        case "failed":
            raise ParseError(line, f"failed: {_trouble(body)}")
        case other:
            states = "measured, not_applicable" + (", too_large" if program.limited else "")
            raise _wrong(line, f"'state' is {states} or failed", other)


def _measured(program: Program, body: dict[str, Any], line: int, clock_ns: int) -> Cell:
    mode = body["mode"]
    size: int | None = body.get("bytes")
    lost = _whole(body, "lost", line)
    # The end that receives has no time of what never came, nor of a single message.
    least = 0 if lost else 1
    count, ns = _whole(body, "count", line, least), _whole(body, "ns", line, least)
    cpu, switches = _pair(body, "cpu_ns", line), _pair(body, "switches", line)
    duration_s = ns / 1e9 if ns else None
    rate = count / duration_s if count and duration_s else None
    cell = Cell(
        mode=mode,
        message_bytes=size,
        state="measured",
        count=count,
        lost=lost,
        duration_s=duration_s,
        rate_per_s=rate,
        wire_bytes=_whole(body, "wire_bytes", line, 1) if program.wired else None,
        cpu_measuring_s=cpu[0] / 1e9,
        cpu_serving_s=cpu[1] / 1e9,
        switches_measuring=switches[0],
        switches_serving=switches[1],
    )
    if mode in program.one_way and size is not None:
        return replace(cell, transfer_bytes_per_s=None if rate is None else rate * size)
    return _with_latencies(cell, body, line, clock_ns)


def _with_latencies(cell: Cell, body: dict[str, Any], line: int, clock_ns: int) -> Cell:
    values, counts = _histogram(body, line, clock_ns)
    if sum(counts) != cell.count:
        raise _wrong(line, f"the histogram has {cell.count} samples", sum(counts))
    if not counts:
        return replace(cell, clock_s=clock_ns / 1e9)
    found = summarise(values, counts, _PERCENTS)
    # It takes millionths of a second; these are billionths.
    mean, *quantiles = [
        None if one is None else one / 1e3 for one in (found.mean_s, *found.quantiles_s)
    ]
    return replace(
        cell,
        clock_s=clock_ns / 1e9,
        latency_mean_s=mean,
        latency_min_s=max(0, _whole(body, "least_ns", line) - clock_ns) / 1e9,
        latency_p50_s=quantiles[0],
        latency_p90_s=quantiles[1],
        latency_p99_s=quantiles[2],
        latency_max_s=max(0, _whole(body, "most_ns", line) - clock_ns) / 1e9,
        histogram=tuple(zip(values, counts, strict=True)),
    )


def _histogram(body: dict[str, Any], line: int, clock_ns: int) -> tuple[list[int], list[int]]:
    """Return values in ns without the clock's part, rising, and their counts."""
    found: dict[int, int] = {}
    previous = -1
    for entry in body["histogram"] if isinstance(body["histogram"], list) else [None]:
        if not isinstance(entry, list) or len(entry) != 2:
            raise _wrong(line, "'histogram' has [ns, count]", entry)
        both = {"ns": entry[0], "count": entry[1]}
        value, count = _whole(both, "ns", line), _whole(both, "count", line, 1)
        if value <= previous:
            raise ParseError(line, "histogram: values do not rise")
        previous = value
        net = max(0, value - clock_ns)
        found[net] = found.get(net, 0) + count
    return list(found), list(found.values())


class CellTool:
    """Such a program as a load tool: every cell of one mechanism, one after another.

    The script ``/local/load`` in the container fixes mechanism, sizes and who serves.
    """

    capabilities: Final = Capabilities(
        open_loop=False, unix_sockets=True, histogram=False, inside=True, warms_up=True
    )

    def __init__(self, program: Program) -> None:
        self._program = program

    @property
    def name(self) -> str:
        """Name of the program and of the tool in experiments."""
        return self._program.name

    def arguments(self, load: Load) -> Invocation:
        """Return the invocation; ``ValueError`` for anything but one conversation for a time."""
        return invoke_pair(self.name, load)

    def parse(self, stdout: bytes, files: Mapping[str, bytes], argv: Sequence[str] = ()) -> Record:
        """Return the record of one run; the program writes no files."""
        return parse_cells(self._program, stdout)

    def histogram(self, stdout: bytes, files: Mapping[str, bytes]) -> list[tuple[int, int]]:
        """Return an empty list: each cell has a histogram of its own (``Record.cells``)."""
        return []
