r"""ipc 1, the program in ``workloads/ipc``: the record of its lines of JSON, and its cells.

The first line opens, the last one ends; between them is a line for each cell, a mode and a size:

>>> record = parse_ipc(b'''{"ipc":"1.0.0","mechanism":"pipe","state":"opened","clock_ns":20}
... {"mode":"latency","bytes":64,"state":"measured","count":3,"lost":0,"ns":30000,\
... "cpu_ns":[9000,8000],"switches":[3,3],"least_ns":5000,"most_ns":9020,\
... "histogram":[[5008,2],[9024,1]]}
... {"mode":"throughput","bytes":4096,"state":"measured","count":500,"lost":0,"ns":1000000,\
... "cpu_ns":[9000,8000],"switches":[3,3]}
... {"mode":"connect","state":"not_applicable"}
... {"state":"ended"}
... ''')
>>> latency, throughput, connect = record.cells
>>> latency.latency_min_s, throughput.rate_per_s, connect.state
(4.98e-06, 500000.0, 'not_applicable')

A latency is a round trip, from which the program's own reading of the clock was taken
(``clock_s``). Where the kernel forbids the mechanism there are no cells, and the record's
``unavailable`` says why: that is an answer, and no zero.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from collector.parse.histogram import summarise
from collector.parse.record import Cell, ParseError, Record
from collector.parse.text import decode, shown
from collector.parse.tool import INSIDE, Capabilities, Invocation, Load, check_inside, whole_seconds

# The program prints its own name first; a file with the keys in another order is not found.
MARK: Final = r'\{"ipc":"'
VERSION: Final = re.compile(r"1\.[0-9]{1,4}\.[0-9]{1,4}")

_LARGEST: Final = 2**63 - 1  # what fits a column of the dataset
_MODES: Final = ("latency", "throughput", "connect")
_PERCENTS: Final = (50, 90, 99)
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,40}")
_OPENED: Final = ("ipc", "mechanism", "state", "clock_ns")
_COUNTED: Final = ("count", "lost", "ns", "cpu_ns", "switches")
_TIMED: Final = ("least_ns", "most_ns", "histogram")
_FIGURE: Final = re.compile(
    rb'"mode":"throughput","bytes":([0-9]{1,9}),"state":"measured",'
    rb'"count":([0-9]{1,15}),"lost":[0-9]{1,15},"ns":([1-9][0-9]{0,15})'
)


def parse_ipc(data: bytes) -> Record:
    """Return the record of the one output in ``data``.

    Raises ``ParseError``: no whole output, more than one, or one that says that it failed.
    """
    text = decode(data)
    starts = [match.start() for match in re.finditer(f"^{MARK}", text, re.M)][:2]
    if not starts:
        raise ParseError(1, 'truncated: no output of ipc found (\'{"ipc":"1.0.0", ...\')')
    if len(starts) > 1:
        line = 1 + text.count("\n", 0, starts[1])
        raise ParseError(line, "several: a second output of ipc begins; give one at a time")
    try:
        return read_ipc(text[starts[0] :])
    except ParseError as error:
        raise error.shifted(text.count("\n", 0, starts[0])) from None


def read_ipc(text: str) -> Record:
    """Return the record of ``text``, which starts with an output and holds no second one.

    Raises ``ParseError`` with the line in ``text``.
    """
    lines = text.split("\n")
    first = _object(lines[0], 1)
    version = first.get("ipc")
    if not isinstance(version, str) or not VERSION.fullmatch(version):
        raise _wrong(1, "version 1 of ipc is read", version)
    if not isinstance(first.get("mechanism"), str) or not _NAME.fullmatch(first["mechanism"]):
        raise _wrong(1, "'mechanism' is a name", first.get("mechanism"))
    if first.get("state") == "unavailable":
        if not first.get("call") or not first.get("errno"):
            raise _wrong(1, "what is unavailable has call and errno", ", ".join(first))
        return Record(tool="ipc", tool_version=version, unavailable=_trouble(first))
    if first.get("state") == "failed":
        raise ParseError(1, f"failed: {_trouble(first)}")
    _keys(first, _OPENED, 1)
    clock_ns = _whole(first, "clock_ns", 1)
    cells: list[Cell] = []
    for number, line in enumerate(lines[1:], 2):
        body = _object(line, number) if line else {}
        if body == {"state": "ended"} and cells:
            return _record(version, tuple(cells))
        if not body:
            break
        cells.append(_cell(body, number, clock_ns))
        if len({(cell.mode, cell.message_bytes) for cell in cells}) < len(cells):
            raise ParseError(number, "unexpected: a cell that was there before")
    last = min(len(cells) + 2, len(lines))
    raise ParseError(last, "truncated: the line that ends is missing")


def _record(version: str, cells: tuple[Cell, ...]) -> Record:
    measured = [cell for cell in cells if cell.state == "measured"]
    return Record(
        tool="ipc",
        tool_version=version,
        connections=1,
        duration_s=sum(cell.duration_s or 0.0 for cell in measured),
        requests=sum(cell.count or 0 for cell in measured),
        cells=cells,
    )


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


def _pair(body: Mapping[str, Any], name: str, line: int) -> tuple[int, int]:
    value = body[name]
    if not isinstance(value, list) or len(value) != 2:
        raise _wrong(line, f"'{name}' has two numbers, measuring end and serving end", value)
    both = dict(zip(("measuring", "serving"), value, strict=True))
    return _whole(both, "measuring", line), _whole(both, "serving", line)


def _trouble(body: Mapping[str, Any]) -> str:
    """``socket: EAFNOSUPPORT (Address family not supported), which takes ...``."""
    said = {name: str(body.get(name, ""))[:160] for name in ("call", "errno", "text", "allow")}
    if not said["errno"]:
        return said["text"]
    cure = f", which takes {said['allow']}" if said["allow"] else ""
    return f"{said['call']}: {said['errno']} ({said['text']}){cure}"


def _cell(body: dict[str, Any], line: int, clock_ns: int) -> Cell:
    mode, state = body.get("mode"), body.get("state")
    if mode not in _MODES:
        raise _wrong(line, f"'mode' is one of {', '.join(_MODES)}", mode)
    size = None if mode == "connect" else _whole(body, "bytes", line, 1)
    named = ("mode", "state") if size is None else ("mode", "bytes", "state")
    match state:
        case "measured":
            timed = () if mode == "throughput" else _TIMED
            _keys(body, (*named, *_COUNTED, *timed), line)
            return _measured(body, line, clock_ns)
        case "not_applicable":
            _keys(body, named, line)
            return Cell(mode=mode, message_bytes=size, state=state)
        case "too_large":
            _keys(body, (*named, "limit_bytes", "limit"), line)
            limit = f"at most {_whole(body, 'limit_bytes', line, 1)} B: {body['limit']}"
            return Cell(mode=mode, message_bytes=size, state=state, reason=limit)
        case "failed":
            raise ParseError(line, f"failed: {_trouble(body)}")
        case other:
            raise _wrong(line, "'state' is measured, not_applicable, too_large or failed", other)


def _measured(body: dict[str, Any], line: int, clock_ns: int) -> Cell:
    mode = body["mode"]
    size: int | None = body.get("bytes")
    count, duration_s = _whole(body, "count", line, 1), _whole(body, "ns", line, 1) / 1e9
    cpu, switches = _pair(body, "cpu_ns", line), _pair(body, "switches", line)
    rate = count / duration_s
    cell = Cell(
        mode=mode,
        message_bytes=size,
        state="measured",
        count=count,
        lost=_whole(body, "lost", line),
        duration_s=duration_s,
        rate_per_s=rate,
        cpu_measuring_s=cpu[0] / 1e9,
        cpu_serving_s=cpu[1] / 1e9,
        switches_measuring=switches[0],
        switches_serving=switches[1],
    )
    if mode == "throughput" and size is not None:
        return replace(cell, transfer_bytes_per_s=rate * size)
    return _with_latencies(cell, body, line, clock_ns)


def _with_latencies(cell: Cell, body: dict[str, Any], line: int, clock_ns: int) -> Cell:
    values, counts = _histogram(body, line, clock_ns)
    if sum(counts) != cell.count:
        raise _wrong(line, f"the histogram has {cell.count} samples", sum(counts))
    # It takes millionths of a second; these are billionths.
    found = summarise(values, counts, _PERCENTS).quantiles_s
    quantiles = [None if one is None else one / 1e3 for one in found]
    return replace(
        cell,
        clock_s=clock_ns / 1e9,
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


class Ipc:
    """ipc as a load tool: every cell of one mechanism, one after another.

    The script ``/local/load`` in the container fixes mechanism, sizes and who serves.
    """

    name: Final = "ipc"
    capabilities: Final = Capabilities(
        open_loop=False, unix_sockets=True, histogram=False, inside=True, warms_up=True
    )

    def arguments(self, load: Load) -> Invocation:
        """Return the invocation; ``ValueError`` for anything but one conversation for a time."""
        check_inside(self.name, load)
        if load.duration_s is None:
            raise ValueError("ipc: runs for a time (duration_s), not for a number of requests")
        if load.concurrency != 1:
            raise ValueError(f"ipc: two processes talk; concurrency 1, not {load.concurrency}")
        seconds = whole_seconds("duration_s", load.duration_s)
        return Invocation(argv=(INSIDE, "--time", str(seconds)))

    def parse(self, stdout: bytes, files: Mapping[str, bytes], argv: Sequence[str] = ()) -> Record:
        """Return the record of one run; the program writes no files."""
        return parse_ipc(stdout)

    def histogram(self, stdout: bytes, files: Mapping[str, bytes]) -> list[tuple[int, int]]:
        """Return an empty list: each cell has a histogram of its own (``Record.cells``)."""
        return []

    def figure(self, stdout: bytes) -> str | None:
        """Return the last throughput, ``1,234 MB/s at 32768 B``, in millions of bytes."""
        throughputs = _FIGURE.findall(stdout)
        if not throughputs:
            return None
        size, count, ns = map(int, throughputs[-1])
        return f"{1e3 * size * count / ns:,.0f} MB/s at {size} B"


TOOL: Final = Ipc()
